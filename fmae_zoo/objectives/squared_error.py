"""Squared error between an image and its reconstruction."""

from typing import Any, Literal

from fmae_zoo.component import Component


class SquaredError(Component):
    """Squared error on [0, 1] images, summed over pixels, averaged over the batch."""

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
        """Return the scalar terms for images `(n, 28, 28, 1)` and the model's outputs."""
        from keras import ops

        error = ops.square(ops.sigmoid(outputs["logits"]) - images)
        return {"reconstruction": ops.mean(ops.sum(error, axis=(1, 2, 3)))}

    def weights(self, step: Any = None) -> dict[str, Any]:
        """Return the weight of each term after `step` training steps."""
        return {"reconstruction": 1.0}
