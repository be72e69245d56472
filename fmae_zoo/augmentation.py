"""Augmentation of images with NumPy's generator, so it is the same on every backend."""

from typing import NamedTuple

import numpy as np

from fmae_zoo.component import Shape
from fmae_zoo.images import as_images, shape_of
from fmae_zoo.recipe import Noise, PatchMask, Recipe

BINARISATION_SEED = 777
MASK_SEED = 779
SHIFT = 14
"""Divisor of the shorter side that gives the largest shift in pixels, which is at least 1."""

ERASED_SIDES = (7, 2)
"""Divisors of the image's side that give the shortest and longest side of an erased rectangle."""


def augmented(images: np.ndarray, rng: np.random.Generator, convolutional: bool) -> np.ndarray:
    """Return images `(n, height, width, channels)` augmented for training a classifier.

    For a convolutional encoder they are shifted, mirrored and partly erased. For a dense encoder
    they are only mirrored, because it would have to learn every shift separately.
    """
    if convolutional:
        return erased(mirrored(shifted(images, rng), rng), rng)
    return mirrored(images, rng)


def mirrored(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return images `(n, height, width, ...)`, each mirrored left to right with probability 0.5."""
    chosen = rng.random(len(images)) < 0.5
    result = images.copy()
    result[chosen] = result[chosen, :, ::-1]
    return result


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return images `(n, height, width, channels)`, each shifted at random on both axes."""
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
    """Return images, some with a rectangle replaced by uniform noise in [0, 1).

    Source: Zhong et al. 2017, Random Erasing Data Augmentation, arXiv 1708.04896.

    Args:
        images: Images, float32 `(n, height, width, channels)`.
        rng: NumPy generator.
        share: Probability that an image gets a rectangle.
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


class EpochImages(NamedTuple):
    """Training images of one epoch.

    Attributes:
        inputs: Images that the model reads, float32 `(n, height, width, channels)`.
        targets: Images to reconstruct, of the same shape, in [0, 1].
        mask: uint8 `(n, height, width)`, 1 where a pixel is hidden; None if no pixel is hidden in
            this epoch.
    """

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray | None


def epoch_of(
    images: np.ndarray,
    recipe: Recipe,
    rng: np.random.Generator,
    epoch: int = 0,
    hidden: float = 0.0,
) -> EpochImages:
    """Return one epoch's inputs and targets: mirrored, binarised, noisy and masked by the recipe.

    Args:
        images: Grey images `(n, height, width)` or colour images `(n, height, width, 3)`, uint8,
            in the order of the epoch.
        recipe: Recipe of the training.
        rng: NumPy generator, so an epoch is the same on every backend.
        epoch: Number of the epoch, from 0; masks end with `recipe.mask.until`.
        hidden: Value of the input pixels that a mask hides.
    """
    if recipe.augment:
        images = mirrored(images, rng)
    if recipe.binarise:
        images = np.where(rng.integers(0, 255, images.shape) < images, np.uint8(255), np.uint8(0))
    shape = shape_of(images)
    inputs = targets = as_images(images, shape)
    if recipe.noise is not None:
        inputs = noisy(targets, recipe.noise, rng)
    if recipe.mask is None or epoch >= recipe.mask.until * recipe.epochs:
        return EpochImages(inputs, targets, None)
    mask = patch_mask(len(images), shape, recipe.mask, rng)
    return EpochImages(masked(inputs, mask, hidden), targets, mask)


def held_out_binarised(*held_out: np.ndarray) -> list[np.ndarray]:
    """Return held-out images in [0, 1], binarised with a fixed seed.

    They are float32, 0 or 1, drawn with NumPy's legacy generator. Pass the validation images
    first and the test images after them, as in the literature on binarised images.
    """
    rng = np.random.RandomState(BINARISATION_SEED)
    return [rng.binomial(1, images).astype(np.float32) for images in held_out]


def noisy(images: np.ndarray, noise: Noise, rng: np.random.Generator) -> np.ndarray:
    """Return images, float32 `(n, height, width, channels)` in [0, 1], with noise added."""
    if noise.type == "gaussian":
        result = rng.standard_normal(images.shape, dtype=np.float32)
        result *= np.float32(noise.amount)
        result += images
        return np.clip(result, 0.0, 1.0, out=result)
    drawn = rng.random(images.shape[:3], dtype=np.float32)[..., np.newaxis]
    result = np.where(drawn < noise.amount, np.float32(0.0), images)
    if noise.type == "salt_pepper":
        result = np.where(drawn < noise.amount / 2, np.float32(1.0), result)
    return result


def patch_mask(count: int, shape: Shape, mask: PatchMask, rng: np.random.Generator) -> np.ndarray:
    """Return a random mask, uint8 `(count, height, width)`: 1 in hidden patches, 0 elsewhere."""
    height, width, _ = shape
    rows, columns = (-(-side // mask.patch) for side in (height, width))
    blank = rng.random((count, rows, columns)) < mask.probability
    blank &= rng.random((count, 1, 1)) < mask.images
    blank = blank.astype(np.uint8)
    return blank.repeat(mask.patch, axis=1).repeat(mask.patch, axis=2)[:, :height, :width]


def fixed_mask(count: int, shape: Shape, recipe: Recipe) -> np.ndarray:
    """Return a mask as `patch_mask` draws it for the recipe, with a fixed seed."""
    assert recipe.mask is not None
    return patch_mask(count, shape, recipe.mask, np.random.default_rng(MASK_SEED))


def masked(images: np.ndarray, mask: np.ndarray, hidden: float) -> np.ndarray:
    """Return images `(n, height, width, channels)` with masked pixels set to `hidden`."""
    return np.where(mask[..., np.newaxis] != 0, np.float32(hidden), images)
