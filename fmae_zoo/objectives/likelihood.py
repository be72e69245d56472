"""The likelihood of an image given its reconstruction, for the objectives that need it."""

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import ObjectiveComponent, flat
from fmae_zoo.types import Tensor

LEAST_SIGMA = 1e-3
"""Smallest sigma, in units of pixel intensity. Smaller errors are mostly rounding."""


class LikelihoodObjective(ObjectiveComponent):
    """Base of the objectives that bound the likelihood of images.

    Attributes:
        likelihood: Likelihood of an image: `bernoulli` (cross-entropy of each pixel) or `gaussian`
            (density of a Gaussian with standard deviation `sigma` around the reconstruction).
        sigma: Standard deviation of the Gaussian likelihood, in units of pixel intensity.
            `optimal` is the value that maximises the likelihood of the batch: the root of its mean
            squared error, over all codes if an image has several (Rybkin et al. 2021, Simple and
            Effective VAE Training with Calibrated Decoders, arXiv 2006.13202). Gradients treat it
            as a constant.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"kl"})
    figures: ClassVar[frozenset[str]] = frozenset({"elbo"})

    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    sigma: Annotated[float, Field(ge=LEAST_SIGMA, le=1e3)] | Literal["optimal"] = 0.1

    @property
    def of_batches(self) -> bool:  # type: ignore[override]  # by its fields
        """Whether a term is a statistic of a batch; an optimal sigma is one."""
        return self.likelihood == "gaussian" and self.sigma == "optimal"

    def negative_log_likelihood(self, images: Tensor, logits: Tensor) -> Tensor:
        """Return `-log p(x|z)` in nats for each image: `(n,)`."""
        from keras import ops

        images, logits = flat(images, logits)
        if self.likelihood == "bernoulli":
            return ops.sum(ops.softplus(logits) - images * logits, axis=-1)
        error = ops.sum(ops.square(ops.sigmoid(logits) - images), axis=-1)
        pixels = logits.shape[1]
        if self.sigma == "optimal":
            mean = ops.stop_gradient(ops.mean(error)) / pixels
            variance = ops.maximum(mean, LEAST_SIGMA**2)
        else:
            variance = self.sigma**2
        return 0.5 * (error / variance + pixels * ops.log(2.0 * math.pi * variance))
