"""Classifiers of scikit-learn on latent means, each with a setting chosen on validation."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.errors import DataError
from fmae_zoo.evaluation.figure import CLASSIFICATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.knn import NEIGHBOURS
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH, Subject
from fmae_zoo.types import Estimator

MOST_TO_CHOOSE = 10_000
"""Largest number of images that a slow classifier is fitted to for choosing its setting."""

if TYPE_CHECKING:
    from fmae_zoo.datasets import Dataset

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse strengths of the L2 penalty of logistic regression to choose from."""


@dataclass(frozen=True)
class Head:
    """A classifier of codes.

    Attributes:
        make: Function from a seed to an unfitted classifier.
        setting: Name of the setting that is chosen on the validation images.
        values: Values to choose from.
        words: Description of the classifier.
        is_standardised: Whether it reads standardised codes.
        is_cut_short: Whether it stops before it converges, so that a warning of this is no news.
        is_slow: Whether its setting is chosen with `MOST_TO_CHOOSE` images at most.
    """

    make: Callable[[int], Estimator]
    setting: str
    values: tuple[float, ...]
    words: str
    is_standardised: bool = True
    is_cut_short: bool = False
    is_slow: bool = False

    def fitted(
        self, codes: np.ndarray, labels: np.ndarray, value: float, seed: int = 0
    ) -> Estimator:
        """Return a pipeline with one value of the setting, fitted to codes."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        head = self.make(seed).set_params(**{self.setting: value})
        pipeline = make_pipeline(StandardScaler() if self.is_standardised else "passthrough", head)
        with warnings.catch_warnings():
            if self.is_cut_short:
                warnings.simplefilter("ignore", ConvergenceWarning)
            return pipeline.fit(codes, labels)

    def best(
        self,
        codes: np.ndarray,
        data: "Dataset",
        seed: int = 0,
        advance: Callable[[int, int], None] = lambda done, count: None,
    ) -> tuple[float, float]:
        """Return the setting with the highest validation accuracy, and this accuracy.

        Args:
            codes: Codes of all training images of the data: `(n, latent size)`.
            data: Data set with labels.
            seed: Seed of the classifier.
            advance: Function called with the number of finished fits and of all, with a last fit
                to all codes.

        Raises:
            DataError: The images to fit on are all of one class, or there are no labels.
        """
        (labels, _), (fit, validation) = data.labels, data.split
        fit = fit[:MOST_TO_CHOOSE] if self.is_slow else fit
        if len(np.unique(labels[fit])) < 2:
            raise DataError(
                f"{data.source}: {len(fit)} images to fit a classifier on, all of one class; two "
                "classes are the least"
            )
        usable = [each for each in self.values if self.setting != "n_neighbors" or each <= len(fit)]
        scores = {}
        for done, value in enumerate(usable):
            advance(done, len(usable) + 1)
            fitted = self.fitted(codes[fit], labels[fit], value, seed)
            scores[value] = fitted.score(codes[validation], labels[validation])
        advance(len(usable), len(usable) + 1)
        best = max(scores, key=lambda value: scores[value])
        return best, float(scores[best])

    def chosen(
        self,
        codes: np.ndarray,
        data: "Dataset",
        seed: int = 0,
        advance: Callable[[int, int], None] = lambda done, count: None,
    ) -> tuple[Any, float, float]:
        """Return the classifier with the best setting, fitted to all codes, and what `best` does.

        Raises:
            DataError: As `best`.
        """
        setting, accuracy = self.best(codes, data, seed, advance)
        return self.fitted(codes, data.labels[0], setting, seed), setting, accuracy


def _logistic(seed: int) -> Estimator:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=300, tol=1e-3)


def _knn(seed: int) -> Estimator:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(algorithm="brute")


def _svm(seed: int) -> Estimator:
    from sklearn.svm import SVC

    return SVC(cache_size=1000)


def _forest(seed: int) -> Estimator:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=200, n_jobs=-1, random_state=seed)


def _boosting(seed: int) -> Estimator:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=seed)


def _mlp(seed: int) -> Estimator:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((256,), batch_size=256, max_iter=30, random_state=seed)


HEADS = {
    "logistic": Head(_logistic, "C", STRENGTHS, "multinomial logistic regression"),
    "knn": Head(_knn, "n_neighbors", NEIGHBOURS, "k nearest neighbours", is_standardised=False),
    "svm": Head(
        _svm, "C", (1.0, 10.0), "support vector machine with a Gaussian kernel", is_slow=True
    ),
    "forest": Head(_forest, "min_samples_leaf", (1, 3), "random forest of 200 trees", is_slow=True),
    "boosting": Head(
        _boosting, "learning_rate", (0.05, 0.1), "100 rounds of gradient boosting", is_slow=True
    ),
    "mlp": Head(
        _mlp,
        "alpha",
        (1e-4, 1e-2),
        "network with one hidden layer of 256 units",
        is_cut_short=True,
        is_slow=True,
    ),
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
    _, test_labels = subject.data.labels
    results: dict[str, Any] = {}
    begun, count = 0, sum(len(HEADS[name].values) + 1 for name in _MEASURED)
    for name in _MEASURED:
        head, data = HEADS[name], subject.data

        def advance(done: int, _: int, begun: int = begun) -> None:
            subject.advance(begun + done, count)

        classifier, setting, accuracy = head.chosen(
            subject.train_codes, data, subject.seed, advance
        )
        begun += len(head.values) + 1
        results[name] = {
            "accuracy": float(classifier.score(subject.test_codes, test_labels)),
            "validation_accuracy": accuracy,
            head.setting: setting,
            "latent_size": subject.latent_size,
        }
    subject.advance(count, count)
    return results


FIGURE = Figure(
    heads,
    tuple(
        Protocol(
            ("heads", name),
            f"{name} on the latent mean",
            f"{HEADS[name].words}, of scikit-learn, on standardised latent means; "
            f"{HEADS[name].setting} chosen on validation with {MOST_TO_CHOOSE:,} images to fit to, "
            "then fitted to all training images",
            CLASSIFICATION,
            (Measure("accuracy", "accuracy"),),
        )
        for name in _MEASURED
    ),
    needs_labels=True,
    on_request=True,
)
