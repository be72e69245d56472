"""How likely an image is given a reconstruction, for the objectives that need it."""

import math
from typing import Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import ObjectiveComponent, flat


class LikelihoodObjective(ObjectiveComponent):
    """Base of the objectives that bound the likelihood of images.

    Attributes:
        likelihood: `bernoulli` (cross-entropy of each pixel) or `gaussian` (density of a
            Gaussian of standard deviation `sigma` around the reconstruction).
        sigma: standard deviation of the Gaussian likelihood, in units of pixel intensity.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"kl"})
    figures: ClassVar[frozenset[str]] = frozenset({"elbo"})

    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    sigma: float = Field(default=0.1, ge=1e-3, le=1e3)

    def negative_log_likelihood(self, images: Any, logits: Any) -> Any:
        """Return `-log p(x|z)` in nats for each image: `(n,)`."""
        from keras import ops

        images, logits = flat(images, logits)
        if self.likelihood == "bernoulli":
            nats = ops.softplus(logits) - images * logits
        else:
            error = ops.square(ops.sigmoid(logits) - images)
            nats = error / (2.0 * self.sigma**2)
        constant = 0.0
        if self.likelihood == "gaussian":
            constant = 0.5 * logits.shape[1] * math.log(2.0 * math.pi * self.sigma**2)
        return ops.sum(nats, axis=-1) + constant
