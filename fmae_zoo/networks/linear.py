"""No hidden layer: a code is an affine map of the pixels, an image one of the code."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from fmae_zoo.component import LAYOUT, Affine, Shape
from fmae_zoo.networks.base import NetworkComponent
from fmae_zoo.types import Initializer, Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds

LEAST = 1e-4
"""Decoded pixels are cut off so far from 0 and 1, where the logit has no value."""


class LinearNetwork(NetworkComponent):
    """The features are the pixels, which the latent's own dense layer reads; one decodes.

    It is the network of the classical baselines: principal components are its least squares
    (Baldi and Hornik 1989, "Neural Networks and Principal Component Analysis: Learning from
    Examples Without Local Minima", Neural Networks 2), and a mixture of Bernoullis has it where
    the code is categorical.

    Attributes:
        output: what the decoder's dense layer gives: `logits`, or `pixels`, which are cut off at
            1e-4 and 1 - 1e-4 and then made logits, so that their sigmoid is the affine image.
    """

    suits_xla: ClassVar[bool] = True

    type: Literal["linear"]
    output: Affine = "logits"

    @property
    def affine(self) -> Affine:
        """What is an affine map of the code."""
        return self.output

    def features_size(self, shape: Shape) -> int:
        """Return the number of values in the features of an image."""
        return math.prod(shape)

    def parameters(self, latent_size: int, shape: Shape) -> int:
        """Return the number of weights in all kernels, both of the latent's sides included."""
        return 2 * math.prod(shape) * latent_size

    def encode(self, image: Tensor, seeds: "Seeds") -> Tensor:
        """Connect an image tensor `(n, height, width, channels)` to features, its pixels."""
        from keras import layers

        return layers.Flatten(data_format=LAYOUT, dtype="float32", name="features")(image)

    def decode(self, code: Tensor, shape: Shape, seeds: "Seeds") -> Tensor:
        """Connect a code `(n, d)` to image logits `(n, height, width, channels)`."""
        from keras import layers, ops

        from fmae_zoo.layers import family

        pixels = self.output == "pixels"
        x = family().Dense(
            math.prod(shape),
            kernel_initializer=seeds.glorot_uniform(),
            # A grey image: where pixels are cut off, no gradient passes.
            bias_initializer=_constant(0.5 if pixels else 0.0),
            name=f"{self.output}_dense",
            dtype="float32",
        )(code)
        if pixels:
            x = ops.clip(x, LEAST, 1.0 - LEAST)
            x = ops.log(x) - ops.log(1.0 - x)
        return layers.Reshape(shape, name="logits", dtype="float32")(x)


def _constant(value: float) -> Initializer:
    import keras

    return keras.initializers.Constant(value)
