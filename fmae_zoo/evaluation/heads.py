"""Classifiers of scikit-learn on latent means, other than logistic regression and kNN."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fmae_zoo.errors import DataError
from fmae_zoo.evaluation.figure import CLASSIFICATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.knn import NEIGHBOURS
from fmae_zoo.evaluation.linear_probe import STRENGTHS
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH, Subject


@dataclass(frozen=True)
class Head:
    """A classifier of codes.

    Attributes:
        make: Function from a seed to an unfitted classifier.
        setting: Name of the setting that is chosen on the validation images.
        values: Values to choose from.
        words: Description of the classifier.
        is_standardised: Whether it reads standardised codes.
    """

    make: Callable[[int], Any]
    setting: str
    values: tuple[float, ...]
    words: str
    is_standardised: bool = True

    def fitted(self, codes: np.ndarray, labels: np.ndarray, value: float, seed: int) -> Any:
        """Return a pipeline with one value of the setting, fitted to codes."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        head = self.make(seed).set_params(**{self.setting: value})
        pipeline = make_pipeline(StandardScaler() if self.is_standardised else "passthrough", head)
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            return pipeline.fit(codes, labels)

    def chosen(
        self,
        codes: np.ndarray,
        labels: np.ndarray,
        split: tuple[np.ndarray, np.ndarray],
        seed: int = 0,
    ) -> tuple[Any, float, float]:
        """Return the best classifier by validation, its setting and its validation accuracy.

        Args:
            codes: Codes of all training images: `(n, latent size)`.
            labels: Their classes: `(n,)`.
            split: Indices of the images to fit on, and of the validation images.
            seed: Seed of the classifier.

        Returns:
            The classifier, fitted to all codes; the value of the setting; and the accuracy with
            this value on the validation images, fitted to the others.

        Raises:
            DataError: The images to fit on are all of one class.
        """
        fit, validation = split
        if len(np.unique(labels[fit])) < 2:
            raise DataError("The images to fit on are all of one class; expected two at least.")
        usable = [each for each in self.values if self.setting != "n_neighbors" or each <= len(fit)]
        scores = {
            value: self.fitted(codes[fit], labels[fit], value, seed).score(
                codes[validation], labels[validation]
            )
            for value in usable
        }
        best = max(scores, key=lambda value: scores[value])
        return self.fitted(codes, labels, best, seed), best, float(scores[best])


def _logistic(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=300, tol=1e-3)


def _knn(seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(algorithm="brute")


def _svm(seed: int) -> Any:
    from sklearn.svm import SVC

    return SVC(cache_size=1000)


def _forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=200, n_jobs=-1, random_state=seed)


def _boosting(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=seed)


def _mlp(seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((256,), batch_size=256, max_iter=30, random_state=seed)


HEADS = {
    "logistic": Head(_logistic, "C", STRENGTHS, "multinomial logistic regression"),
    "knn": Head(_knn, "n_neighbors", NEIGHBOURS, "k nearest neighbours", is_standardised=False),
    "svm": Head(_svm, "C", (1.0, 10.0), "support vector machine with a Gaussian kernel"),
    "forest": Head(_forest, "min_samples_leaf", (1, 3), "random forest of 200 trees"),
    "boosting": Head(_boosting, "learning_rate", (0.1,), "100 rounds of gradient boosting"),
    "mlp": Head(_mlp, "alpha", (1e-4, 1e-2), "network with one hidden layer of 256 units"),
}
"""Classifiers by name; `logistic` and `knn` are those of the figures `linear_probe` and `knn`."""

_MEASURED = ("svm", "forest", "boosting", "mlp")


def heads(subject: Subject) -> dict[str, Any] | None:
    """Return the test accuracy of each classifier on the codes of all training images.

    Return None for codes of more than `MAX_PROBE_WIDTH` values.

    Raises:
        DataError: The images to fit on are all of one class.
    """
    if subject.latent_size > MAX_PROBE_WIDTH:
        return None
    labels, test_labels = subject.data.labels
    results: dict[str, Any] = {}
    for done, name in enumerate(_MEASURED):
        subject.advance(done, len(_MEASURED))
        head, data = HEADS[name], subject.data
        classifier, setting, accuracy = head.chosen(
            subject.train_codes, labels, data.split, subject.seed
        )
        results[name] = {
            "accuracy": float(classifier.score(subject.test_codes, test_labels)),
            "validation_accuracy": accuracy,
            head.setting: setting,
            "latent_size": subject.latent_size,
        }
    subject.advance(len(_MEASURED), len(_MEASURED))
    return results


FIGURE = Figure(
    heads,
    tuple(
        Protocol(
            ("heads", name),
            f"{name} on the latent mean",
            f"{HEADS[name].words}, of scikit-learn, on standardised latent means; "
            f"{HEADS[name].setting} chosen on validation, then fitted to all training images",
            CLASSIFICATION,
            (Measure("accuracy", "accuracy"),),
        )
        for name in _MEASURED
    ),
    needs_labels=True,
    on_request=True,
)
