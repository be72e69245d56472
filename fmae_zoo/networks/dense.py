"""Fully connected encoder and its mirror image."""

from itertools import pairwise
from typing import Any, Literal

from pydantic import Field

from fmae_zoo.component import IMAGE_SHAPE, IMAGE_SIZE, LAYOUT, Component, Width


class DenseNetwork(Component):
    """784 pixels through dense layers of `units`, and back through the same widths reversed.

    Each hidden layer is dense, BatchNorm where `batch_norm` says so, and ReLU. The
    features that the latent reads are the last hidden layer's.
    """

    type: Literal["dense"]
    units: tuple[Width, ...] = Field(min_length=1, max_length=16)
    batch_norm: bool = False

    @property
    def features_size(self) -> int:
        """Number of values in the features of an image."""
        return self.units[-1]

    def parameters(self, latent_size: int) -> int:
        """Return the number of weights in all kernels, both of the latent's sides included."""
        widths = (IMAGE_SIZE, *self.units, latent_size)
        return 2 * sum(one * other for one, other in pairwise(widths))

    def encode(self, image: Any) -> Any:
        """Connect an image tensor `(n, 28, 28, 1)` to features `(n, units[-1])`."""
        from keras import layers

        x = layers.Flatten(data_format=LAYOUT, name="pixels")(image)
        for number, width in enumerate(self.units, 1):
            x = self._hidden(x, width, f"encoder{number}")
        return layers.Identity(name="features")(x)

    def decode(self, code: Any) -> Any:
        """Connect a code `(n, d)` to image logits `(n, 28, 28, 1)`."""
        from keras import layers

        x = code
        for number, width in enumerate(reversed(self.units), 1):
            x = self._hidden(x, width, f"decoder{number}")
        x = layers.Dense(IMAGE_SIZE, name="logits_dense", dtype="float32")(x)
        return layers.Reshape(IMAGE_SHAPE, name="logits", dtype="float32")(x)

    def _hidden(self, x: Any, width: int, name: str) -> Any:
        from keras import layers

        x = layers.Dense(
            width,
            use_bias=not self.batch_norm,
            kernel_initializer="he_normal",
            name=f"{name}_dense",
        )(x)
        if self.batch_norm:
            x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
        return layers.ReLU(name=f"{name}_relu")(x)
