"""Type names for objects of libraries without static types: each is `Any` for a type checker."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the current backend, or a symbolic tensor while a model is built."""

Variable: TypeAlias = Any
"""A `keras.Variable`."""

Layer: TypeAlias = Any
"""A `keras.layers.Layer`."""

Model: TypeAlias = Any
"""A `keras.Model`."""

Initializer: TypeAlias = Any
"""A `keras.initializers.Initializer`."""

Optimizer: TypeAlias = Any
"""A `keras.optimizers.Optimizer`."""

Callbacks: TypeAlias = Any
"""A `keras.callbacks.Callback` or a list of them."""

Batches: TypeAlias = Any
"""Data for `fit`: arrays, tensors, a `tf.data.Dataset`, a `DataLoader`, a generator, ..."""

Logs: TypeAlias = Any
"""Result of `evaluate` and `train_on_batch`: numbers in a list or by name."""

History: TypeAlias = Any
"""What Keras' `fit` returns, a `keras.callbacks.History`."""

LearningRate: TypeAlias = Any
"""A number, or a `keras.optimizers.schedules.LearningRateSchedule`."""

Estimator: TypeAlias = Any
"""A model of scikit-learn: a classifier, a mixture or a pipeline."""

SparseMatrix: TypeAlias = Any
"""A sparse matrix or array of SciPy."""
