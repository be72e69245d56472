"""The evidence lower bound of a Gaussian posterior, as a loss."""

import math
from typing import Any, Literal

from pydantic import Field

from fmae_zoo.component import IMAGE_SIZE
from fmae_zoo.objectives.base import ObjectiveComponent, flat


class ELBO(ObjectiveComponent):
    """Negative ELBO: expected negative log-likelihood plus the KL to a standard normal.

    Source: Kingma and Welling 2013, arXiv 1312.6114; the KL warm-up is Sonderby et al.
    2016, arXiv 1602.02282; a fixed Gaussian likelihood is discussed in Rybkin et al.
    2021, arXiv 2006.13202.

    Attributes:
        likelihood: `bernoulli` (cross-entropy of each pixel) or `gaussian` (density of a
            Gaussian of standard deviation `sigma` around the reconstruction).
        sigma: standard deviation of the Gaussian likelihood, in units of pixel intensity.
        beta: weight of the KL term; 1 is the ELBO.
        kl_warmup_steps: training steps over which the weight of the KL rises linearly from zero.
    """

    type: Literal["elbo"]
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    sigma: float = Field(default=0.1, ge=1e-3, le=1e3)
    beta: float = Field(default=1.0, gt=0.0, le=1e6)
    kl_warmup_steps: int = Field(default=0, ge=0, le=10**9)

    @property
    def needs_posterior(self) -> bool:
        """Whether the latent must give a log-variance."""
        return True

    @property
    def loss_label(self) -> str:
        """What the loss is, and its unit."""
        return "negative ELBO, nats"

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms, in the order they are reported."""
        return ("reconstruction", "kl")

    def terms(self, images: Any, outputs: dict[str, Any]) -> dict[str, Any]:
        """Return each term of each image, `(n,)`, for images `(n, 28, 28, 1)` and the outputs.

        Raises:
            KeyError: the latent has no log-variance, so there is no posterior.
        """
        from keras import ops

        mean, log_variance = outputs["mean"], outputs["log_variance"]
        kl = 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance, axis=-1)
        return {
            "reconstruction": self.negative_log_likelihood(images, outputs["logits"]),
            "kl": kl,
        }

    def negative_log_likelihood(self, images: Any, logits: Any) -> Any:
        """Return `-log p(x|z)` in nats for each image: `(n,)`."""
        from keras import ops

        images, logits = flat(images), flat(logits)
        if self.likelihood == "bernoulli":
            nats = ops.softplus(logits) - images * logits
        else:
            error = ops.square(ops.sigmoid(logits) - images)
            nats = error / (2.0 * self.sigma**2)
        constant = 0.0
        if self.likelihood == "gaussian":
            constant = 0.5 * IMAGE_SIZE * math.log(2.0 * math.pi * self.sigma**2)
        return ops.sum(nats, axis=-1) + constant

    def weights(self, step: Any = None) -> dict[str, Any]:
        """Return the weight of each term after `step` (a float tensor) training steps.

        Without a step, as in validation, those of the objective itself: no warm-up.
        """
        from keras import ops

        if step is None or not self.kl_warmup_steps:
            return {"reconstruction": 1.0, "kl": self.beta}
        ramp = ops.minimum(step / self.kl_warmup_steps, 1.0)
        return {"reconstruction": 1.0, "kl": self.beta * ramp}
