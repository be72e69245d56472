"""Squared error between an image and its reconstruction."""

from typing import Any, Literal

from fmae_zoo.objectives.base import ObjectiveComponent, flat


class SquaredError(ObjectiveComponent):
    """Squared error on [0, 1] images, summed over pixels."""

    type: Literal["squared_error"]

    @property
    def needs_posterior(self) -> bool:
        """Whether the latent must give a log-variance."""
        return False

    @property
    def loss_label(self) -> str:
        """What the loss is, and its unit."""
        return "squared error, summed over pixels"

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms, in the order they are reported."""
        return ("reconstruction",)

    def terms(self, images: Any, outputs: dict[str, Any]) -> dict[str, Any]:
        """Return each term of each image, `(n,)`, for images `(n, 28, 28, 1)` and the outputs."""
        return {"reconstruction": squared_error(images, outputs["logits"])}

    def weights(self, step: Any = None) -> dict[str, Any]:
        """Return the weight of each term after `step` training steps."""
        return {"reconstruction": 1.0}


def squared_error(images: Any, logits: Any) -> Any:
    """Return the squared error of images `(n, 28, 28, 1)`, summed over pixels: `(n,)`."""
    from keras import ops

    errors = ops.square(ops.sigmoid(flat(logits)) - flat(images))
    return ops.sum(errors, axis=-1)
