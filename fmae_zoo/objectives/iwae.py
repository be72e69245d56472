"""The importance-weighted bound with several codes per image."""

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch
from fmae_zoo.objectives.likelihood import LikelihoodObjective
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class IWAE(LikelihoodObjective):
    """Negative importance-weighted bound: `-log mean_k w_k`, `w = p(x|z) p(z) / q(z|x)`.

    With more codes the bound is closer to the likelihood. One code gives the ELBO, with the KL
    estimated at that code. The mean reconstruction and the KL are reported with weight 0. If
    `codes` is 1, `ae.evaluate` uses the posterior mean as the code, and the result is not a bound.

    A tighter bound makes the encoder's gradient noisier. Two variants balance the two: with
    several groups of codes the bound is the mean of the groups' bounds (MIWAE); with a share of
    the ELBO it is `share * mean_k log w_k + (1 - share) * log mean_k w_k` (CIWAE).

    Source: Burda et al. 2015, Importance Weighted Autoencoders, arXiv 1509.00519; Rainforth et al.
    2018, Tighter Variational Bounds are Not Necessarily Better, arXiv 1802.04537, for the variants.

    Attributes:
        samples: Number of codes in a group, also in validation.
        groups: Number of groups of codes per image.
        elbo_share: Share of the ELBO in the bound, in [0, 1].
    """

    needs: ClassVar[frozenset[str]] = frozenset({"kl", "log_ratio"})
    term_names: ClassVar[tuple[str, ...]] = ("bound", "reconstruction", "kl")
    loss_label: ClassVar[str] = "negative importance-weighted bound, nats"

    type: Literal["iwae"]
    samples: int = Field(default=5, ge=1, le=5000)
    groups: int = Field(default=1, ge=1, le=5000)
    elbo_share: float = Field(default=0.0, ge=0.0, le=1.0)

    @property
    def codes(self) -> int:
        """Number of codes drawn per image."""
        return self.samples * self.groups

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the negative bound, mean reconstruction and KL of each image, `(n,)`, in nats.

        If the number of codes is not `codes`, they form one group.
        """
        from keras import ops

        # All codes in one call, so that an optimal sigma is the same for all of them.
        count = logits.shape[1]
        groups = self.groups if count == self.codes else 1
        target = ops.repeat(batch["target"], count, axis=0)
        nats = self.negative_log_likelihood(target, ops.reshape(logits, (-1, *logits.shape[2:])))
        reconstruction = ops.reshape(nats, (-1, count))
        log_weights = -reconstruction - draw.log_ratio
        of_groups = ops.reshape(log_weights, (-1, groups, count // groups))
        bounds = ops.logsumexp(of_groups, axis=2) - math.log(count // groups)
        elbo = ops.mean(log_weights, axis=1)
        bound = self.elbo_share * elbo + (1.0 - self.elbo_share) * ops.mean(bounds, axis=1)
        return {"bound": -bound, "reconstruction": ops.mean(reconstruction, axis=1), "kl": draw.kl}

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term; only the bound is trained."""
        return {"bound": 1.0, "reconstruction": 0.0, "kl": 0.0}
