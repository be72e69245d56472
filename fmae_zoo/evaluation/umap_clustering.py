"""Clustering of a UMAP embedding of latent means, compared with the classes.

N2D: McConville, Santos-Rodriguez, Piechocki and Craddock 2019 (arXiv 1908.05968).
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fmae_zoo.evaluation.clustering import clustered, mixture, protocol
from fmae_zoo.evaluation.figure import Figure
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.extras import needed

NEIGHBOURS = 20


def umap(codes: np.ndarray, count: int, seeds: Iterable[int]) -> Iterator[np.ndarray]:
    """Yield the clusters `(n,)` of codes `(n, size)` for each seed: a mixture on UMAP's embedding.

    Raises:
        ArgumentError: umap-learn is not installed.
    """
    module = needed("umap", "umap")
    for seed in seeds:
        reducer = module.UMAP(
            n_neighbors=NEIGHBOURS, n_components=count, min_dist=0.0, random_state=seed, n_jobs=1
        )
        yield from mixture(reducer.fit_transform(codes), count, [seed])


def umap_clustering(subject: Subject) -> dict[str, Any] | None:
    """Return how well the clusters agree with the classes, or None for too wide codes."""
    results = clustered(subject, {"umap": umap})
    return None if results is None else results["umap"]


FIGURE = Figure(
    umap_clustering,
    (
        protocol(
            ("umap_clustering",),
            "UMAP and mixture",
            f"a mixture of Gaussians on a UMAP embedding of as many values as classes "
            f"({NEIGHBOURS} neighbours, least distance 0) of",
        ),
    ),
    needs_labels=True,
    on_request=True,
)
