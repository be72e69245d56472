"""The importance-weighted bound of several codes an image."""

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch
from fmae_zoo.objectives.likelihood import LikelihoodObjective

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class IWAE(LikelihoodObjective):
    """Negative importance-weighted bound: `-log mean_k p(x|z_k) p(z_k) / q(z_k|x)`.

    The more codes, the closer it is to the likelihood; one code gives the ELBO, with the KL as it
    is at the code. Reconstruction and KL are means over the codes, for reading, of weight 0.

    Source: Burda et al. 2015, Importance Weighted Autoencoders, arXiv 1509.00519.

    Attributes:
        samples: codes of each image, also in validation.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"kl", "log_ratio"})
    term_names: ClassVar[tuple[str, ...]] = ("bound", "reconstruction", "kl")
    loss_label: ClassVar[str] = "negative importance-weighted bound, nats"

    type: Literal["iwae"]
    samples: int = Field(default=5, ge=1, le=5000)

    @property
    def codes(self) -> int:
        """Number of codes that are drawn of each image."""
        return self.samples

    def terms(
        self, batch: Batch, draw: "Draw", logits: Any, model: "Autoencoder"
    ) -> dict[str, Any]:
        """Return the bound, the mean reconstruction and the KL of each image, in nats."""
        from keras import ops

        count = logits.shape[1]
        target = batch["target"]
        nats = [self.negative_log_likelihood(target, logits[:, k]) for k in range(count)]
        reconstruction = ops.stack(nats, axis=1)
        bound = ops.logsumexp(-reconstruction - draw.log_ratio, axis=1) - math.log(count)
        return {"bound": -bound, "reconstruction": ops.mean(reconstruction, axis=1), "kl": draw.kl}

    def weights(self, step: Any = None) -> dict[str, Any]:
        """Return the weight of each term: the bound alone is trained."""
        return {"bound": 1.0, "reconstruction": 0.0, "kl": 0.0}
