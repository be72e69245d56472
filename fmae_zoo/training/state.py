"""Values of a model's variables during and after training in Keras."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from fmae_zoo.errors import FmaeError


@contextmanager
def restored(model: Any) -> Iterator[None]:
    """Restore a model's variables on JAX if an error stops Keras' loop.

    While Keras runs a model on JAX, the model's variables hold no values. On the other backends
    this does nothing.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and model.built and not optimizer.built:
        optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.metrics_variables]
    variables += optimizer.variables if optimizer is not None else []
    before = [ops.copy(variable.value) for variable in variables]
    try:
        yield
    except BaseException:
        model.jax_state_sync()
        for variable, value in zip(variables, before):
            if not _is_held(variable):
                variable.assign(value)
        raise


def _is_held(variable: Any) -> bool:
    try:
        value = variable.value
    except TypeError:  # For a variable without a value, Keras calls an initializer that is None.
        return False
    return value is not None and not value.is_deleted()


def value_of(variable: Any) -> np.ndarray:
    """Return the value of a variable as a NumPy array.

    Raises:
        FmaeError: On JAX, the model is being trained, in another thread or by the caller.
    """
    try:
        return ops.convert_to_numpy(variable)
    except (TypeError, RuntimeError) as error:
        if keras.backend.backend() != "jax":
            raise
        raise FmaeError(
            "The model is being trained, and on JAX its weights are in the training step until "
            "the epoch is over. Ask between epochs; a callback asks `self.model`, which has them"
        ) from error


def drop_denormals(optimizer: Any) -> None:
    """Set denormal numbers in the optimizer's variables to zero, on PyTorch.

    The moments of weights that no longer get a gradient decay to denormal numbers and stay there;
    CPUs take up to a hundred times as long for each. TensorFlow and JAX flush them in every step.
    """
    import torch

    with torch.no_grad():
        for variable in getattr(optimizer, "variables", ()):
            value = variable.value
            if value.is_floating_point():
                value.masked_fill_(value.abs() < torch.finfo(torch.float32).tiny, 0.0)
