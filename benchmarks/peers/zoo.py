"""The zoo, as a user calls it."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.case import Case
from benchmarks.entries import benchmark_spec
from fmae_zoo import Autoencoder


class Zoo:
    """A compiled `Autoencoder` and its own `fit`, `encode` and `reconstruct`."""

    def __init__(self, case: Case) -> None:
        self.batch_size = case.batch_size
        self.model = Autoencoder(benchmark_spec(case.entry), seed=0, dtype=case.precision)
        self.model.compile(optimizer=keras.optimizers.Adam(1e-3))
        self.parameters = sum(
            int(np.prod(variable.shape)) for variable in self.model.trainable_variables
        )

    def train(self, images: np.ndarray) -> float:
        """Train one epoch; return its mean loss."""
        return self._epoch(self.model.fit, images[..., np.newaxis])

    def _epoch(self, fit: Callable[..., Any], images: np.ndarray) -> float:
        history = fit(images, batch_size=self.batch_size, epochs=1, shuffle=False, verbose=0)
        return float(history.history["loss"][0])

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the codes."""
        return self.model.encode(images, batch_size=self.batch_size)

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Return the reconstructions."""
        return self.model.reconstruct(images, batch_size=self.batch_size)
