"""The nearest codes to a code."""

from importlib import import_module
from typing import Any

import numpy as np

from fmae_zoo.errors import ArgumentError

MANY = 200_000
"""Number of codes above which `nearest` searches with faiss, if it is installed."""


def nearest(codes: np.ndarray, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest codes to each query, the nearest first: their indices and distances.

    The distance is Euclidean, as in the figure `knn`. On a sphere this gives the same order as the
    angle. The search is exact: by scikit-learn, or for more than 200,000 codes by faiss if it is
    installed (`pip install "fmae-zoo[index]"`).

    Args:
        codes: Codes to search, `(n, size)`.
        queries: Codes to search for, `(m, size)`.
        count: Number of codes to find for each query; at most n are found.

    Returns:
        Integers and float32, each `(m, count)`.

    Raises:
        ArgumentError: There are no codes, or the widths differ.
    """
    if codes.ndim != 2 or not len(codes) or queries.shape[1:] != codes.shape[1:]:
        raise ArgumentError(
            f"Expected codes (n, size) and queries (m, size); received shapes {codes.shape} and "
            f"{queries.shape}"
        )
    codes, queries = (np.ascontiguousarray(each, np.float32) for each in (codes, queries))
    count = min(count, len(codes))
    faiss = _faiss() if len(codes) > MANY else None
    if faiss is not None:
        index = faiss.IndexFlatL2(codes.shape[1])
        index.add(codes)
        found = index.search(queries, count)[1]
    else:
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(codes)
        found = search.kneighbors(queries, return_distance=False)
    # Both search by products of codes, which round; the differences give 0 for equal codes.
    distances = np.linalg.norm(codes[found] - queries[:, np.newaxis], axis=2)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(distances, order, axis=1)


def _faiss() -> Any:
    """Return the module faiss, or None if it is not installed."""
    try:
        return import_module("faiss")
    except ImportError:
        return None
