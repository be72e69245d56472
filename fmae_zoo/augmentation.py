"""Augmentation of images, by numpy's generator: the same on every backend."""

import numpy as np

MAX_SHIFT = 2
"""Pixels by which `shifted` moves an image, at most."""

ERASED_SIDES = (4, 14)
"""Shortest and longest side of an erased rectangle, in pixels."""


def augmented(images: np.ndarray, rng: np.random.Generator, convolutional: bool) -> np.ndarray:
    """Return images `(n, 28, 28, 1)` as a classifier is trained on them.

    For a convolutional encoder they are shifted, mirrored and erased; a dense one has to learn
    every shift anew, so for it they are only mirrored.
    """
    if convolutional:
        return erased(mirrored(shifted(images, rng), rng), rng)
    return mirrored(images, rng)


def mirrored(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return images `(n, height, width, ...)`, half of them mirrored."""
    chosen = rng.random(len(images)) < 0.5
    result = images.copy()
    result[chosen] = result[chosen, :, ::-1]
    return result


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return images `(n, 28, 28, 1)`, each moved by up to `MAX_SHIFT` pixels on each axis."""
    count, height, width, _ = images.shape
    margin = (MAX_SHIFT, MAX_SHIFT)
    padded = np.pad(images, ((0, 0), margin, margin, (0, 0)))
    places = 2 * MAX_SHIFT + 1
    rows, columns = rng.integers(0, places, size=(2, count))
    result = np.empty_like(images)
    for row in range(places):
        for column in range(places):
            own = (rows == row) & (columns == column)
            result[own] = padded[own, row : row + height, column : column + width]
    return result


def erased(images: np.ndarray, rng: np.random.Generator, share: float = 0.5) -> np.ndarray:
    """Return images `(n, 28, 28, 1)`, in a share of them a rectangle of noise in [0, 1).

    Zhong et al. 2017, Random Erasing Data Augmentation, arXiv 1708.04896.
    """
    count, height, width, _ = images.shape
    least, most = ERASED_SIDES
    inside = rng.random((count, 1, 1)) < share
    for axis, extent in ((1, height), (2, width)):
        sides = rng.integers(least, most + 1, size=count)
        starts = rng.integers(0, extent - sides + 1)
        places = np.arange(extent)
        inside_axis = (places >= starts[:, None]) & (places < (starts + sides)[:, None])
        inside = inside & np.expand_dims(inside_axis, 3 - axis)
    result = images.copy()
    result[inside] = rng.random((int(inside.sum()), 1), dtype=np.float32)
    return result
