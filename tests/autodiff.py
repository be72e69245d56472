"""Derivatives by the running backend, to compare formulas with."""

import keras
import numpy as np
from keras import ops


def jacobian(function, at):
    """Return the derivatives of a function at a tensor: of a scalar function the gradient."""
    at = ops.convert_to_tensor(at)
    if keras.backend.backend() == "jax":
        import jax

        return np.array(jax.jacobian(function)(at))
    if keras.backend.backend() == "torch":
        import torch

        return torch.autograd.functional.jacobian(function, at).numpy()
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(at)
        value = function(at)
    return np.array(tape.jacobian(value, at))
