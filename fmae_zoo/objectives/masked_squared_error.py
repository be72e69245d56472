"""Squared error of the hidden pixels of masked images."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from fmae_zoo.objectives.base import Batch, ObjectiveComponent
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class MaskedSquaredError(ObjectiveComponent):
    """Mean squared error of the hidden pixels, times the number of pixels of an image.

    It is therefore comparable with the squared error of a whole image. It is 0 if no pixel is
    hidden.

    Source: He et al. 2021, "Masked Autoencoders Are Scalable Vision Learners", arXiv 2111.06377.
    """

    reads_mask: ClassVar[bool] = True
    loss_label: ClassVar[str] = "squared error of hidden pixels, for a whole image"

    type: Literal["masked_squared_error"]

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the reconstruction term of each image, `(n,)`."""
        from keras import ops

        hidden = ops.cast(batch["mask"], "float32")
        error = ops.square(ops.sigmoid(logits[:, 0]) - batch["target"])
        of_hidden = ops.sum(ops.sum(error, axis=-1) * hidden, axis=(1, 2))
        count = ops.maximum(ops.sum(hidden, axis=(1, 2)), 1.0)
        return {"reconstruction": of_hidden / count * math.prod(logits.shape[2:4])}
