"""The ELBO, plus a critic that distinguishes codes from codes with independent values."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.component import Width
from fmae_zoo.objectives.base import Batch
from fmae_zoo.objectives.critic import dense_critic
from fmae_zoo.objectives.likelihood import LikelihoodObjective
from fmae_zoo.objectives.stateless import call_fixed
from fmae_zoo.types import Model, Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.spec import ModelSpec


class Factor(LikelihoodObjective):
    """Negative ELBO, plus the total correlation of the codes as estimated by a critic.

    The critic distinguishes the codes of a batch from the same codes with each value permuted
    among the images, which makes the values independent. Its logit then estimates
    `log q(z) - sum_j log q(z_j)`, whose mean is the total correlation. The critic learns in the
    same step: the `critic` term changes only the critic, `total_correlation` only the encoder.
    `accuracy`, with weight 0, is the share of codes that the critic classifies correctly; 0.5 is
    chance. In `ae.evaluate` it refers to posterior means, but the critic is trained on draws.

    Kim and Mnih permute the codes of a second batch; here the same batch serves for both.

    Source: Kim and Mnih 2018, Disentangling by Factorising, arXiv 1802.05983.

    Attributes:
        gamma: Weight of the total correlation.
        units: Widths of the critic's hidden layers; the paper has six of 1000.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"kl", "log_variance"})
    of_batches: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = (
        "reconstruction",
        "kl",
        "total_correlation",
        "critic",
        "accuracy",
    )
    loss_label: ClassVar[str] = "negative ELBO and total correlation, nats, and a critic"

    type: Literal["factor"]
    gamma: float = Field(default=10.0, ge=0.0, le=1e6)
    units: tuple[Width, ...] = Field(default=(256, 256, 256), min_length=1, max_length=16)

    def module(self, spec: "ModelSpec", seeds: "Seeds") -> Model:
        """Return the critic, from codes `(n, size)` to logits `(n, 1)`, low for permuted codes."""
        return dense_critic(spec.latent.size, self.units, seeds, activation="leaky_relu")

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the five terms of each image, `(n,)`; all but `accuracy` are in nats.

        `critic` is the cross-entropy of the critic; log 2 is chance.
        """
        from keras import ops

        code = draw.code[:, 0]
        constant = ops.stop_gradient(code)
        of_codes = model.critic(constant)[:, 0]
        of_permuted = model.critic(permuted(constant, model.latent.noise(ops.shape(code))))[:, 0]
        told = ops.cast(of_codes > 0, "float32") + ops.cast(of_permuted < 0, "float32")
        return {
            "reconstruction": self.negative_log_likelihood(batch["target"], logits[:, 0]),
            "kl": draw.kl,
            "total_correlation": call_fixed(model.critic, code)[:, 0],
            "critic": 0.5 * (ops.softplus(-of_codes) + ops.softplus(of_permuted)),
            "accuracy": 0.5 * told,
        }

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return dict(zip(self.term_names, (1.0, 1.0, self.gamma, 1.0, 0.0)))


def permuted(code: Tensor, noise: Tensor) -> Tensor:
    """Return codes `(n, size)`, each column permuted by the sort order of its noise column."""
    from keras import ops

    return ops.take_along_axis(code, ops.argsort(noise, axis=0), axis=0)
