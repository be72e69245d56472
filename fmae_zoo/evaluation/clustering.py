"""Clustering of latent means, compared with the classes."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np

from fmae_zoo.evaluation.figure import CODING, Figure, Measure, Protocol
from fmae_zoo.evaluation.graph import NEIGHBOURS, neighbour_graph, normalised
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH, Subject

SEEDS = 5


def clustered(subject: Subject, methods: "dict[str, Method]") -> dict[str, Any] | None:
    """Return how well clusters of all images' codes agree with the classes, by method.

    No label chooses anything: there are as many clusters as classes. Return None for codes of more
    than `MAX_PROBE_WIDTH` values.
    """
    if subject.latent_size > MAX_PROBE_WIDTH:
        return None
    codes = np.concatenate([subject.train_codes, subject.test_codes])
    labels, count = np.concatenate(subject.data.labels), subject.data.num_classes
    seeds = [subject.seed * SEEDS + run for run in range(SEEDS)]
    results: dict[str, Any] = {}
    done, total = 0, len(methods) * SEEDS
    subject.advance(done, total)
    for name, find in methods.items():
        runs = []
        for clusters in find(codes, count, seeds):
            runs.append(agreement(labels, clusters))
            done += 1
            subject.advance(done, total)
        means = {key: np.array([each[key] for each in runs]) for key in runs[0]}
        results[name] = {key: float(values.mean()) for key, values in means.items()}
        results[name] |= {"latent_size": subject.latent_size, "seeds": SEEDS}
        results[name] |= {"sd": {k: float(v.std(ddof=1)) for k, v in means.items()}}
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


def k_means(codes: np.ndarray, count: int, seeds: Iterable[int]) -> Iterator[np.ndarray]:
    """Yield the clusters `(n,)` of codes `(n, size)` for each seed: the best of ten starts."""
    from sklearn.cluster import KMeans

    for seed in seeds:
        yield KMeans(count, n_init=10, random_state=seed).fit_predict(codes)


def mixture(
    codes: np.ndarray, count: int, seeds: Iterable[int], starts: int = 1
) -> Iterator[np.ndarray]:
    """Yield the clusters `(n,)` of codes for each seed: the likeliest component of a mixture."""
    from sklearn.mixture import GaussianMixture

    for seed in seeds:
        model = GaussianMixture(count, reg_covar=1e-3, n_init=starts, random_state=seed)
        yield model.fit_predict(codes)


def spectral(codes: np.ndarray, count: int, seeds: Iterable[int]) -> Iterator[np.ndarray]:
    """Yield the clusters `(n,)` of codes for each seed: a mixture on a spectral embedding.

    The embedding has the first eigenvectors of the normalised graph of nearest codes, as many as
    clusters, with each image's row scaled to one length, as in Ng, Jordan and Weiss 2001.
    """
    from scipy.sparse.linalg import eigsh

    graph = normalised(neighbour_graph(codes)).astype(np.float64)
    _, vectors = eigsh(graph, k=count, which="LA", tol=1e-6, v0=np.ones(len(codes)))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    yield from mixture(vectors / lengths * np.sqrt(count), count, seeds, starts=5)


Method: TypeAlias = Callable[[np.ndarray, int, Iterable[int]], Iterator[np.ndarray]]

METHODS: dict[str, Method] = {"kmeans": k_means, "mixture": mixture, "spectral": spectral}

_WORDS = {
    "kmeans": ("k-means", "k-means, the best of ten starts, of"),
    "mixture": ("Gaussian mixture", "a mixture of Gaussians with full covariances, of"),
    "spectral": (
        "spectral embedding and mixture",
        f"a mixture of Gaussians on a spectral embedding (Ng et al. 2001) of a graph of the "
        f"{NEIGHBOURS} nearest by cosine among",
    ),
}


def protocol(path: tuple[str, ...], title: str, words: str) -> Protocol:
    """Return the protocol of one method."""
    return Protocol(
        path,
        f"{title} on the latent mean",
        f"clusters by {words} the latent means of training and test images; as many clusters as "
        f"classes; mean over {SEEDS} seeds",
        CODING,
        (
            Measure("accuracy", "clustering accuracy", short="ACC"),
            Measure("nmi", "normalised mutual information", short="NMI"),
            Measure("ari", "adjusted Rand index", short="ARI"),
        ),
    )


FIGURE = Figure(
    lambda subject: clustered(subject, METHODS),
    tuple(protocol(("clustering", name), *words) for name, words in _WORDS.items()),
    needs_labels=True,
    on_request=True,
)
