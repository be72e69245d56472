"""Network without hidden layers, for codes that are affine in the pixels and back."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from fmae_zoo.component import LAYOUT, Affine, Shape
from fmae_zoo.networks.base import NetworkComponent
from fmae_zoo.types import Initializer, Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds

LEAST = 1e-4
"""Decoded pixels are clipped to [LEAST, 1 - LEAST], because the logit of 0 and 1 is infinite."""


class LinearNetwork(NetworkComponent):
    """Network whose features are the pixels and whose decoder is one dense layer.

    The latent's own dense layer maps the pixels to a code. This is the network of two classical
    baselines: principal components are its least-squares solution (Baldi and Hornik 1989, "Neural
    Networks and Principal Component Analysis: Learning from Examples Without Local Minima", Neural
    Networks 2), and with a categorical code it is a mixture of Bernoullis.

    Attributes:
        output: Output of the decoder's dense layer: `logits`, or `pixels`. Pixels are clipped to
            [1e-4, 1 - 1e-4] and converted to logits, so that the sigmoid of the logits is the
            affine image.
    """

    suits_xla: ClassVar[bool] = True

    type: Literal["linear"]
    output: Affine = "logits"

    @property
    def affine(self) -> Affine:
        """The decoder output that is an affine map of the code, `logits` or `pixels`."""
        return self.output

    def features_size(self, shape: Shape) -> int:
        """Return the number of values in the features of one image."""
        return math.prod(shape)

    def parameters(self, latent_size: int, shape: Shape) -> int:
        """Return the number of weights in all kernels, including those around the latent."""
        return 2 * math.prod(shape) * latent_size

    def encode(self, image: Tensor, seeds: "Seeds") -> Tensor:
        """Connect an image `(n, height, width, channels)` to features, its flattened pixels."""
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
            # Start from a grey image, because no gradient passes through clipped pixels.
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
