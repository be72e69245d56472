"""Classification by the k nearest neighbours of latent means."""

from typing import Any

import numpy as np

from fmae_zoo.evaluation.figure import CLASSIFICATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH, Subject

NEIGHBOURS = (1, 3, 5, 10, 15, 20)
"""Numbers of neighbours to choose from."""


def knn(subject: Subject) -> dict[str, Any] | None:
    """Return the test accuracy with Euclidean neighbours among all training images.

    k is chosen on validation. The majority wins; a tie goes to the lowest class number. Return None
    for codes of more than `MAX_PROBE_WIDTH` values.
    """
    if subject.latent_size > MAX_PROBE_WIDTH:
        return None
    labels, test_labels = subject.data.labels
    codes = subject.train_codes
    subject.advance(0, 2)
    chosen, accuracy = chosen_k(subject)
    subject.advance(1, 2)
    near = _neighbour_labels(codes, labels, subject.test_codes)
    return {
        "accuracy": _accuracy(near, test_labels, chosen),
        "validation_accuracy": accuracy,
        "k": chosen,
        "latent_size": subject.latent_size,
    }


def chosen_k(subject: Subject) -> tuple[int, float]:
    """Return the k with the highest validation accuracy, and this accuracy."""
    fit, validation = subject.data.split
    labels, _ = subject.data.labels
    codes = subject.train_codes
    near = _neighbour_labels(codes[fit], labels[fit], codes[validation])
    scores = {k: _accuracy(near, labels[validation], k) for k in NEIGHBOURS if k <= len(fit)}
    chosen = max(scores, key=lambda k: scores[k])
    return chosen, scores[chosen]


def _neighbour_labels(codes: np.ndarray, labels: np.ndarray, queries: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    count = min(max(NEIGHBOURS), len(codes))
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(codes)
    return labels[search.kneighbors(queries, return_distance=False)]


def _accuracy(neighbours: np.ndarray, labels: np.ndarray, k: int) -> float:
    classes = int(max(neighbours.max(), labels.max())) + 1
    votes = np.stack([(neighbours[:, :k] == c).sum(axis=1) for c in range(classes)], axis=1)
    return float((votes.argmax(axis=1) == labels).mean())


FIGURE = Figure(
    knn,
    (
        Protocol(
            ("knn",),
            "k nearest neighbours of the latent mean",
            "Euclidean neighbours among the latent means of all training images; k chosen on "
            "validation",
            CLASSIFICATION,
            (Measure("accuracy", "accuracy", column="kNN", in_seeds=True),),
        ),
    ),
    needs_labels=True,
)
