"""The random weights that a model begins with, and how a model does without them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras

from fmae_zoo.types import Initializer

_blank: ContextVar[bool] = ContextVar("blank", default=False)


@contextmanager
def without_random_weights() -> Iterator[None]:
    """Give the layers that are built inside the block zeros: for weights that a file will give.

    To draw a million random numbers takes longer than to read them.
    """
    token = _blank.set(True)
    try:
        yield
    finally:
        _blank.reset(token)


class WithKernel(keras.layers.Layer):
    """Mixed into a layer with a random kernel, so that `without_random_weights` reaches it."""

    kernel_initializer: Initializer

    def build(self, input_shape: Any) -> None:
        """Create the weights; the initializer stays the layer's, whether it was used or not."""
        own = self.kernel_initializer
        if _blank.get():
            self.kernel_initializer = keras.initializers.Zeros()
        super().build(input_shape)
        self.kernel_initializer = own


class Seeds:
    """Initializers of kernels, each with a seed of its own that depends on one seed alone.

    Args:
        seed: of the model.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def he_normal(self) -> Initializer:
        """Return an initializer for kernels that a ReLU follows (He et al. 2015, 1502.01852)."""
        return keras.initializers.HeNormal(seed=self._next())

    def glorot_uniform(self) -> Initializer:
        """Return an initializer for kernels of linear layers (Glorot and Bengio 2010)."""
        return keras.initializers.GlorotUniform(seed=self._next())

    def normal(self, stddev: float = 0.02) -> Initializer:
        """Return an initializer of normal numbers; small, as for places (Dosovitskiy 2020)."""
        return keras.initializers.RandomNormal(stddev=stddev, seed=self._next())

    def _next(self) -> int:
        return self._random.randint(1, 10**9)
