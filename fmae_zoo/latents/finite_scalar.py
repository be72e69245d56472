"""Codes whose values are each rounded to a few levels: a codebook that is not learned."""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from fmae_zoo.latents.base import Draw, LatentComponent
from fmae_zoo.latents.deterministic import projected
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer

MARGIN = 1e-3
"""Share by which the bound is narrowed, so that values never round beyond the outermost levels."""

MAX_CODES = 2**24
"""Largest number of codes of a group: float32 represents integers exactly up to here."""


class FiniteScalarLatent(LatentComponent):
    """`size` values in groups; value `i` of a group is rounded to one of `levels[i]` levels.

    A value z is bounded to the range of the levels, which are integers, by
    `tanh(z + shift) * half - offset`, which maps 0 to 0. It is then rounded and scaled to [-1, 1].
    The offset is 0.5 for an even number of levels, which puts one level more below 0 than above,
    else 0. The gradient ignores the rounding (straight-through).

    Source: Mentzer et al. 2023, "Finite Scalar Quantization: VQ-VAE Made Simple",
    arXiv 2309.15505. The paper's shift is a tangent. Here it is an inverse hyperbolic tangent,
    equal to third order, so that 0 is mapped exactly to 0.

    Attributes:
        levels: Number of levels of each value in a group; `size` is a multiple of their count.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"mean", "index"})

    type: Literal["finite_scalar"]
    levels: tuple[Annotated[int, Field(ge=3, le=1000)], ...] = Field(
        default=(8, 5, 5, 5), min_length=1, max_length=16
    )

    @model_validator(mode="after")
    def _groups_are_whole(self) -> Self:
        if self.size % len(self.levels):
            raise ValueError(
                f"size: {self.size} is no multiple of the number of levels, {len(self.levels)}"
            )
        if math.prod(self.levels) > MAX_CODES:
            raise ValueError(
                f"levels: {math.prod(self.levels):,} codes of a group; expected at most "
                f"{MAX_CODES:,}"
            )
        return self

    @property
    def kinds(self) -> int:
        """Number of possible codes of a group: the product of its levels."""
        return math.prod(self.levels)

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `{"mean": (n, size)}`, the values before bounding and rounding."""
        return {"mean": projected(features, self.size, "latent", seeds)}

    def build(self, layer: "LatentLayer", seeds: "Seeds") -> None:
        """Create the layer that names the code; the latent has no further weights."""
        import keras

        layer.named = keras.layers.Identity(name="code", dtype="float32")

    def code(self, parameters: dict[str, Tensor], layer: "LatentLayer") -> Tensor:
        """Return the rounded values, scaled to [-1, 1]: `(n, size)`."""
        from keras import ops

        bounded = self._bounded(parameters["mean"])
        passed = bounded - ops.stop_gradient(bounded)
        rounded = ops.stop_gradient(ops.round(bounded)) + passed
        scaled = ops.divide(rounded, self._middles("float32"))
        return layer.named(ops.reshape(scaled, (-1, self.size)))

    def draw(
        self,
        parameters: dict[str, Tensor],
        layer: "LatentLayer",
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return the code, and `index`, the number of each group's code, `(n, groups)`.

        The levels of a group are the digits of this number; the first value is the lowest digit.
        """
        from keras import ops

        draw = super().draw(parameters, layer, samples, training, noise)
        rounded = ops.cast(ops.round(self._bounded(parameters["mean"])), "int32")
        digits = ops.add(rounded, self._middles("int32"))
        index = ops.sum(ops.multiply(digits, self._places), axis=-1)
        return draw._replace(extra={**draw.extra, "index": index})

    def nearest(self, codes: Tensor, layer: "LatentLayer") -> Tensor:
        """Return the nearest levels, scaled to [-1, 1]: `(n, size)`."""
        from keras import ops

        middles, levels = self._middles("float32"), np.array(self.levels, dtype="float32")
        groups = ops.reshape(codes, (-1, self.size // len(levels), len(levels)))
        rounded = ops.clip(ops.round(ops.multiply(groups, middles)), -middles, levels - 1 - middles)
        return ops.reshape(ops.divide(rounded, middles), (-1, self.size))

    def code_of(self, index: np.ndarray, layer: "LatentLayer") -> np.ndarray:
        """Return the levels for indices `(n, groups)`, scaled to [-1, 1]."""
        digits = index[..., None] // self._places % np.array(self.levels)
        middles = self._middles("float32")
        return np.reshape((digits - middles) / middles, (len(index), -1)).astype(np.float32)

    @property
    def _places(self) -> np.ndarray:
        """Place value of each value of a group in the group's number."""
        return np.cumprod((1, *self.levels[:-1])).astype("int32")

    def _bounded(self, mean: Tensor) -> Tensor:
        """Return values `(n, groups, len(levels))`, bounded so that each rounds to a level."""
        from keras import ops

        levels = np.array(self.levels)
        half = (levels - 1) * (1.0 - MARGIN) / 2.0
        offset = np.where(levels % 2, 0.0, 0.5)
        shift, half, offset = (
            each.astype("float32") for each in (np.arctanh(offset / half), half, offset)
        )
        groups = ops.reshape(mean, (-1, self.size // len(levels), len(levels)))
        # Functions, not operators: for a torch tensor and an array NumPy's operator would be used.
        bounded = ops.tanh(ops.add(groups, shift))
        return ops.subtract(ops.multiply(bounded, half), offset)

    def _middles(self, dtype: str) -> np.ndarray:
        """Return the number of levels below 0 for each value of a group."""
        return np.array(self.levels).astype(dtype) // 2
