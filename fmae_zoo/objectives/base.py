"""The base class of all objectives, with defaults that suit most of them."""

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
"""Arrays `(n, ...)` by name: data about each of n images."""

Batch: TypeAlias = dict[str, Any]
"""Tensors `(n, ...)` by name: the encoder's input `image`, the `target`, and annotations.

Only in training it also has `step`, a float: the number of training steps before this one."""


class ObjectiveComponent(Component):
    """Base of all objectives: the terms of a loss and their weights.

    A subclass defines a `type` and overrides what differs from the defaults.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    """What the latent must provide: names in `LatentComponent.gives`."""

    type: str

    @property
    def codes(self) -> int:
        """Number of codes drawn per image."""
        return 1

    figures: ClassVar[frozenset[str]] = frozenset()
    """Names of the evaluations that need this kind of objective."""

    solves: ClassVar[Affine | None] = None
    """Decoder output that must be an affine map of the code, `pixels` or `logits`, or None.

    With such a decoder `solve` finds the weights without gradient steps, and the recipe's optimizer
    must be `none`. If it is None, the objective is trained by gradient steps."""

    of_batches: ClassVar[bool] = False
    """Whether a term is a statistic of a batch. Validation then uses the training batch size."""

    reads_mask: ClassVar[bool] = False
    """Whether a term reads the `mask` of the batch. Validation images are then masked too.

    The mask is uint8 `(n, height, width)`, 1 for each pixel that the recipe hid."""

    term_names: ClassVar[tuple[str, ...]] = ("reconstruction",)
    """Names of the terms, in the order in which they are reported."""

    loss_label: ClassVar[str] = "squared error, summed over pixels"
    """A short text that says what the loss is, with its unit."""

    @property
    def least_latent_size(self) -> int:
        """Smallest number of values that a code may have."""
        return 1

    def check(self, spec: "ModelSpec") -> None:
        """Raise an error if other parts of the spec do not suit the objective.

        Raises:
            ValueError: A part does not suit it; the message says what is expected.
        """

    def solve(self, model: "Autoencoder", images: np.ndarray, rng: np.random.Generator) -> None:
        """Set the weights of a model to those that minimise the loss, if the objective `solves`.

        `train` calls it once per epoch, instead of gradient steps. Without `train`, call it
        directly: `ae.fit` takes gradient steps on the terms, as for every objective.

        Args:
            model: Model whose weights are set.
            images: Images of an epoch, mirrored and binarised if the recipe says so: float32 in
                [0, 1], `(n, height, width, channels)`.
            rng: Generator of all random numbers.

        Raises:
            DataError: There are too few images.
        """
        raise NotImplementedError

    def annotations(
        self, training: Annotations, validation: Annotations, seed: int
    ) -> tuple[Annotations, Annotations]:
        """Return the data that the terms need of each image, besides the image: here none.

        It is called once, before training; `terms` receives the result in the batch.

        Args:
            training: Data of the training images: `image`, uint8 `(n, height, width)`, or
                `(n, height, width, 3)` in colour; and `label`, integers `(n,)`, if the data have
                labels.
            validation: The same for the validation images.
            seed: Seed of all random numbers.

        Returns:
            Annotations of the training images and of the validation images.

        Raises:
            DataError: The data lack something that the objective needs.
        """
        return {}, {}

    def module(self, spec: "ModelSpec", seeds: "Seeds") -> Model:
        """Return a built Keras model that the objective itself trains, or None.

        A critic, for example. It becomes `model.critic` and is saved with the model.
        """
        return None

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return each term by its name: `(n,)`, one value per image, or a scalar for the batch.

        Args:
            batch: Images and their annotations.
            draw: Codes of the images.
            logits: Logits decoded from the codes, `(n, samples, height, width, channels)`.
            model: Model whose parts, such as `critic` and `latent`, the terms may use.
        """
        raise NotImplementedError

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term after `step` (a float tensor) training steps.

        Without a step, as in validation, return the final weights.
        """
        return dict.fromkeys(self.term_names, 1.0)


def flat(images: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return images and logits `(n, height, width, channels)` as rows `(n, values)`.

    XLA sums rows faster. The number of values is taken from the logits, whose shape is static.
    """
    from keras import ops

    rows = (-1, math.prod(logits.shape[1:]))
    return ops.reshape(images, rows), ops.reshape(logits, rows)
