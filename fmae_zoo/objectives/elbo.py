"""The evidence lower bound as a loss."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch
from fmae_zoo.objectives.likelihood import LikelihoodObjective
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class ELBO(LikelihoodObjective):
    """Negative ELBO: expected negative log-likelihood plus the KL to the prior.

    With a capacity C the KL term is `beta * |KL - C|`. Its KL is the mean over the batch, as
    Burgess et al. take the expectation over the data, so single images may have more or less. The
    term is then called `capacity_gap`, and `kl` is reported as well, with weight 0.

    Source: Kingma and Welling 2013, arXiv 1312.6114; Sonderby et al. 2016, arXiv 1602.02282, for
    the KL warm-up; Rybkin et al. 2021, arXiv 2006.13202, for a fixed Gaussian likelihood; Higgins
    et al. 2017, "beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
    Framework", ICLR, for a beta other than 1; Burgess et al. 2018, "Understanding disentangling in
    beta-VAE", arXiv 1804.03599, for the capacity.

    Attributes:
        beta: Weight of the KL term; 1 gives the ELBO.
        kl_warmup_steps: Training steps over which the weight of the KL rises linearly from zero.
        capacity: Target of the mean KL in nats; 0 minimises the KL.
        capacity_steps: Training steps over which the capacity rises linearly from zero.
            Validation uses the full capacity.
    """

    loss_label: ClassVar[str] = "negative ELBO, nats"

    type: Literal["elbo"]
    beta: float = Field(default=1.0, gt=0.0, le=1e6)
    kl_warmup_steps: int = Field(default=0, ge=0, le=10**9)
    capacity: float = Field(default=0.0, ge=0.0, le=1e6)
    capacity_steps: int = Field(default=0, ge=0, le=10**9)

    @property
    def term_names(self) -> tuple[str, ...]:  # type: ignore[override]  # by its fields
        """Names of the terms, in the order in which they are reported."""
        names = ("reconstruction", "kl")
        return (*names, "capacity_gap") if self.capacity else names

    @property
    def of_batches(self) -> bool:  # type: ignore[override]  # by its fields
        """Whether a term is a statistic of a batch; `capacity_gap` is one."""
        return self.capacity > 0 or super().of_batches

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the reconstruction and the KL of each image, `(n,)`, in nats.

        With a capacity, also return the scalar `capacity_gap`, the distance of the mean KL from it.
        """
        from keras import ops

        terms = {
            "reconstruction": self.negative_log_likelihood(batch["target"], logits[:, 0]),
            "kl": draw.kl,
        }
        if self.capacity:
            capacity = self.capacity_after(batch.get("step"))
            terms["capacity_gap"] = ops.abs(ops.mean(draw.kl) - capacity)
        return terms

    def capacity_after(self, step: Tensor = None) -> Tensor:
        """Return the capacity in nats after `step` (a float tensor) training steps."""
        return self.capacity * _risen(step, self.capacity_steps)

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term after `step` (a float tensor) training steps.

        Without a step, as in validation, return the weights without warm-up.
        """
        weight = self.beta * _risen(step, self.kl_warmup_steps)
        if self.capacity:
            return {"reconstruction": 1.0, "kl": 0.0, "capacity_gap": weight}
        return {"reconstruction": 1.0, "kl": weight}


def _risen(step: Tensor, steps: int) -> Tensor:
    """Return the progress of a linear rise over `steps` steps, in [0, 1]; 1 without a step."""
    from keras import ops

    return 1.0 if step is None or not steps else ops.minimum(step / steps, 1.0)
