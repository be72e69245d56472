"""A bottleneck of which a few values stay."""

from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from fmae_zoo.component import Width
from fmae_zoo.latents.base import Draw, LatentComponent
from fmae_zoo.latents.deterministic import projected

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer


class KSparseLatent(LatentComponent):
    """A linear bottleneck of `size` values; the `k` largest stay, the others are 0.

    The gradient reaches those that stay. Values that equal the last one of them stay too.

    Source: Makhzani and Frey 2013, "k-Sparse Autoencoders", arXiv 1312.5663.

    Attributes:
        k: values that stay, at most `size`.
        alpha: outside training `alpha * k` stay, rounded, and at most `size`.
    """

    type: Literal["k_sparse"]
    k: Width = 32
    alpha: float = Field(default=1.0, ge=1.0, le=100.0)

    @model_validator(mode="after")
    def _k_is_within_size(self) -> Self:
        if self.k > self.size:
            raise ValueError(f"k: {self.k} values cannot stay of size = {self.size}")
        return self

    @property
    def k_test(self) -> int:
        """Values that stay outside training."""
        return min(self.size, round(self.alpha * self.k))

    def parameters(self, features: Any, seeds: "Seeds") -> dict[str, Any]:
        """Connect features to `{"mean": (n, size)}`, of which all values are there."""
        return {"mean": projected(features, self.size, "latent", seeds)}

    def build(self, layer: "LatentLayer", seeds: "Seeds") -> None:
        """Create the layer that names the code; there is nothing to learn."""
        import keras

        layer.named = keras.layers.Identity(name="code", dtype="float32")

    def code(self, parameters: dict[str, Any], layer: "LatentLayer") -> Any:
        """Return the values of which `k_test` stay, `(n, size)`."""
        return layer.named(largest(parameters["mean"], self.k_test))

    def draw(
        self,
        parameters: dict[str, Any],
        layer: "LatentLayer",
        samples: int = 1,
        training: bool = False,
        noise: Any = None,
    ) -> Draw:
        """Return the code; in training the one of which `k` values stay."""
        from keras import ops

        draw = super().draw(parameters, layer, samples, training, noise)
        if not training:
            return draw
        code = largest(parameters["mean"], self.k)
        return draw._replace(code=ops.repeat(code[:, None], samples, axis=1))


def largest(values: Any, count: int) -> Any:
    """Return values `(n, size)` of which all but the `count` largest of each row are 0."""
    from keras import ops

    fixed = ops.stop_gradient(values)
    least = ops.top_k(fixed, count)[0][:, -1:]
    return values * ops.cast(fixed >= least, "float32")
