"""Multinomial logistic regression on standardised latent means."""

from typing import Any

import numpy as np

from fmae_zoo.errors import DataError
from fmae_zoo.evaluation.figure import CLASSIFICATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH, Subject

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse strengths of the L2 penalty to choose from."""


def linear_probe(subject: Subject) -> dict[str, Any] | None:
    """Return the test accuracy of a probe on all training images, with C chosen on validation.

    Return None for codes of more than `MAX_PROBE_WIDTH` values.

    Raises:
        DataError: The images to fit on are all of one class.
    """
    if subject.latent_size > MAX_PROBE_WIDTH:
        return None
    labels, test_labels = subject.data.labels
    codes = subject.train_codes
    chosen, accuracy = chosen_c(subject)
    chosen_probe = probe(chosen, codes, labels)
    return {
        "accuracy": float(chosen_probe.score(subject.test_codes, test_labels)),
        "validation_accuracy": accuracy,
        "C": chosen,
        "latent_size": subject.latent_size,
    }


def chosen_c(subject: Subject) -> tuple[float, float]:
    """Return the C with the highest validation accuracy, and this accuracy.

    Raises:
        DataError: The images to fit on are all of one class.
    """
    fit, validation = subject.data.split
    labels, _ = subject.data.labels
    codes = subject.train_codes
    if len(np.unique(labels[fit])) < 2:
        raise DataError(
            f"{subject.data.source}: {len(fit)} images to fit a linear probe on, all of one "
            "class; two classes are the least"
        )
    scores = {
        c: probe(c, codes[fit], labels[fit]).score(codes[validation], labels[validation])
        for c in STRENGTHS
    }
    chosen = max(scores, key=lambda c: scores[c])
    return chosen, float(scores[chosen])


def probe(c: float, codes: np.ndarray, labels: np.ndarray) -> Any:
    """Return a probe fitted to codes, with `c` as inverse strength of the L2 penalty."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300, tol=1e-3))
    return probe.fit(codes, labels)


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
