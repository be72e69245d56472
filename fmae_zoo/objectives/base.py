"""What objectives have in common, and what of it most of them leave as it is."""

import math
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from fmae_zoo.component import Affine, Component
from fmae_zoo.types import Model, Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.spec import ModelSpec

Annotations: TypeAlias = dict[str, np.ndarray]
"""Arrays `(n, ...)` by name: what is known of each of n images."""

Batch: TypeAlias = dict[str, Any]
"""Tensors `(n, ...)` by name: the `image` that is read, the `target`, and annotations.

In training, and there alone, also `step`: a float, the number of steps before this one."""


class ObjectiveComponent(Component):
    """Base of all objectives: the terms of a loss, and their weights.

    A subclass has a `type`, and overrides what differs.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    """What the latent must give: names in `LatentComponent.gives`."""

    type: str

    @property
    def codes(self) -> int:
        """Number of codes that are drawn of each image."""
        return 1

    figures: ClassVar[frozenset[str]] = frozenset()
    """The evaluations that apply to it alone."""

    solves: ClassVar[Affine | None] = None
    """What the decoder must make by one affine map of the code for `solve` to find the weights
    without gradient steps; None where it does not. The recipe's optimizer is then `none`."""

    of_batches: ClassVar[bool] = False
    """Whether a term is a statistic of a batch: validation has batches as large as training."""

    reads_mask: ClassVar[bool] = False
    """Whether a term asks for `mask` in the batch, uint8 `(n, height, width)`: 1 where the recipe
    hid a pixel. Validation images are then masked too."""

    term_names: ClassVar[tuple[str, ...]] = ("reconstruction",)
    """Names of the terms, in the order they are reported."""

    loss_label: ClassVar[str] = "squared error, summed over pixels"
    """What the loss is, and its unit."""

    @property
    def least_latent_size(self) -> int:
        """Values that a code must have at least."""
        return 1

    def check(self, spec: "ModelSpec") -> None:
        """Refuse a spec whose other parts do not suit it.

        Raises:
            ValueError: they do not; the message says which would.
        """

    def solve(self, model: "Autoencoder", images: np.ndarray, rng: np.random.Generator) -> None:
        """Give a model the weights that minimise the loss, where the objective `solves`.

        `train` calls it once an epoch, instead of gradient steps. For a model without `train`,
        call it as it is; `ae.fit` takes gradient steps on the terms, as for every objective.

        Args:
            model: whose weights it sets.
            images: what an epoch trains on, mirrored and binarised where the recipe says so:
                float32 in [0, 1], `(n, height, width, channels)`.
            rng: of anything random.

        Raises:
            DataError: there are too few images.
        """
        raise NotImplementedError

    def annotations(
        self, training: Annotations, validation: Annotations, seed: int
    ) -> tuple[Annotations, Annotations]:
        """Return what the terms need of each image besides the image itself: nothing.

        It is asked for once, before training, and given to `terms` in the batch.

        Args:
            training: what is known of the images that the model is trained on: `image`, uint8
                `(n, height, width)`, or in colour `(n, height, width, 3)`; and `label`, integers
                `(n,)`, where the data have labels.
            validation: the same of those that it is validated on.
            seed: of anything random.

        Returns:
            Annotations of the training images, and of the validation images.

        Raises:
            DataError: the data lack what the objective needs.
        """
        return {}, {}

    def module(self, spec: "ModelSpec", seeds: "Seeds") -> Model:
        """Return a built Keras model of what the objective itself learns, or None.

        A critic, for example. It is `model.critic`, saved and checkpointed with the model.
        """
        return None

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return each term by its name: of each image `(n,)`, or of the batch, a scalar.

        Args:
            batch: the images, and what is known of them.
            draw: the codes.
            logits: of the images decoded from them, `(n, samples, height, width, channels)`.
            model: whose `critic` and `latent` the terms may ask.
        """
        raise NotImplementedError

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term after `step` (a float tensor) training steps.

        Without a step, as in validation, the final ones.
        """
        return dict.fromkeys(self.term_names, 1.0)


def flat(images: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return images and logits `(n, height, width, channels)` as rows `(n, values)`.

    XLA sums rows faster. How many values there are, the logits always know.
    """
    from keras import ops

    rows = (-1, math.prod(logits.shape[1:]))
    return ops.reshape(images, rows), ops.reshape(logits, rows)
