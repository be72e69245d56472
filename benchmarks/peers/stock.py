"""The same graph in stock Keras, without anything that the zoo does to run it faster."""

from functools import partial
from typing import Any

import keras
import numpy as np

from benchmarks.case import Case
from benchmarks.peers.zoo import Zoo
from benchmarks.shape import SHAPE
from fmae_zoo.images import as_images
from fmae_zoo.layers import plain_keras


class Stock(Zoo):
    """The zoo's layers, run by `keras.Model`'s own `fit` and `predict`."""

    def __init__(self, case: Case) -> None:
        with plain_keras():
            super().__init__(case)
            image = keras.Input(SHAPE)
            logits = self.model.decoder(self.model.encoder(image))
            reconstruction = keras.layers.Activation("sigmoid", dtype="float32")(logits)
            self._whole = keras.Model(image, reconstruction)

    def train(self, images: np.ndarray) -> float:
        """Train one epoch; return its mean loss."""
        with plain_keras():
            return self._epoch(partial(keras.Model.fit, self.model), as_images(images, SHAPE))

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the codes."""
        return self._predict(self.model.encoder, images)

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Return the reconstructions."""
        return self._predict(self._whole, images)

    def _predict(self, model: Any, images: np.ndarray) -> np.ndarray:
        with plain_keras():
            return keras.Model.predict(
                model, as_images(images, SHAPE), batch_size=self.batch_size, verbose=0
            )
