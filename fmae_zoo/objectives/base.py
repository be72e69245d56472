"""What objectives have in common, and what of it most of them leave as it is."""

from typing import Any, TypeAlias

import numpy as np

from fmae_zoo.component import IMAGE_SIZE, Component

Annotations: TypeAlias = dict[str, np.ndarray]
"""Arrays `(n, ...)` by name: what is known of each of n images."""


class ObjectiveComponent(Component):
    """Base of all objectives.

    A subclass adds `needs_posterior`, `loss_label`, `term_names`, `terms` and `weights`, as
    `squared_error.py` has them.
    """

    @property
    def least_latent_size(self) -> int:
        """Values that a code must have at least."""
        return 1

    def annotations(
        self, training: np.ndarray, validation: np.ndarray, seed: int
    ) -> tuple[Annotations, Annotations]:
        """Return what the terms need of each image besides the image itself: nothing.

        It is asked for once, before training, and given to `terms` among the model's outputs.

        Args:
            training: the images that the model is trained on, uint8 `(n, 28, 28)`.
            validation: those that it is validated on, `(m, 28, 28)`.
            seed: of anything random.

        Returns:
            Annotations of the training images, and of the validation images.
        """
        return {}, {}


def flat(images: Any) -> Any:
    """Return images `(n, 28, 28, 1)` as rows `(n, 784)`, which XLA sums faster."""
    from keras import ops

    return ops.reshape(images, (-1, IMAGE_SIZE))
