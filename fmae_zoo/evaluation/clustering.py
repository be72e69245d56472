"""Clustering of latent means, compared with the classes."""

from typing import Any

import numpy as np

from fmae_zoo.evaluation.figure import CODING, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH, Subject

SEEDS = 5


def clustering(subject: Subject) -> dict[str, Any] | None:
    """Return how well clusters of all images' codes agree with the classes, by method.

    No label chooses anything: there are as many clusters as classes. Return None for codes of more
    than `MAX_PROBE_WIDTH` values.
    """
    if subject.latent_size > MAX_PROBE_WIDTH:
        return None
    codes = np.concatenate([subject.train_codes, subject.test_codes])
    labels, count = np.concatenate(subject.data.labels), subject.data.num_classes
    results: dict[str, Any] = {}
    for done, (name, find) in enumerate(METHODS.items()):
        runs = []
        for run in range(SEEDS):
            subject.advance(done * SEEDS + run, len(METHODS) * SEEDS)
            runs.append(agreement(labels, find(codes, count, subject.seed * SEEDS + run)))
        means = {key: np.array([each[key] for each in runs]) for key in runs[0]}
        results[name] = {key: float(values.mean()) for key, values in means.items()}
        results[name] |= {"latent_size": subject.latent_size, "seeds": SEEDS}
        results[name] |= {"sd": {k: float(v.std(ddof=1)) for k, v in means.items()}}
    subject.advance(len(METHODS) * SEEDS, len(METHODS) * SEEDS)
    return results


def agreement(labels: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Return `accuracy`, `nmi` and `ari` of clusters `(n,)` beside classes `(n,)`.

    Accuracy is the share of images in the cluster of their class, with each class given one cluster
    so that this share is largest (Hungarian method). `nmi` is the mutual information over the mean
    of both entropies; `ari` is the adjusted Rand index.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    counts = contingency_matrix(labels, clusters)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return {
        "accuracy": float(counts[rows, columns].sum() / len(labels)),
        "nmi": float(normalized_mutual_info_score(labels, clusters)),
        "ari": float(adjusted_rand_score(labels, clusters)),
    }


def _kmeans(codes: np.ndarray, count: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    found: np.ndarray = KMeans(count, n_init=10, random_state=seed).fit_predict(codes)
    return found


def _mixture(codes: np.ndarray, count: int, seed: int) -> np.ndarray:
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(count, reg_covar=1e-3, random_state=seed)
    found: np.ndarray = mixture.fit_predict(codes)
    return found


METHODS = {"kmeans": _kmeans, "mixture": _mixture}

_WORDS = {
    "kmeans": ("k-means", "k-means, the best of ten starts"),
    "mixture": ("Gaussian mixture", "a mixture of Gaussians with full covariances"),
}

FIGURE = Figure(
    clustering,
    tuple(
        Protocol(
            ("clustering", name),
            f"{title} on the latent mean",
            f"clusters by {words}, of the latent means of training and test images; "
            f"as many clusters as classes; mean over {SEEDS} seeds",
            CODING,
            (
                Measure("accuracy", "clustering accuracy", short="ACC"),
                Measure("nmi", "normalised mutual information", short="NMI"),
                Measure("ari", "adjusted Rand index", short="ARI"),
            ),
        )
        for name, (title, words) in _WORDS.items()
    ),
    needs_labels=True,
    on_request=True,
)
