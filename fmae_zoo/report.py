"""Accuracy, precision, recall and confusion matrix of predicted classes."""

from typing import Any

import numpy as np


def report_of(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> dict[str, Any]:
    """Return what predicted classes `(n,)` get right of the true ones `(n,)`.

    Returns:
        `accuracy` in [0, 1], `precision` and `recall` (lists with a value per class), and
        `confusion` (counts, a row per true class).
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    classes = list(range(num_classes))
    precision, recall, _, _ = precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0.0
    )
    return {
        "accuracy": float((predicted == labels).mean()),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "confusion": confusion_matrix(labels, predicted, labels=classes).tolist(),
    }
