"""Random initial weights of a model, and a way to skip drawing them."""

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
    """Initialise kernels of layers built inside the block with zeros, if a file has the weights.

    Drawing a million random numbers takes longer than reading them from a file.
    """
    token = _blank.set(True)
    try:
        yield
    finally:
        _blank.reset(token)


class WithKernel(keras.layers.Layer):
    """Mixin for a layer with a random kernel, which makes `without_random_weights` work on it."""

    kernel_initializer: Initializer

    def build(self, input_shape: Any) -> None:
        """Create the weights; the layer keeps its own initializer even if zeros were used."""
        own = self.kernel_initializer
        if _blank.get():
            self.kernel_initializer = keras.initializers.Zeros()
        super().build(input_shape)
        self.kernel_initializer = own


class Seeds:
    """Initializers of kernels, each with its own seed derived from the seed of the model.

    Args:
        seed: Seed of the model.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def he_normal(self) -> Initializer:
        """Return an initializer for kernels before a ReLU (He et al. 2015, arXiv 1502.01852)."""
        return keras.initializers.HeNormal(seed=self._next())

    def glorot_uniform(self) -> Initializer:
        """Return an initializer for kernels of linear layers (Glorot and Bengio 2010)."""
        return keras.initializers.GlorotUniform(seed=self._next())

    def normal(self, stddev: float = 0.02) -> Initializer:
        """Return a normal initializer, for position embeddings (Dosovitskiy et al. 2020)."""
        return keras.initializers.RandomNormal(stddev=stddev, seed=self._next())

    def _next(self) -> int:
        return self._random.randint(1, 10**9)
