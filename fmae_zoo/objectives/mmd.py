"""Squared error, and the maximum mean discrepancy between codes and draws of the prior."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch, ObjectiveComponent
from fmae_zoo.objectives.squared_error import squared_error
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Of the kernels that are summed, in units of the squared distance of two standard normal draws."""

Kernel = Literal["imq", "rbf"]


class MMD(ObjectiveComponent):
    """Squared error, plus the squared maximum mean discrepancy (MMD) of codes and prior.

    The MMD is of the codes of a batch and as many draws of the prior. With a deterministic latent
    it is the WAE-MMD; with a Gaussian one, and a KL beside it, the InfoVAE. The squared error is
    the negative log-likelihood of a Gaussian times `2 sigma^2`: InfoVAE's weights `1 - alpha` of
    the KL and `alpha + lambda - 1` of the MMD are to be multiplied by it too.

    Source: Tolstikhin et al. 2017, Wasserstein Auto-Encoders, arXiv 1711.01558, with the kernels
    of its code; Zhao et al. 2017, InfoVAE, arXiv 1706.02262.

    Attributes:
        mmd_weight: of the squared MMD, beside the squared error summed over pixels.
        kl_weight: of the KL to the prior, in nats; it is 0 where the latent is deterministic.
        kernel: `imq`, the inverse multiquadratic `C / (C + |x - y|^2)`, or `rbf`,
            `exp(-|x - y|^2 / C)`; summed over the seven scales of `C`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"prior"})
    of_batches: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("reconstruction", "mmd", "kl")
    loss_label: ClassVar[str] = "squared error, summed over pixels, and MMD to the prior"

    type: Literal["mmd"]
    mmd_weight: float = Field(default=100.0, gt=0.0, le=1e6)
    kl_weight: float = Field(default=0.0, ge=0.0, le=1e6)
    kernel: Kernel = "imq"

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return reconstruction and KL of each image, `(n,)`, and the MMD of the batch."""
        from keras import ops

        code = draw.code[:, 0]
        noise = model.latent.noise((ops.shape(code)[0], model.spec.latent.noise_size))
        return {
            "reconstruction": squared_error(batch["target"], logits[:, 0]),
            "mmd": squared_mmd(code, model.latent.prior(noise), self.kernel),
            "kl": draw.kl,
        }

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return {"reconstruction": 1.0, "mmd": self.mmd_weight, "kl": self.kl_weight}


def squared_mmd(codes: Tensor, others: Tensor, kernel: Kernel = "imq") -> Tensor:
    """Return the unbiased estimate of the squared MMD of two samples `(n, size)`, a scalar.

    The mean kernel of two codes, plus that of two others, less twice that of one of each; no code
    is paired with itself (Gretton et al. 2012, A Kernel Two-Sample Test, lemma 6). For equal
    distributions it is zero in the mean, and so sometimes below. Of a sample of one there are no
    pairs, and it is `-2 k(x, y)`.
    """
    from keras import ops

    count = ops.shape(codes)[0]
    apart = 1.0 - ops.eye(count, dtype="float32")
    pairs = ops.maximum(ops.sum(apart), 1.0)
    within = _kernel(codes, codes, kernel) + _kernel(others, others, kernel)
    between = _kernel(codes, others, kernel)
    return ops.sum(within * apart) / pairs - 2.0 * ops.mean(between)


def _kernel(one: Tensor, other: Tensor, kernel: Kernel) -> Tensor:
    """Return the kernel of each of n codes and each of m, `(n, m)`."""
    from keras import ops

    squares = ops.sum(ops.square(one), axis=1)[:, None] + ops.sum(ops.square(other), axis=1)
    distances = ops.maximum(squares - 2.0 * ops.matmul(one, ops.transpose(other)), 0.0)
    widths = [2.0 * one.shape[1] * scale for scale in SCALES]
    if kernel == "rbf":
        return sum(ops.exp(-distances / width) for width in widths)
    return sum(width / (width + distances) for width in widths)
