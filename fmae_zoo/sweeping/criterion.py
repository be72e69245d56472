"""What a sweep compares its trials by: numbers of the validation images only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmae_zoo.errors import ArgumentError
from fmae_zoo.evaluation.heads import HEADS
from fmae_zoo.evaluation.knn import chosen_k
from fmae_zoo.evaluation.reconstruction import mean_squared
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH, Subject
from fmae_zoo.images import as_images
from fmae_zoo.spec import ModelSpec

if TYPE_CHECKING:
    from fmae_zoo.training.history import History


@dataclass(frozen=True)
class Criterion:
    """A number to compare trained models by.

    Attributes:
        title: Name for people.
        measure: Function from a finished training and its subject to the number.
        is_probe: Whether a classifier of codes is fitted, which needs labels and narrow codes.
    """

    title: str
    measure: Callable[["History", Subject], float]
    is_probe: bool = False

    @property
    def direction(self) -> str:
        """`maximize` or `minimize`, as Optuna calls them."""
        return "maximize" if self.is_probe else "minimize"

    def check(self, spec: ModelSpec) -> None:
        """Raise unless models of a spec have this number.

        Raises:
            ArgumentError: The codes are too wide, or the model is trained on hidden pixels alone.
        """
        if self.is_probe and spec.latent.size > MAX_PROBE_WIDTH:
            raise ArgumentError(
                f"{self.title}: codes of {spec.latent.size:,} values; expected at most "
                f"{MAX_PROBE_WIDTH:,}"
            )
        if self.measure is _mse and spec.objective.reads_mask:
            raise ArgumentError(f"{self.title}: this model is trained on hidden pixels alone")


def _loss(history: "History", subject: Subject) -> float:
    return history.rows[history.record.best_epoch - 1]["val_loss"]


def _mse(history: "History", subject: Subject) -> float:
    model, rows = subject.model, subject.data.split[1]
    images = as_images(subject.data.train_images[rows], model.spec.shape)
    return mean_squared(images, model.reconstruct(images, label=subject.validation_labels))


def _probe(history: "History", subject: Subject) -> float:
    return HEADS["logistic"].best(subject.train_codes, subject.data)[1]


CRITERIA = {
    "linear_probe": Criterion("linear probe accuracy", _probe, is_probe=True),
    "knn": Criterion("kNN accuracy", lambda history, subject: chosen_k(subject)[1], is_probe=True),
    "mse": Criterion("MSE", _mse),
    "loss": Criterion("loss", _loss),
}
"""All criteria by the name that `sweep` takes as its objective."""
