"""Squared error, plus penalties for long codes and for a decoder that is not smooth."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch, ObjectiveComponent
from fmae_zoo.objectives.jacobian import squared_jacobian
from fmae_zoo.objectives.squared_error import squared_error
from fmae_zoo.objectives.stateless import decode_again
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class Regularised(ObjectiveComponent):
    """Squared error, plus half the squared length of the code, plus a penalty on the decoder.

    The penalties replace the noise of a variational autoencoder: they keep codes near the origin
    and the decoder smooth. To generate images, a density is fitted to the codes afterwards.

    `gradient` penalises the squared Frobenius norm of the Jacobian of the decoded image with
    respect to the code. It is estimated by a finite difference along one random direction, with
    the decoder in training mode; its moving statistics do not change. `l2` penalises the squared
    length of the decoder's kernels. A BatchNorm after a kernel cancels its scale, so `gradient`
    suits networks with BatchNorm better.

    Source: Ghosh et al. 2019, From Variational to Deterministic Autoencoders, arXiv 1903.12436.

    Attributes:
        code_weight: Weight of half the squared length of the code.
        decoder: Penalty on the decoder, `gradient` or `l2`.
        decoder_weight: Weight of that penalty.
        step: Step of the finite difference, as root mean square per value of the code.
    """

    term_names: ClassVar[tuple[str, ...]] = ("reconstruction", "code", "decoder")
    loss_label: ClassVar[str] = (
        "squared error, summed over pixels, code length and a smooth decoder"
    )

    type: Literal["regularised"]
    code_weight: float = Field(default=1e-2, ge=0.0, le=1e6)
    decoder: Literal["l2", "gradient"] = "gradient"
    decoder_weight: float = Field(default=1e-2, ge=0.0, le=1e6)
    step: float = Field(default=0.1, ge=1e-4, le=10.0)

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the terms of each image, `(n,)`; the `l2` penalty is a scalar."""
        from keras import ops

        code = draw.code[:, 0]
        return {
            "reconstruction": squared_error(batch["target"], logits[:, 0]),
            "code": 0.5 * ops.sum(ops.square(code), axis=1),
            "decoder": self._penalty(batch, code, model),
        }

    def _penalty(self, batch: Batch, code: Tensor, model: "Autoencoder") -> Tensor:
        from keras import ops

        if self.decoder == "l2":
            kernels = [each for each in model.decoder.trainable_variables if len(each.shape) > 1]
            return sum(ops.sum(ops.square(each)) for each in kernels)
        noise = model.latent.noise(ops.shape(code))
        return squared_jacobian(
            lambda codes: decode_again(model, codes, batch), code, noise, self.step
        )

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return {
            "reconstruction": 1.0,
            "code": self.code_weight,
            "decoder": self.decoder_weight,
        }
