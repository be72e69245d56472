"""Multinomial logistic regression on standardised latent means."""

from typing import Any

import numpy as np

from fmae_zoo.evaluation.figure import CLASSIFICATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.heads import HEADS
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH, Subject
from fmae_zoo.types import Estimator


def linear_probe(subject: Subject) -> dict[str, Any] | None:
    """Return the test accuracy of a probe on all training images, with C chosen on validation.

    Return None for codes of more than `MAX_PROBE_WIDTH` values.

    Raises:
        DataError: The images to fit on are all of one class.
    """
    if subject.latent_size > MAX_PROBE_WIDTH:
        return None
    _, test_labels = subject.data.labels
    fitted, strength, accuracy = HEADS["logistic"].chosen(
        subject.train_codes, subject.data, advance=subject.advance
    )
    return {
        "accuracy": float(fitted.score(subject.test_codes, test_labels)),
        "validation_accuracy": accuracy,
        "C": strength,
        "latent_size": subject.latent_size,
    }


def probe(c: float, codes: np.ndarray, labels: np.ndarray) -> Estimator:
    """Return a probe fitted to codes, with `c` as inverse strength of the L2 penalty."""
    return HEADS["logistic"].fitted(codes, labels, c)


FIGURE = Figure(
    linear_probe,
    (
        Protocol(
            ("linear_probe",),
            "linear probe on the latent mean",
            "multinomial logistic regression on standardised latent means; C chosen on validation, "
            "then fitted to all training images",
            CLASSIFICATION,
            (Measure("accuracy", "accuracy", column="linear probe", in_seeds=True),),
        ),
    ),
    needs_labels=True,
)
