"""Squared error, plus the sliced Wasserstein distance between codes and draws of the prior."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch, ObjectiveComponent
from fmae_zoo.objectives.squared_error import squared_error
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class Sliced(ObjectiveComponent):
    """Squared error, plus the squared sliced Wasserstein-2 distance between codes and prior.

    Along a line, the Wasserstein distance of two samples is the distance of their sorted values.
    It is averaged over random directions, which are new in each step.

    Source: Kolouri et al. 2018, Sliced-Wasserstein Autoencoder, arXiv 1804.01947.

    Attributes:
        sliced_weight: Weight of the squared distance; the squared error, summed over pixels, has
            weight 1.
        projections: Number of random directions per step.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"prior"})
    of_batches: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("reconstruction", "sliced")
    loss_label: ClassVar[str] = "squared error, summed over pixels, and distance to the prior"

    type: Literal["sliced"]
    sliced_weight: float = Field(default=100.0, gt=0.0, le=1e6)
    projections: int = Field(default=50, ge=1, le=10_000)

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the reconstruction of each image, `(n,)`, and the scalar distance."""
        from keras import ops

        code, size = draw.code[:, 0], model.spec.latent.size
        noise = model.latent.noise((ops.shape(code)[0], model.spec.latent.noise_size))
        directions = model.latent.noise((size, self.projections))
        return {
            "reconstruction": squared_error(batch["target"], logits[:, 0]),
            "sliced": sliced_distance(code, model.latent.prior(noise), directions),
        }

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return {"reconstruction": 1.0, "sliced": self.sliced_weight}


def sliced_distance(codes: Tensor, others: Tensor, directions: Tensor) -> Tensor:
    """Return the squared sliced Wasserstein-2 distance between two samples of n codes, a scalar.

    Args:
        codes: First sample, `(n, size)`.
        others: Second sample, `(n, size)`.
        directions: Directions of any nonzero length, `(size, directions)`.
    """
    from keras import ops

    unit = directions / ops.norm(directions, axis=0, keepdims=True)
    one, other = (ops.sort(ops.matmul(each, unit), axis=0) for each in (codes, others))
    return ops.mean(ops.square(one - other))
