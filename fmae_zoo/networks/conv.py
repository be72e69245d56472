"""Convolutional encoder with BatchNorm, and a decoder that upsamples."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fmae_zoo.component import IMAGE_SHAPE, IMAGE_SIZE, LAYOUT, MAX_MAP, SIDE, Component, Width

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds


class EncoderStage(Component):
    """3x3 convolutions of the given widths, each with BatchNorm and ReLU, then a 2x2 pool or none.

    A maximum forgets where in the 2x2 square it was; an average of enough channels does not.
    """

    filters: tuple[Width, ...] = Field(min_length=1, max_length=16)
    pool: Literal["max", "average", "none"] = "none"


class DecoderStage(Component):
    """A 2x nearest-neighbour upsampling where asked for, then convolutions as in the encoder."""

    filters: tuple[Width, ...] = Field(max_length=16)
    upsample: bool = False


class ConvNetwork(Component):
    """Stages of convolution, BatchNorm and ReLU; pooling down, upsampling back.

    The order convolution, BatchNorm, ReLU lets BatchNorm be folded into the
    convolution for inference. Down-sampling is by pooling and up-sampling by
    repetition because strided convolutions train ten times slower on JAX's CPU
    backend.

    `base` is the shape (height, width, channels) that the decoder starts from; a code
    of any other size is first projected to it by a dense layer. With `shortcut` a linear
    readout of the code, as PCA decodes, is added to the logits: the convolutions then
    learn what it leaves, which takes fewer steps.
    """

    suits_xla: ClassVar[bool] = False
    """Whether TensorFlow on a CPU trains it faster when XLA compiles the step: not convolutions."""

    type: Literal["conv"]
    encoder: tuple[EncoderStage, ...] = Field(min_length=1, max_length=16)
    decoder: tuple[DecoderStage, ...] = Field(min_length=1, max_length=16)
    base: tuple[Width, Width, Width]
    shortcut: bool = False

    @model_validator(mode="after")
    def _fits_the_image(self) -> Self:
        side = SIDE >> sum(stage.pool != "none" for stage in self.encoder)
        if side < 1:
            raise ValueError(f"encoder: too many pools for an image of {SIDE} pixels")
        scale = 2 ** sum(stage.upsample for stage in self.decoder)
        made = tuple(extent * scale for extent in self.base[:2])
        if made != (SIDE, SIDE):
            raise ValueError(
                f"base and decoder: {self.base[0]} x {self.base[1]} upsampled {scale} times "
                f"makes images of {made[0]} x {made[1]}; expected {SIDE} x {SIDE}"
            )
        largest = max(self._maps())
        if largest > MAX_MAP:
            raise ValueError(f"filters: {largest:,} values in a map; expected at most {MAX_MAP:,}")
        return self

    def _maps(self) -> Iterator[int]:
        """Give the number of values in the widest map of each stage."""
        side = SIDE
        for stage in self.encoder:
            yield side * side * max(stage.filters)
            side >>= stage.pool != "none"
        yield math.prod(self.base)
        pixels, width = self.base[0] * self.base[1], self.base[2]
        for step in self.decoder:
            pixels *= 4 if step.upsample else 1
            yield pixels * max(width, *step.filters, 1)
            width = step.filters[-1] if step.filters else width

    @property
    def features_size(self) -> int:
        """Number of values in the features of an image."""
        side = SIDE >> sum(stage.pool != "none" for stage in self.encoder)
        return side * side * self.encoder[-1].filters[-1]

    def parameters(self, latent_size: int) -> int:
        """Return the number of weights in all kernels, both of the latent's sides included."""
        down = [1, *(width for stage in self.encoder for width in stage.filters)]
        up = [self.base[2], *(width for stage in self.decoder for width in stage.filters), 1]
        kernels = 9 * sum(one * other for path in (down, up) for one, other in pairwise(path))
        base = math.prod(self.base)
        dense = latent_size * self.features_size if latent_size != self.features_size else 0
        dense += latent_size * base if latent_size != base else 0
        return kernels + dense

    def encode(self, image: Any, seeds: "Seeds") -> Any:
        """Connect an image tensor `(n, 28, 28, 1)` to features `(n, height, width, channels)`."""
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

    def decode(self, code: Any, seeds: "Seeds") -> Any:
        """Connect a code `(n, d)` to image logits `(n, 28, 28, 1)`."""
        from keras import layers

        from fmae_zoo.layers import family

        own = family()

        x = code
        size = math.prod(self.base)
        if code.shape[-1] != size:
            initial = seeds.glorot_uniform()
            x = own.Dense(size, use_bias=False, kernel_initializer=initial, name="base_dense")(x)
            x = layers.Reshape(self.base, name="base")(x)
            x = own.BatchNormalization(momentum=0.9, name="base_bn")(x)
            x = layers.ReLU(name="base_relu")(x)
        else:
            x = layers.Reshape(self.base, name="base")(x)
        for number, stage in enumerate(self.decoder, 1):
            if stage.upsample and not stage.filters:
                x = layers.UpSampling2D(2, data_format=LAYOUT, name=f"up{number}")(x)
            for position, width in enumerate(stage.filters, 1):
                upsample = stage.upsample and position == 1
                x = _conv_bn_relu(x, width, f"up{number}_conv{position}", seeds, upsample)
        x = own.Conv2D(
            1,
            3,
            padding="same",
            data_format=LAYOUT,
            kernel_initializer=seeds.glorot_uniform(),
            name="logits_conv",
        )(x)
        if self.shortcut:
            straight = own.Dense(
                IMAGE_SIZE,
                kernel_initializer=seeds.glorot_uniform(),
                dtype="float32",
                name="shortcut_dense",
            )(code)
            straight = layers.Reshape(IMAGE_SHAPE, dtype="float32", name="shortcut")(straight)
            return layers.Add(dtype="float32", name="logits")([x, straight])
        return layers.Activation("linear", dtype="float32", name="logits")(x)


def _conv_bn_relu(x: Any, filters: int, name: str, seeds: "Seeds", upsample: bool = False) -> Any:
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
