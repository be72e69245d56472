"""Squared error, plus the distance of the encoder's output from the chosen codebook vectors."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch, ObjectiveComponent
from fmae_zoo.objectives.squared_error import squared_error
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class CommittedSquaredError(ObjectiveComponent):
    """Squared error, plus the commitment of the encoder to the chosen codebook vectors.

    Source: van den Oord et al. 2017, Neural Discrete Representation Learning, arXiv 1711.00937.

    Attributes:
        commitment_weight: Weight of the squared distance, summed over the code.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"commitment"})
    term_names: ClassVar[tuple[str, ...]] = ("reconstruction", "commitment")
    loss_label: ClassVar[str] = "squared error, summed over pixels, and commitment"

    type: Literal["committed_squared_error"]
    commitment_weight: float = Field(default=0.25, gt=0.0, le=1e6)

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the reconstruction and the commitment of each image, `(n,)`."""
        return {
            "reconstruction": squared_error(batch["target"], logits[:, 0]),
            "commitment": draw.extra["commitment"],
        }

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return {"reconstruction": 1.0, "commitment": self.commitment_weight}
