"""Fully connected network, whose decoder mirrors the encoder."""

import math
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fmae_zoo.component import LAYOUT, Shape, Width
from fmae_zoo.networks.base import NetworkComponent
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds


class DenseNetwork(NetworkComponent):
    """Dense layers on all pixels; the decoder has the same widths in reverse order.

    The features are the output of the encoder's last hidden layer.

    Attributes:
        units: Widths of the encoder's hidden layers.
        batch_norm: Whether BatchNorm stands between each hidden dense layer and its ReLU.
        gated: Whether each hidden layer is instead the product of a dense layer and the sigmoid of
            another (Dauphin et al. 2017, "Language Modeling with Gated Convolutional Networks",
            arXiv 1612.08083).
    """

    suits_xla: ClassVar[bool] = True

    type: Literal["dense"]
    units: tuple[Width, ...] = Field(min_length=1, max_length=16)
    batch_norm: bool = False
    gated: bool = False

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.batch_norm and self.gated:
            raise ValueError("gated layers have no batch_norm")
        return self

    def features_size(self, shape: Shape) -> int:
        """Return the number of values in the features of one image."""
        return self.units[-1]

    def parameters(self, latent_size: int, shape: Shape) -> int:
        """Return the number of weights in all kernels, including those around the latent."""
        gates = 2 if self.gated else 1
        inner = sum(one * other for one, other in pairwise(self.units))
        outer = math.prod(shape) * self.units[0] + self.units[-1] * latent_size
        return 2 * gates * inner + (1 + gates) * outer

    def encode(self, image: Tensor, seeds: "Seeds") -> Tensor:
        """Connect an image `(n, height, width, channels)` to features `(n, units[-1])`."""
        from keras import layers

        x = layers.Flatten(data_format=LAYOUT, name="pixels")(image)
        for number, width in enumerate(self.units, 1):
            x = self._hidden(x, width, f"encoder{number}", seeds)
        return layers.Identity(name="features")(x)

    def decode(self, code: Tensor, shape: Shape, seeds: "Seeds") -> Tensor:
        """Connect a code `(n, d)` to image logits `(n, height, width, channels)`."""
        from keras import layers

        from fmae_zoo.layers import family

        x = code
        for number, width in enumerate(reversed(self.units), 1):
            x = self._hidden(x, width, f"decoder{number}", seeds)
        initial = seeds.glorot_uniform()
        x = family().Dense(
            math.prod(shape), kernel_initializer=initial, name="logits_dense", dtype="float32"
        )(x)
        return layers.Reshape(shape, name="logits", dtype="float32")(x)

    def _hidden(self, x: Tensor, width: int, name: str, seeds: "Seeds") -> Tensor:
        from keras import layers

        from fmae_zoo.layers import family

        own = family()
        hidden = own.Dense(
            width,
            activation=None if self.batch_norm or self.gated else "relu",
            use_bias=not self.batch_norm,
            kernel_initializer=seeds.he_normal(),
            name=f"{name}_dense",
        )(x)
        if self.gated:
            initial = seeds.glorot_uniform()
            gate = own.Dense(
                width, activation="sigmoid", kernel_initializer=initial, name=f"{name}_gate"
            )(x)
            return layers.Multiply(name=f"{name}_gated")([hidden, gate])
        if self.batch_norm:
            hidden = own.BatchNormalization(momentum=0.9, name=f"{name}_bn")(hidden)
            hidden = layers.ReLU(name=f"{name}_relu")(hidden)
        return hidden
