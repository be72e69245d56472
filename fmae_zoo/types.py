"""Names for what Keras gives and takes; it has no static types, so each is `Any` to a checker."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of the running backend, or a symbolic one while a model is built."""

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
"""A `keras.callbacks.Callback`, or a list of such."""

Batches: TypeAlias = Any
"""What `fit` takes: arrays, tensors, a `tf.data.Dataset`, a `DataLoader`, a generator, ..."""

Logs: TypeAlias = Any
"""What `evaluate` and `train_on_batch` return: numbers in a list, or by name."""
