"""Squared error, and a penalty on codes that are not sparse."""

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
"""Added to the variance of a value, which may be 0."""


class Sparse(ObjectiveComponent):
    """Squared error, plus a penalty that keeps most values of a code near nothing.

    `l1` is the sum of the absolute values of an image's code, each in units of its standard
    deviation in the batch: a code is not less for being smaller as a whole, which a decoder of
    larger weights makes up for. Olshausen and Field hold each value's variance at a level for this.

    `kl` takes the sigmoid of each value for its activity, and is the sum over values of
    `rho log(rho / r) + (1 - rho) log((1 - rho) / (1 - r))`, with r the mean activity of the value
    in the batch and rho the target. The decoder reads the code as it is, before the sigmoid.

    `activity` is for reading, of weight 0: for `l1` the mean over values of what it sums, which
    is 0.8 of normal numbers around 0, and about the square root of the share of values that are not
    0 where these are few and of one size; for `kl` the mean of the sigmoid.

    Source: Olshausen and Field 1996, "Emergence of simple-cell receptive field properties by
    learning a sparse code for natural images", for `l1`; Ng 2011, "Sparse autoencoder", CS294A
    lecture notes, for `kl`.

    Attributes:
        penalty: `l1` or `kl`.
        sparsity_weight: of the penalty, beside the squared error summed over pixels.
        target_activity: of each value, for `kl`.
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

        It is of each image for `l1`, and of the batch, in nats, for `kl`.
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
        # The logarithms of means of sigmoids, finite however far the codes are from 0.
        log_count = ops.log(ops.cast(ops.shape(code)[0], "float32"))
        log_on = ops.logsumexp(-ops.softplus(-code), axis=0) - log_count
        log_off = ops.logsumexp(-ops.softplus(code), axis=0) - log_count
        on = rho * (math.log(rho) - log_on)
        off = (1.0 - rho) * (math.log(1.0 - rho) - log_off)
        return ops.sum(on + off)

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return {"reconstruction": 1.0, "sparsity": self.sparsity_weight, "activity": 0.0}
