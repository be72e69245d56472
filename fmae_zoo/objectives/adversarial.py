"""Squared error plus a critic that distinguishes codes from draws of the prior."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.component import Width
from fmae_zoo.objectives.base import Batch, ObjectiveComponent
from fmae_zoo.objectives.critic import dense_critic
from fmae_zoo.objectives.squared_error import squared_error
from fmae_zoo.objectives.stateless import call_fixed
from fmae_zoo.types import Model, Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.spec import ModelSpec


class Adversarial(ObjectiveComponent):
    """Squared error, plus the loss of an encoder whose codes should look like draws of the prior.

    A critic learns in the same step to distinguish codes from draws of the prior. The `critic`
    term changes only the critic's weights, the `adversary` term only the encoder's.

    Source: Makhzani et al. 2015, Adversarial Autoencoders, arXiv 1511.05644; the encoder's loss
    is the non-saturating one of Goodfellow et al. 2014, arXiv 1406.2661.

    Attributes:
        adversary_weight: Weight of the encoder's cross-entropy in nats; the squared error, summed
            over pixels, has weight 1.
        units: Widths of the critic's hidden layers.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"prior"})
    term_names: ClassVar[tuple[str, ...]] = ("reconstruction", "adversary", "critic")
    loss_label: ClassVar[str] = "squared error, summed over pixels, and a critic"

    type: Literal["adversarial"]
    adversary_weight: float = Field(default=1.0, gt=0.0, le=1e6)
    units: tuple[Width, ...] = Field(default=(128, 128), min_length=1, max_length=16)

    def module(self, spec: "ModelSpec", seeds: "Seeds") -> Model:
        """Return the critic, from codes `(n, size)` to logits `(n, 1)`, high for prior draws."""
        return dense_critic(spec.latent.size, self.units, seeds)

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the three terms of each image, `(n,)`; the last two are in nats."""
        from keras import ops

        critic, code = model.critic, draw.code[:, 0]
        noise = model.latent.noise((ops.shape(code)[0], model.spec.latent.noise_size))
        of_prior = critic(model.latent.prior(noise))
        of_codes = critic(ops.stop_gradient(code))
        taken_for_prior = call_fixed(critic, code)
        return {
            "reconstruction": squared_error(batch["target"], logits[:, 0]),
            "adversary": ops.softplus(-taken_for_prior[:, 0]),
            "critic": ops.softplus(-of_prior[:, 0]) + ops.softplus(of_codes[:, 0]),
        }

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return {"reconstruction": 1.0, "adversary": self.adversary_weight, "critic": 1.0}
