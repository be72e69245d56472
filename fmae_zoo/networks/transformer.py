"""A small vision transformer, whose encoder ignores hidden patches."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fmae_zoo.component import Component, Shape, Width
from fmae_zoo.networks.base import NetworkComponent
from fmae_zoo.types import Layer, Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds

FAINT = -3e4
"""Added to the attention scores of hidden patches, so that their softmax is 0, also in float16."""


class Blocks(Component):
    """A sequence of transformer blocks, each with attention followed by two dense layers.

    Attributes:
        width: Number of values in a token.
        depth: Number of blocks.
        heads: Number of attention heads, which must divide the width.
    """

    width: Width
    depth: int = Field(ge=1, le=64)
    heads: int = Field(ge=1, le=64)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(
                f"width: {self.width} values for {self.heads} heads; expected so many "
                "that each has as many as the others"
            )
        return self


class TransformerNetwork(NetworkComponent):
    """Transformer on image patches, with a code of a few values for each patch.

    A patch is hidden if one of its pixels is below zero, which no image has. In the encoder no
    token attends to a hidden patch, and the code of a hidden patch is zeros. The decoder replaces
    these codes by a learned mask token and predicts all patches.

    This holds for a `spatial` latent without classes. Any other code is first projected to tokens,
    and then no token is missing.

    Source: He et al. 2021, "Masked Autoencoders Are Scalable Vision Learners", arXiv 2111.06377,
    with blocks as in Dosovitskiy et al. 2020, arXiv 2010.11929. He et al. remove hidden tokens from
    the sequence, which gives the same values for the visible ones in less time.

    Attributes:
        patch: Height and width of a patch in pixels.
        channels: Number of values in the code of a patch.
        encoder: Transformer blocks of the encoder.
        decoder: Transformer blocks of the decoder.
    """

    hidden: ClassVar[float] = -1.0

    type: Literal["transformer"]
    patch: int = Field(default=4, ge=2, le=64)
    channels: Width
    encoder: Blocks
    decoder: Blocks

    @property
    def hidden_patch(self) -> int:
        """Side of a patch in pixels; a patch with one hidden pixel is hidden as a whole."""
        return self.patch

    def check(self, shape: Shape) -> None:
        """Check that height and width are multiples of the patch size.

        Raises:
            ValueError: One of them is not; the message names the nearest sizes that fit.
        """
        for name, side in zip(("height", "width"), shape):
            below = side - side % self.patch
            if side != below or not below:
                fitting = [each for each in (below, below + self.patch) if each]
                raise ValueError(
                    f"shape: {name} {side}: patches of {self.patch} pixels need multiples of it: "
                    f"{' or '.join(map(str, fitting))}"
                )

    def _grid(self, shape: Shape) -> tuple[int, int]:
        return shape[0] // self.patch, shape[1] // self.patch

    def features_size(self, shape: Shape) -> int:
        """Return the number of values in the features of one image."""
        return math.prod(self._grid(shape)) * self.channels

    def parameters(self, latent_size: int, shape: Shape) -> int:
        """Return the number of weights in all kernels, positions and the mask token."""
        tokens, pixels = math.prod(self._grid(shape)), self.patch**2 * shape[2]
        blocks = sum(12 * each.depth * each.width**2 for each in (self.encoder, self.decoder))
        ends = (pixels + self.channels) * (self.encoder.width + self.decoder.width)
        positions = tokens * (self.encoder.width + self.decoder.width)
        size = self.features_size(shape)
        latent = 0 if latent_size == size else 2 * latent_size * size
        return blocks + ends + positions + latent + self.decoder.width

    def encode(self, image: Tensor, seeds: "Seeds") -> Tensor:
        """Connect an image to features `(n, patches, channels)`; hidden patches get zeros."""
        from keras import layers, ops

        from fmae_zoo.layers import family

        rows, columns = self._grid(image.shape[1:])
        x = layers.Reshape((rows, self.patch, columns, self.patch, -1), name="cut")(image)
        x = layers.Permute((1, 3, 2, 4, 5), name="sorted")(x)
        x = layers.Reshape((rows * columns, -1), name="patches")(x)
        hidden = ops.cast(ops.less(ops.min(x, axis=-1, keepdims=True), 0.0), x.dtype)
        x = _placed(x * (1.0 - hidden), self.encoder.width, "encoder_embedding", seeds)
        attention = layers.Reshape((1, 1, rows * columns), name="hidden")(hidden * FAINT)
        x = _blocks(x, self.encoder, "encoder", seeds, attention)
        initial = seeds.glorot_uniform()
        x = family().Dense(self.channels, kernel_initializer=initial, name="encoder_code")(x)
        x = x * (1.0 - ops.cast(hidden, x.dtype))
        return layers.Identity(name="features")(x)

    def decode(self, code: Tensor, shape: Shape, seeds: "Seeds") -> Tensor:
        """Connect a code `(n, d)` to image logits `(n, height, width, channels)`."""
        from keras import layers, ops

        from fmae_zoo.layers import family

        own, x = family(), code
        rows, columns = self._grid(shape)
        size = self.features_size(shape)
        if code.shape[-1] != size:
            x = own.Dense(size, kernel_initializer=seeds.glorot_uniform(), name="base_dense")(x)
        x = layers.Reshape((rows * columns, self.channels), name="tokens")(x)
        missing = ops.equal(ops.max(ops.abs(x), axis=-1, keepdims=True), 0.0)
        missing = ops.cast(missing, x.dtype)
        x = _placed(x, self.decoder.width, "decoder_embedding", seeds)
        in_place = own.Dense(
            self.decoder.width,
            use_bias=False,
            kernel_initializer=seeds.glorot_uniform(),
            name="mask_token",
        )
        x = _blocks(x + in_place(missing), self.decoder, "decoder", seeds)
        x = own.Dense(
            self.patch**2 * shape[2],
            kernel_initializer=seeds.glorot_uniform(),
            name="logits_dense",
            dtype="float32",
        )(x)
        grid = (rows, columns, self.patch, self.patch, shape[2])
        x = layers.Reshape(grid, name="logits_patches", dtype="float32")(x)
        x = layers.Permute((1, 3, 2, 4, 5), name="logits_sorted", dtype="float32")(x)
        return layers.Reshape(shape, name="logits", dtype="float32")(x)


def _placed(tokens: Tensor, width: int, name: str, seeds: "Seeds") -> Tensor:
    """Return tokens projected to a width, each with a learned embedding of its position added."""
    from keras import layers

    return layers.EinsumDense(
        "ntc,cw->ntw",
        (tokens.shape[1], width),
        bias_axes="tw",
        kernel_initializer=seeds.glorot_uniform(),
        bias_initializer=seeds.normal(),
        name=name,
    )(tokens)


def _blocks(
    x: Tensor, blocks: Blocks, name: str, seeds: "Seeds", attention: Tensor = None
) -> Tensor:
    """Apply blocks to tokens `(n, t, width)`; `attention` is added to the attention scores."""
    from keras import layers, ops

    from fmae_zoo.layers import family

    def dense(width: int, what: str, activation: str | None = None) -> Layer:
        initial = seeds.glorot_uniform()
        return family().Dense(width, activation, kernel_initializer=initial, name=what)

    def normed(tokens: Tensor, what: str) -> Tensor:
        return layers.LayerNormalization(epsilon=1e-6, name=what)(tokens)

    width, heads = blocks.width, (blocks.heads, blocks.width // blocks.heads)
    for number in range(1, blocks.depth + 1):
        of = f"{name}{number}"
        read = normed(x, f"{of}_norm1")
        asked, keys, values = (
            layers.Reshape((-1, *heads), name=f"{of}_{what}_heads")(
                dense(width, f"{of}_{what}")(read)
            )
            for what in ("query", "key", "value")
        )
        # Written out because JAX's own attention does not support float16 on a CPU.
        scores = ops.einsum("nthd,nshd->nhts", asked, keys) / math.sqrt(heads[1])
        if attention is not None:
            scores = scores + ops.cast(attention, scores.dtype)
        read = ops.einsum("nhts,nshd->nthd", ops.softmax(scores, axis=-1), values)
        read = layers.Reshape((-1, width), name=f"{of}_joined")(read)
        x = x + dense(width, f"{of}_projection")(read)
        read = dense(4 * width, f"{of}_wide", "gelu")(normed(x, f"{of}_norm2"))
        x = x + dense(width, f"{of}_narrow")(read)
    return normed(x, f"{name}_norm")
