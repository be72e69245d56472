"""Convolutional network with BatchNorm; the encoder pools and the decoder upsamples."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field

from fmae_zoo.component import LAYOUT, MAX_MAP, Component, Shape, Width
from fmae_zoo.networks.base import NetworkComponent
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds


class EncoderStage(Component):
    """3x3 convolutions with the given `filters`, BatchNorm and ReLU, then an optional 2x2 pooling.

    Max pooling loses the position within the 2x2 square; average pooling with enough channels does
    not.
    """

    filters: tuple[Width, ...] = Field(min_length=1, max_length=16)
    pool: Literal["max", "average", "none"] = "none"


class DecoderStage(Component):
    """An optional 2x nearest-neighbour upsampling, then convolutions as in `EncoderStage`."""

    filters: tuple[Width, ...] = Field(max_length=16)
    upsample: bool = False


class ConvNetwork(NetworkComponent):
    """Stages of convolution, BatchNorm and ReLU, with pooling in the encoder and upsampling back.

    In this order BatchNorm can be folded into the convolution for inference. The network uses
    pooling and nearest-neighbour upsampling because strided convolutions train ten times slower on
    JAX's CPU backend.

    Attributes:
        encoder: Stages of the encoder.
        decoder: Stages of the decoder.
        base: Height, width and channels of the map that the decoder starts from. A code of any
            other size is first projected to it by a dense layer. By default it has the image's
            height and width, halved once for each upsampling of the decoder, and the channels of
            the encoder's last convolution.
        shortcut: Whether a linear readout of the code, as PCA decodes, is added to the logits. The
            convolutions then learn only the residual, which takes fewer steps.
    """

    type: Literal["conv"]
    encoder: tuple[EncoderStage, ...] = Field(min_length=1, max_length=16)
    decoder: tuple[DecoderStage, ...] = Field(min_length=1, max_length=16)
    base: tuple[Width, Width, Width] | None = None
    shortcut: bool = False

    def check(self, shape: Shape) -> None:
        """Check that the encoder can pool images of a shape and the decoder produces that shape.

        Raises:
            ValueError: The shape does not fit, or a map has more values than `MAX_MAP`; the message
                names the sizes that fit, or the setting that does not.
        """
        step, least = self._scale, max(self._scale, 2**self._pools)
        for name, side in zip(("height", "width"), shape):
            if side % step or side < least:
                below = side - side % step
                fitting = [each for each in (below, below + step) if each >= least] or [least]
                raise ValueError(
                    f"shape: {name} {side}: this network pools {self._pools} times and doubles "
                    f"{self._doublings} times, and needs multiples of {step}"
                    f"{f', {least} at least' if least > step else ''}: "
                    f"{' or '.join(map(str, fitting))}"
                )
        base = self._base(shape)
        if self.base is not None and self.base != base:
            made = tuple(extent * step for extent in self.base[:2])
            raise ValueError(
                f"network.base and decoder: {self.base[0]} x {self.base[1]} upsampled {step} times "
                f"makes images of {made[0]} x {made[1]}; expected {shape[0]} x {shape[1]}"
            )
        largest = max(self._maps(shape))
        if largest > MAX_MAP:
            raise ValueError(
                f"network.filters: {largest:,} values in a map; expected at most {MAX_MAP:,}"
            )

    def for_shape(self, shape: Shape) -> Self:
        """Return the network for images of another shape; `base`, if it is set, is adapted."""
        return self if self.base is None else self.model_copy(update={"base": self._base(shape)})

    @property
    def _pools(self) -> int:
        return sum(stage.pool != "none" for stage in self.encoder)

    @property
    def _doublings(self) -> int:
        return sum(stage.upsample for stage in self.decoder)

    @property
    def _scale(self) -> int:
        return int(2**self._doublings)

    def _base(self, shape: Shape) -> Shape:
        """Return the shape that the decoder must start from to produce images of a shape."""
        channels = self.encoder[-1].filters[-1] if self.base is None else self.base[2]
        return shape[0] // self._scale, shape[1] // self._scale, channels

    def _maps(self, shape: Shape) -> Iterator[int]:
        """Yield the number of values in the largest map of each stage."""
        height, width, _ = shape
        for stage in self.encoder:
            yield height * width * max(stage.filters)
            if stage.pool != "none":
                height, width = height // 2, width // 2
        base = self._base(shape)
        yield math.prod(base)
        pixels, channels = base[0] * base[1], base[2]
        for step in self.decoder:
            pixels *= 4 if step.upsample else 1
            yield pixels * max(channels, *step.filters, 1)
            channels = step.filters[-1] if step.filters else channels

    def features_size(self, shape: Shape) -> int:
        """Return the number of values in the features of one image."""
        height, width = (side >> self._pools for side in shape[:2])
        return height * width * self.encoder[-1].filters[-1]

    def parameters(self, latent_size: int, shape: Shape) -> int:
        """Return the number of weights in all kernels, including those around the latent."""
        base, features = self._base(shape), self.features_size(shape)
        down = [shape[2], *(width for stage in self.encoder for width in stage.filters)]
        up = [base[2], *(width for stage in self.decoder for width in stage.filters), shape[2]]
        kernels = 9 * sum(one * other for path in (down, up) for one, other in pairwise(path))
        sizes = [size for size in (features, math.prod(base)) if size != latent_size]
        sizes += [math.prod(shape)] if self.shortcut else []
        return kernels + latent_size * sum(sizes)

    def encode(self, image: Tensor, seeds: "Seeds") -> Tensor:
        """Connect an image `(n, height, width, channels)` to features, a smaller map."""
        from keras import layers

        from fmae_zoo.layers import family

        own, x = family(), image
        for number, stage in enumerate(self.encoder, 1):
            for position, width in enumerate(stage.filters, 1):
                x = _conv_bn_relu(x, width, f"stage{number}_conv{position}", seeds)
            if stage.pool != "none":
                pool = {"max": own.MaxPooling2D, "average": own.AveragePooling2D}[stage.pool]
                x = pool(2, data_format=LAYOUT, name=f"stage{number}_pool")(x)
        return layers.Identity(name="features")(x)

    def decode(self, code: Tensor, shape: Shape, seeds: "Seeds") -> Tensor:
        """Connect a code `(n, d)` to image logits `(n, height, width, channels)`."""
        from keras import layers

        from fmae_zoo.layers import family

        own = family()

        x, base = code, self._base(shape)
        size = math.prod(base)
        if code.shape[-1] != size:
            initial = seeds.glorot_uniform()
            x = own.Dense(size, use_bias=False, kernel_initializer=initial, name="base_dense")(x)
            x = layers.Reshape(base, name="base")(x)
            x = own.BatchNormalization(momentum=0.9, name="base_bn")(x)
            x = layers.ReLU(name="base_relu")(x)
        else:
            x = layers.Reshape(base, name="base")(x)
        for number, stage in enumerate(self.decoder, 1):
            if stage.upsample and not stage.filters:
                x = layers.UpSampling2D(2, data_format=LAYOUT, name=f"up{number}")(x)
            for position, width in enumerate(stage.filters, 1):
                upsample = stage.upsample and position == 1
                x = _conv_bn_relu(x, width, f"up{number}_conv{position}", seeds, upsample)
        x = own.Conv2D(
            shape[2],
            3,
            padding="same",
            data_format=LAYOUT,
            kernel_initializer=seeds.glorot_uniform(),
            name="logits_conv",
        )(x)
        if self.shortcut:
            straight = own.Dense(
                math.prod(shape),
                kernel_initializer=seeds.glorot_uniform(),
                dtype="float32",
                name="shortcut_dense",
            )(code)
            straight = layers.Reshape(shape, dtype="float32", name="shortcut")(straight)
            return layers.Add(dtype="float32", name="logits")([x, straight])
        return layers.Activation("linear", dtype="float32", name="logits")(x)


def _conv_bn_relu(
    x: Tensor, filters: int, name: str, seeds: "Seeds", upsample: bool = False
) -> Tensor:
    from keras import layers

    from fmae_zoo.layers import family, is_plain

    own = family()
    options: dict[str, Any] = {
        "use_bias": False,
        "kernel_initializer": seeds.he_normal(),
        "data_format": LAYOUT,
        "name": name,
    }
    if upsample and not is_plain():
        x = own.UpsampledConv2D(filters, **options)(x)
    else:
        if upsample:
            x = layers.UpSampling2D(2, data_format=LAYOUT, name=f"{name}_upsampling")(x)
        x = own.Conv2D(filters, 3, padding="same", **options)(x)
    x = own.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
