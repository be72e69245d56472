"""Augmentation of the images on which a whole classifier is trained."""

import numpy as np

MAX_SHIFT = 2
"""Pixels by which `shifted_and_mirrored` moves an image, at most."""

ERASED_SIDES = (4, 14)
"""Shortest and longest side of an erased rectangle, in pixels."""


def shifted_and_mirrored(
    images: np.ndarray, rng: np.random.Generator, shift: int = MAX_SHIFT
) -> np.ndarray:
    """Return images `(n, 28, 28, 1)`, half of them mirrored, each moved by up to `shift` pixels."""
    count, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)))
    places = 2 * shift + 1
    rows, columns = rng.integers(0, places, size=(2, count))
    result = np.empty_like(images)
    for row in range(places):
        for column in range(places):
            own = (rows == row) & (columns == column)
            result[own] = padded[own, row : row + height, column : column + width]
    mirrored = rng.random(count) < 0.5
    result[mirrored] = result[mirrored, :, ::-1]
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
