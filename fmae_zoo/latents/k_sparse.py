"""A bottleneck that keeps only the largest values."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from fmae_zoo.component import Width
from fmae_zoo.latents.base import Draw, LatentComponent
from fmae_zoo.latents.deterministic import projected
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer


class KSparseLatent(LatentComponent):
    """A linear bottleneck of `size` values that keeps the `k` largest and sets the others to 0.

    Gradients reach only the kept values. Values equal to the smallest kept value are kept too. If
    few values are kept from the first step on, most values are never kept and learn nothing.
    Training can therefore start with `first_k` kept values, a number that falls linearly to `k`.

    Source: Makhzani and Frey 2013, "k-Sparse Autoencoders", arXiv 1312.5663.

    Attributes:
        k: Number of values kept, at most `size`.
        first_k: Number of values kept in the first training step; `k` by default.
        k_steps: Number of training steps over which it falls to `k`.
        alpha: Factor outside training, where `alpha * k` values are kept, rounded, at most `size`.
    """

    type: Literal["k_sparse"]
    k: Width = 32
    first_k: Width | None = None
    k_steps: int = Field(default=10_000, ge=1, le=10**7)
    alpha: float = Field(default=1.0, ge=1.0, le=100.0)

    @model_validator(mode="after")
    def _k_is_within_size(self) -> Self:
        if self.k > self.size:
            raise ValueError(f"k: {self.k} values cannot stay of size = {self.size}")
        if self.first_k is not None and not self.k <= self.first_k <= self.size:
            raise ValueError(
                f"first_k: expected k = {self.k} to size = {self.size}; received {self.first_k}"
            )
        return self

    @property
    def k_test(self) -> int:
        """Number of values kept outside training."""
        return min(self.size, round(self.alpha * self.k))

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `{"mean": (n, size)}`, with all values kept."""
        return {"mean": projected(features, self.size, "latent", seeds)}

    def build(self, layer: "LatentLayer", seeds: "Seeds") -> None:
        """Create the layer that names the code, and a step counter if there is a `first_k`."""
        import keras

        layer.named = keras.layers.Identity(name="code", dtype="float32")
        if self.first_k is not None:
            options = {"initializer": "zeros", "trainable": False}
            layer.steps = layer.add_weight(shape=(), name="steps", **options)

    def code(self, parameters: dict[str, Tensor], layer: "LatentLayer") -> Tensor:
        """Return the values with the `k_test` largest kept, `(n, size)`."""
        return layer.named(largest(parameters["mean"], self.k_test))

    def draw(
        self,
        parameters: dict[str, Tensor],
        layer: "LatentLayer",
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return the code; in training with as many values kept as the current step allows."""
        from keras import ops

        draw = super().draw(parameters, layer, samples, training, noise)
        if not training:
            return draw
        code = largest(parameters["mean"], self._k_now(layer))
        return draw._replace(code=ops.repeat(code[:, None], samples, axis=1))

    def _k_now(self, layer: "LatentLayer") -> Tensor:
        """Return how many values are kept in this training step, and count the step."""
        from keras import ops

        if self.first_k is None:
            return self.k
        share = ops.minimum(layer.steps / float(self.k_steps), 1.0)
        layer.steps.assign_add(1.0)
        return ops.cast(ops.round(self.first_k + share * (self.k - self.first_k)), "int32")


def largest(values: Tensor, count: Tensor) -> Tensor:
    """Return values `(n, size)` with all but the `count` largest in each row set to 0."""
    from keras import ops

    fixed = ops.stop_gradient(values)
    least = ops.take(ops.sort(fixed, axis=-1), [values.shape[-1] - count], axis=-1)
    return values * ops.cast(fixed >= least, "float32")
