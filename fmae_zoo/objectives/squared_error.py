"""Squared error between an image and its reconstruction."""

from typing import TYPE_CHECKING, Literal

from fmae_zoo.objectives.base import Batch, ObjectiveComponent, flat
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw


class SquaredError(ObjectiveComponent):
    """Squared error on [0, 1] images, summed over pixels."""

    type: Literal["squared_error"]

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the reconstruction term of each image, `(n,)`."""
        return {"reconstruction": squared_error(batch["target"], logits[:, 0])}


def squared_error(images: Tensor, logits: Tensor) -> Tensor:
    """Return the squared error of images, summed over pixels and channels: `(n,)`."""
    from keras import ops

    images, logits = flat(images, logits)
    return ops.sum(ops.square(ops.sigmoid(logits) - images), axis=-1)
