"""Augmentation of images, by numpy's generator: the same on every backend."""

import numpy as np

SHIFT = 14
"""An image is shifted by up to one in so many pixels of its shorter side, at least by one."""

ERASED_SIDES = (7, 2)
"""An erased rectangle has at least one in seven and at most one in two pixels of each side."""


def augmented(images: np.ndarray, rng: np.random.Generator, convolutional: bool) -> np.ndarray:
    """Return images `(n, height, width, channels)` as a classifier is trained on them.

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
    """Return images `(n, height, width, channels)`, each moved a little on each axis."""
    count, height, width, _ = images.shape
    most = max(1, min(height, width) // SHIFT)
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)))
    places = 2 * most + 1
    rows, columns = rng.integers(0, places, size=(2, count))
    result = np.empty_like(images)
    for row in range(places):
        for column in range(places):
            own = (rows == row) & (columns == column)
            result[own] = padded[own, row : row + height, column : column + width]
    return result


def erased(images: np.ndarray, rng: np.random.Generator, share: float = 0.5) -> np.ndarray:
    """Return images, in a share of them a rectangle of noise in [0, 1).

    Zhong et al. 2017, Random Erasing Data Augmentation, arXiv 1708.04896.

    Args:
        images: float32 `(n, height, width, channels)`.
        rng: numpy's.
        share: of the images.
    """
    count, height, width, channels = images.shape
    inside = rng.random((count, 1, 1)) < share
    for axis, extent in ((1, height), (2, width)):
        least, most = (max(1, extent // part) for part in ERASED_SIDES)
        sides = rng.integers(least, most + 1, size=count)
        starts = rng.integers(0, extent - sides + 1)
        places = np.arange(extent)
        inside_axis = (places >= starts[:, None]) & (places < (starts + sides)[:, None])
        inside = inside & np.expand_dims(inside_axis, 3 - axis)
    result = images.copy()
    result[inside] = rng.random((int(inside.sum()), channels), dtype=np.float32)
    return result
