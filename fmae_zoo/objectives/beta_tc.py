"""The KL in three parts, of which the total correlation has a weight of its own."""

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch
from fmae_zoo.objectives.likelihood import LikelihoodObjective
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class BetaTC(LikelihoodObjective):
    """Negative ELBO whose KL is split in three, each part with a weight.

    Where q(z) is the mean of the posteriors of all images:

    - mutual information of image and code: `log q(z|x) - log q(z)`;
    - total correlation of the code's values: `log q(z) - sum_j log q(z_j)`;
    - KL of each value to the prior: `sum_j log q(z_j) - log p(z)`.

    At a code they sum to `log q(z|x) - log p(z)`; with all weights 1 the loss is the negative
    ELBO. The closed KL is reported as `kl`, with weight 0. By `evaluate` the parts are those at
    the means, for there the code is the mean.

    q(z) and q(z_j) are estimated from the other images of the batch. `weighted` is the paper's
    estimate: the mean of the batch's posteriors, divided by the number of images in the data. That
    number moves the parts by constants, log(images) of each density, and no gradient. `stratified`
    gives the image's own posterior the weight 1 / images, which it has in q(z), and shares the
    rest among the others of the batch: the density is then right in the mean, and so is the size
    of the parts, where the batch is large. It is the mean of the paper's minibatch stratified
    sampling (appendix C) over which of the others gets the odd weight.

    Source: Chen et al. 2018, Isolating Sources of Disentanglement in Variational Autoencoders,
    arXiv 1802.04942.

    Attributes:
        alpha: weight of the mutual information.
        beta: weight of the total correlation.
        gamma: weight of the values' KL.
        sampling: how densities are estimated from a batch.
        images: that the model is trained on.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"kl", "log_ratio", "log_variance"})
    of_batches: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = (
        "reconstruction",
        "mutual_information",
        "total_correlation",
        "dimension_kl",
        "kl",
    )
    loss_label: ClassVar[str] = "negative ELBO with a weighted total correlation, nats"

    type: Literal["beta_tc"]
    alpha: float = Field(default=1.0, ge=0.0, le=1e6)
    beta: float = Field(default=6.0, ge=0.0, le=1e6)
    gamma: float = Field(default=1.0, ge=0.0, le=1e6)
    sampling: Literal["weighted", "stratified"] = "weighted"
    images: int = Field(default=50_000, ge=2, le=10**9)

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the five terms of each image, `(n,)`, in nats."""
        from keras import ops

        code = draw.code[:, 0]
        mean, log_variance = draw.extra["mean"], draw.extra["log_variance"]
        of_own = ops.sum(_log_density(code, mean, log_variance), axis=-1)
        # Of code i by the posterior of image j: (n, n, size).
        pairs = _log_density(code[:, None], mean[None], log_variance[None])
        weights = self._log_weights(code)
        of_all = ops.logsumexp(ops.sum(pairs, axis=-1) + weights, axis=1)
        of_values = ops.sum(ops.logsumexp(pairs + weights[..., None], axis=1), axis=-1)
        of_prior = of_own - draw.log_ratio[:, 0]
        return {
            "reconstruction": self.negative_log_likelihood(batch["target"], logits[:, 0]),
            "mutual_information": of_own - of_all,
            "total_correlation": of_all - of_values,
            "dimension_kl": of_values - of_prior,
            "kl": draw.kl,
        }

    def _log_weights(self, code: Tensor) -> Tensor:
        """Return the logarithm of what posterior j counts in the density at code i: `(n, n)`."""
        from keras import ops

        own = ops.eye(ops.shape(code)[0], dtype="float32")
        count = ops.sum(own)
        if self.sampling == "weighted":
            return ops.zeros_like(own) - ops.log(count) - math.log(self.images)
        of_others = (1.0 - 1.0 / self.images) / ops.maximum(count - 1.0, 1.0)
        return ops.log(own / self.images + (1.0 - own) * of_others)

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return dict(zip(self.term_names, (1.0, self.alpha, self.beta, self.gamma, 0.0)))


def _log_density(code: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the log-density of each value by a Gaussian, in nats."""
    from keras import ops

    squares = ops.square(code - mean) * ops.exp(-log_variance)
    return -0.5 * (squares + log_variance + math.log(2.0 * math.pi))
