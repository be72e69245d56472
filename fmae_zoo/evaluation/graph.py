"""A graph of the nearest codes, on which labels spread and clusters are found."""

import numpy as np

from fmae_zoo.types import SparseMatrix

NEIGHBOURS = 10
"""Neighbours of each image in the graph."""


def neighbour_graph(features: np.ndarray) -> SparseMatrix:
    """Return a sparse symmetric matrix of similarities between each image and its neighbours.

    Neighbours are those by cosine similarity. With the distance d of two images and the distance s
    of the first from its farthest neighbour, their similarity is exp(-4 d^2 / s^2), as in Calder et
    al. 2020 (arXiv 2006.11184).
    """
    from sklearn.neighbors import kneighbors_graph
    from sklearn.preprocessing import normalize

    count = min(NEIGHBOURS, len(features) - 1)
    graph = kneighbors_graph(normalize(features), count, mode="distance").tocsr()
    farthest = np.maximum(graph.max(axis=1).toarray(), np.finfo(np.float32).tiny)
    graph.data = np.exp(-4 * (graph.data / np.repeat(farthest, count)) ** 2)
    return graph.maximum(graph.T).astype(np.float32)


def normalised(graph: SparseMatrix) -> SparseMatrix:
    """Return D^(-1/2) W D^(-1/2) of a symmetric graph W, where D has the sums of its rows."""
    from scipy.sparse import diags_array

    scale = diags_array(1 / np.sqrt(np.asarray(graph.sum(axis=1)).ravel()))
    return scale @ graph @ scale
