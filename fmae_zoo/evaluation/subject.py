"""What every protocol reads: a model, the data, and the codes, computed once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.errors import DataError

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.datasets import Dataset

MAX_PROBE_WIDTH = 1024
"""Largest number of values in a code for linear probe and kNN, which do not suit wider codes.

A dense head on a wider code is trained with more regularisation.
"""


@dataclass
class Subject:
    """A model under evaluation.

    Attributes:
        model: Autoencoder.
        data: Images and labels.
        seed: Seed of the heads, the posterior samples and the generated images.
        heads: Heads trained on the frozen encoder, by the name of the layer they read.
        advance: Function that slow protocols call with the number of finished images and of all.
    """

    model: "Autoencoder"
    data: "Dataset"
    seed: int = 0
    heads: dict[str | None, Any] = field(default_factory=dict)
    advance: Callable[[int, int], None] = lambda done, count: None

    @property
    def latent_size(self) -> int:
        """The number of values in a code."""
        return self.model.spec.latent.size

    @cached_property
    def train_codes(self) -> np.ndarray:
        """Latent means of all training images: `(n, latent size)`."""
        return self.model.encode(self.data.train_images)

    @cached_property
    def test_codes(self) -> np.ndarray:
        """Latent means of the test images: `(m, latent size)`."""
        return self.model.encode(self.data.test_images)

    @cached_property
    def test_reconstructions(self) -> np.ndarray:
        """The test images, decoded from their codes: `(m, height, width, channels)`."""
        return self.model.decode(self.test_codes, label=self.test_labels)

    @property
    def test_labels(self) -> np.ndarray | None:
        """Labels of the test images if the decoder reads classes, else None.

        Raises:
            DataError: The decoder reads classes, and the data has no labels, or one out of range.
        """
        return self._told(1)

    @property
    def validation_labels(self) -> np.ndarray | None:
        """Labels of the validation images if the decoder reads classes, else None."""
        labels = self._told(0)
        return None if labels is None else labels[self.data.split[1]]

    def _told(self, part: int) -> np.ndarray | None:
        classes = self.model.spec.classes
        if classes is None:
            return None
        labels = self.data.labels[part]
        if len(labels) and labels.max() >= classes:
            raise DataError(
                f"{self.data.source}: a label of {labels.max()}; the spec has {classes} classes"
            )
        return labels
