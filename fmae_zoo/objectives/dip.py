"""The ELBO, plus a penalty that draws the covariance of the codes to the identity."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch
from fmae_zoo.objectives.likelihood import LikelihoodObjective
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class DIP(LikelihoodObjective):
    """Negative ELBO, plus the squared distance of the codes' covariance from the identity.

    In variant `i` the covariance is that of the posterior means. In variant `ii` it is that of the
    codes: the covariance of the means plus the mean of the posterior covariances. It is computed
    over the batch. `off_diagonal` is the sum of the squared covariances, `diagonal` the sum of
    the squared differences of the variances from 1.

    Posterior variances can be up to e^10 at the start of training, and variant `ii` squares them:
    use it with a recipe that has a `clip_norm`.

    Source: Kumar et al. 2018, Variational Inference of Disentangled Latent Concepts from
    Unlabeled Observations, arXiv 1711.00848.

    Attributes:
        variant: Which covariance is used, `i` or `ii`.
        lambda_od: Weight of the off-diagonal part.
        lambda_d: Weight of the diagonal part. The paper uses 10 times `lambda_od` for variant
            `i`, and the same value as `lambda_od` for `ii`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"kl", "log_variance"})
    of_batches: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("reconstruction", "kl", "off_diagonal", "diagonal")
    loss_label: ClassVar[str] = "negative ELBO, nats, and covariance of the codes"

    type: Literal["dip"]
    variant: Literal["i", "ii"] = "i"
    lambda_od: float = Field(default=10.0, ge=0.0, le=1e6)
    lambda_d: float = Field(default=100.0, ge=0.0, le=1e6)

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return reconstruction and KL of each image, `(n,)`, in nats, and two scalar penalties."""
        from keras import ops

        mean = draw.extra["mean"]
        centred = mean - ops.mean(mean, axis=0)
        count = ops.cast(ops.shape(mean)[0], "float32")
        covariance = ops.matmul(ops.transpose(centred), centred) / count
        identity = ops.eye(mean.shape[-1], dtype="float32")
        if self.variant == "ii":
            covariance += identity * ops.mean(ops.exp(draw.extra["log_variance"]), axis=0)
        distance = ops.square(covariance - identity)
        return {
            "reconstruction": self.negative_log_likelihood(batch["target"], logits[:, 0]),
            "kl": draw.kl,
            "off_diagonal": ops.sum((1.0 - identity) * distance),
            "diagonal": ops.sum(identity * distance),
        }

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return dict(zip(self.term_names, (1.0, 1.0, self.lambda_od, self.lambda_d)))
