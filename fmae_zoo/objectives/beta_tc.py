"""The KL split into three weighted parts, one of them the total correlation."""

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
    """Negative ELBO with the KL split into three parts, each with its own weight.

    With q(z) the mean of the posteriors of all images, the parts are:

    - mutual information of image and code: `log q(z|x) - log q(z)`;
    - total correlation of the code's values: `log q(z) - sum_j log q(z_j)`;
    - KL of each value to the prior: `sum_j log q(z_j) - log p(z)`.

    At a code they sum to `log q(z|x) - log p(z)`; with all weights 1 the loss is the negative
    ELBO. The KL in closed form is reported as `kl`, with weight 0. `ae.evaluate` computes the
    parts at the posterior means.

    q(z) and q(z_j) are estimated from the batch. `weighted` is the paper's estimate: the mean of
    the batch's posteriors divided by the number of training images. This division shifts each
    log-density by the constant -log(images) and changes no gradient. `stratified` gives the
    image's own posterior its weight in q(z), 1 / images, and shares the rest equally among the
    others in the batch. The density is then unbiased, and in large batches the parts have the
    right size. It is the paper's minibatch stratified sampling (appendix C), averaged over the
    choice of the image with the odd weight.

    Source: Chen et al. 2018, Isolating Sources of Disentanglement in Variational Autoencoders,
    arXiv 1802.04942.

    Attributes:
        alpha: Weight of the mutual information.
        beta: Weight of the total correlation.
        gamma: Weight of the KL of the values.
        sampling: How densities are estimated from a batch: `weighted` or `stratified`.
        images: Number of training images.
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
        # Log-density of code i under the posterior of image j: (n, n, size).
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
        """Return the log-weight of posterior j in the density at code i: `(n, n)`."""
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
    """Return the log-density of each value under a Gaussian, in nats."""
    from keras import ops

    squares = ops.square(code - mean) * ops.exp(-log_variance)
    return -0.5 * (squares + log_variance + math.log(2.0 * math.pi))
