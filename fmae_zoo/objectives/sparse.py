"""Squared error, plus a penalty on codes that are not sparse."""

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.objectives.base import Batch, ObjectiveComponent
from fmae_zoo.objectives.squared_error import squared_error
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw

TINY = 1e-4
"""Number added to the variance of a value, which may be 0."""


class Sparse(ObjectiveComponent):
    """Squared error, plus a penalty that keeps most values of a code near zero.

    `l1` is the sum of the absolute values of a code, each divided by its standard deviation in the
    batch. Without the division a smaller scale of the code, with larger weights in the decoder,
    would lower the penalty; Olshausen and Field fix the variance of each value for this reason.

    `kl` takes the sigmoid of each value as its activity. It is the sum over values of
    `rho log(rho / r) + (1 - rho) log((1 - rho) / (1 - r))`, with r the mean activity of the value
    in the batch and rho the target. The decoder reads the code before the sigmoid.

    `activity` is reported with weight 0. For `l1` it is the mean over the values of a code of what
    the penalty sums: 0.8 for normal values with mean 0, and about the square root of the share of
    nonzero values if these are few and of equal size. For `kl` it is the mean sigmoid.

    Source: Olshausen and Field 1996, "Emergence of simple-cell receptive field properties by
    learning a sparse code for natural images", for `l1`; Ng 2011, "Sparse autoencoder", CS294A
    lecture notes, for `kl`.

    Attributes:
        penalty: Penalty on the code, `l1` or `kl`.
        sparsity_weight: Weight of the penalty; the squared error, summed over pixels, has weight 1.
        target_activity: Target of the mean activity of each value, for `kl`.
    """

    of_batches: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("reconstruction", "sparsity", "activity")
    loss_label: ClassVar[str] = "squared error, summed over pixels, and sparsity of the code"

    type: Literal["sparse"]
    penalty: Literal["l1", "kl"] = "l1"
    sparsity_weight: float = Field(default=0.1, gt=0.0, le=1e6)
    target_activity: float = Field(default=0.05, gt=0.0, lt=1.0)

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return reconstruction and activity of each image, `(n,)`, and the sparsity.

        The sparsity is `(n,)` for `l1`, and a scalar in nats for `kl`.
        """
        from keras import ops

        code = draw.code[:, 0]
        if self.penalty == "l1":
            spread = ops.sqrt(ops.var(code, axis=0) + TINY)
            sizes = ops.absolute(code) / spread
            sparsity, activity = ops.sum(sizes, axis=-1), ops.mean(sizes, axis=-1)
        else:
            sparsity, activity = self._divergence(code), ops.mean(ops.sigmoid(code), axis=-1)
        return {
            "reconstruction": squared_error(batch["target"], logits[:, 0]),
            "sparsity": sparsity,
            "activity": activity,
        }

    def _divergence(self, code: Tensor) -> Tensor:
        from keras import ops

        rho = self.target_activity
        # Log-means of sigmoids, in a form that is finite for codes of any size.
        log_count = ops.log(ops.cast(ops.shape(code)[0], "float32"))
        log_on = ops.logsumexp(-ops.softplus(-code), axis=0) - log_count
        log_off = ops.logsumexp(-ops.softplus(code), axis=0) - log_count
        on = rho * (math.log(rho) - log_on)
        off = (1.0 - rho) * (math.log(1.0 - rho) - log_off)
        return ops.sum(on + off)

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return {"reconstruction": 1.0, "sparsity": self.sparsity_weight, "activity": 0.0}
