"""The evidence lower bound as a loss."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch
from fmae_zoo.objectives.likelihood import LikelihoodObjective

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class ELBO(LikelihoodObjective):
    """Negative ELBO: expected negative log-likelihood plus the KL to the prior.

    Source: Kingma and Welling 2013, arXiv 1312.6114; the KL warm-up is Sonderby et al.
    2016, arXiv 1602.02282; a fixed Gaussian likelihood is discussed in Rybkin et al.
    2021, arXiv 2006.13202.

    Attributes:
        beta: weight of the KL term; 1 is the ELBO.
        kl_warmup_steps: training steps over which the weight of the KL rises linearly from zero.
    """

    term_names: ClassVar[tuple[str, ...]] = ("reconstruction", "kl")
    loss_label: ClassVar[str] = "negative ELBO, nats"

    type: Literal["elbo"]
    beta: float = Field(default=1.0, gt=0.0, le=1e6)
    kl_warmup_steps: int = Field(default=0, ge=0, le=10**9)

    def terms(
        self, batch: Batch, draw: "Draw", logits: Any, model: "Autoencoder"
    ) -> dict[str, Any]:
        """Return the reconstruction and the KL of each image, `(n,)`, in nats."""
        return {
            "reconstruction": self.negative_log_likelihood(batch["target"], logits[:, 0]),
            "kl": draw.kl,
        }

    def weights(self, step: Any = None) -> dict[str, Any]:
        """Return the weight of each term after `step` (a float tensor) training steps.

        Without a step, as in validation, those of the objective itself: no warm-up.
        """
        from keras import ops

        if step is None or not self.kl_warmup_steps:
            return {"reconstruction": 1.0, "kl": self.beta}
        ramp = ops.minimum(step / self.kl_warmup_steps, 1.0)
        return {"reconstruction": 1.0, "kl": self.beta * ramp}
