"""Squared error, plus the maximum mean discrepancy between codes and draws of the prior."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch, ObjectiveComponent
from fmae_zoo.objectives.squared_error import squared_error
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Scales of the kernels, in units of the mean squared distance of two standard normal draws."""

Kernel = Literal["imq", "rbf"]


class MMD(ObjectiveComponent):
    """Squared error, plus the squared maximum mean discrepancy (MMD) of codes and prior.

    The MMD compares the codes of a batch with as many draws of the prior. With a deterministic
    latent this is the WAE-MMD; with a Gaussian latent and a KL term, the InfoVAE. Up to a constant
    the squared error is `2 sigma^2` times a Gaussian negative log-likelihood, so multiply InfoVAE's
    weights, `1 - alpha` of the KL and `alpha + lambda - 1` of the MMD, by `2 sigma^2` too.

    Source: Tolstikhin et al. 2017, Wasserstein Auto-Encoders, arXiv 1711.01558, with the kernels
    of its code; Zhao et al. 2017, InfoVAE, arXiv 1706.02262.

    Attributes:
        mmd_weight: Weight of the squared MMD; the squared error, summed over pixels, has weight 1.
        kl_weight: Weight of the KL to the prior, in nats; that KL is 0 for a deterministic latent.
        kernel: Kernel, summed over seven scales of `C`: `imq`, the inverse multiquadratic
            `C / (C + |x - y|^2)`, or `rbf`, `exp(-|x - y|^2 / C)`.
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

    It is the mean kernel within the first sample, plus that within the second, minus twice the
    mean kernel between them; no code is paired with itself (Gretton et al. 2012, A Kernel
    Two-Sample Test, lemma 6). For equal distributions its mean is zero, so it can be negative. For
    n = 1 there are no pairs within a sample, and it is `-2 k(x, y)`.
    """
    from keras import ops

    count = ops.shape(codes)[0]
    apart = 1.0 - ops.eye(count, dtype="float32")
    pairs = ops.maximum(ops.sum(apart), 1.0)
    within = _kernel(codes, codes, kernel) + _kernel(others, others, kernel)
    between = _kernel(codes, others, kernel)
    return ops.sum(within * apart) / pairs - 2.0 * ops.mean(between)


def _kernel(one: Tensor, other: Tensor, kernel: Kernel) -> Tensor:
    """Return the kernel between each of n codes and each of m codes, `(n, m)`."""
    from keras import ops

    squares = ops.sum(ops.square(one), axis=1)[:, None] + ops.sum(ops.square(other), axis=1)
    distances = ops.maximum(squares - 2.0 * ops.matmul(one, ops.transpose(other)), 0.0)
    widths = [2.0 * one.shape[1] * scale for scale in SCALES]
    if kernel == "rbf":
        return sum(ops.exp(-distances / width) for width in widths)
    return sum(width / (width + distances) for width in widths)
