"""Squared error, plus a penalty on how strongly the code changes with the image."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch, ObjectiveComponent
from fmae_zoo.objectives.jacobian import squared_jacobian
from fmae_zoo.objectives.squared_error import squared_error
from fmae_zoo.objectives.stateless import call_again
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class Contractive(ObjectiveComponent):
    """Squared error, plus the squared Frobenius norm of the Jacobian of the encoder.

    The code then varies only with what the reconstruction needs. The norm is estimated by a finite
    difference along one random direction, with the encoder in training mode; its moving
    statistics do not change.

    The paper ties the decoder's weights to the encoder's. Here they are free, so a part of the
    contraction is only a smaller scale of the code.

    Source: Rifai et al. 2011, Contractive Auto-Encoders: Explicit Invariance During Feature
    Extraction, ICML.

    Attributes:
        contraction_weight: Weight of the squared norm.
        step: Step of the finite difference, as root mean square per pixel, in units of intensity.
    """

    term_names: ClassVar[tuple[str, ...]] = ("reconstruction", "contraction")
    loss_label: ClassVar[str] = "squared error, summed over pixels, and contraction"

    type: Literal["contractive"]
    contraction_weight: float = Field(default=0.01, gt=0.0, le=1e6)
    step: float = Field(default=0.05, ge=1e-4, le=1.0)

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the two terms of each image, `(n,)`."""
        from keras import ops

        def mean(images: Tensor) -> Tensor:
            return ops.cast(call_again(model.posterior, images)["mean"], "float32")

        image = ops.reshape(batch["image"], (-1, *model.spec.shape))
        noise = model.latent.noise(ops.shape(image))
        return {
            "reconstruction": squared_error(batch["target"], logits[:, 0]),
            "contraction": squared_jacobian(mean, image, noise, self.step),
        }

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return {"reconstruction": 1.0, "contraction": self.contraction_weight}
