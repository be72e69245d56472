"""Reconstruction error on the test images, compared with PCA of the same size."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.evaluation.figure import RECONSTRUCTION, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.images import as_images, shape_of
from fmae_zoo.objectives.principal_components import principal_components

if TYPE_CHECKING:
    from fmae_zoo.datasets import Dataset

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_BATCH = 1000


def reconstruction(subject: Subject) -> dict[str, Any] | None:
    """Return MSE and PSNR (dB) over pixels, SSIM, the latent size, and PCA's MSE at that size.

    PSNR is computed from the MSE over all images; it is not a mean over images. PCA's MSE may be
    None (see `pca_mse`). Return None if the loss is on hidden pixels alone (see `inpainting`):
    what is decoded for the visible pixels is then arbitrary.
    """
    if subject.model.spec.objective.reads_mask:
        return None
    images = as_images(subject.data.test_images, subject.model.spec.shape)
    decoded = subject.test_reconstructions
    return {
        **errors(images, decoded),
        "ssim": mean_ssim(images, decoded),
        "latent_size": subject.latent_size,
        "pca_mse": pca_mse(subject.data, subject.latent_size),
    }


def mean_squared(images: np.ndarray, others: np.ndarray) -> float:
    """Return the mean squared error over all values of two arrays of the same shape."""
    return float(np.mean(np.square(images - others), dtype=np.float64))


def errors(images: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Return `mse`, and `psnr` in dB, of images or some of their pixels, in [0, 1]."""
    mse = mean_squared(images, others)
    return {"mse": mse, "psnr": float(-10.0 * np.log10(mse))}


def mean_ssim(images: np.ndarray, others: np.ndarray) -> float:
    """Return the mean structural similarity of pairs of images in [0, 1].

    Images are `(n, height, width, channels)`. The mean is over channels and over the pixels around
    which the whole window lies inside the image. For an image smaller than the window, it is over
    the middle pixels, with the image mirrored at its border.

    Source: Wang et al. 2004, with its 11x11 Gaussian window of standard deviation 1.5.
    """
    side = min(images.shape[1:3])
    border = (min(SSIM_WINDOW, side - 1 + side % 2) - 1) // 2
    inside = slice(border, -border or None)
    means = []
    for start in range(0, len(images), SSIM_BATCH):
        x, y = (_planes(each[start : start + SSIM_BATCH]) for each in (images, others))
        means.append(_similarity(x, y)[:, inside, inside].mean(axis=(1, 2)))
    return float(np.concatenate(means).mean())


def _similarity(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the structural similarity around each pixel of images `(n, height, width)`."""
    from scipy.ndimage import gaussian_filter

    def mean(values: np.ndarray) -> np.ndarray:
        radius = (SSIM_WINDOW - 1) // 2
        found: np.ndarray = gaussian_filter(values, SSIM_SIGMA, radius=radius, axes=(1, 2))
        return found

    x_mean, y_mean = mean(x), mean(y)
    x_variance, y_variance = mean(x * x) - x_mean**2, mean(y * y) - y_mean**2
    covariance = mean(x * y) - x_mean * y_mean
    luminance = (2 * x_mean * y_mean + 0.01**2) / (x_mean**2 + y_mean**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (x_variance + y_variance + 0.03**2)
    similarity: np.ndarray = luminance * structure
    return similarity


def _planes(images: np.ndarray) -> np.ndarray:
    """Return each channel as an image of its own: `(n * channels, height, width)`."""
    return np.moveaxis(images, -1, 1).reshape(-1, *images.shape[1:3]).astype(np.float64)


def pca_mse(data: "Dataset", size: int) -> float | None:
    """Return the test MSE of PCA with `size` components fitted on the training images.

    Return None if `size` is at least the number of values in an image, or of training images.
    """
    shape = shape_of(data.train_images)
    values = math.prod(shape)
    if size >= min(values, len(data.train_images)):
        return None
    train = as_images(data.train_images, shape).reshape(-1, values)
    test = as_images(data.test_images, shape).reshape(-1, values)
    pca = principal_components(train, size)
    restored = pca.inverse_transform(pca.transform(test))
    return mean_squared(test, restored)


FIGURE = Figure(
    reconstruction,
    (
        Protocol(
            ("reconstruction",),
            "reconstruction from the latent mean",
            "images in [0, 1] against what is decoded from their latent means; SSIM has a Gaussian "
            "window (Wang et al. 2004)",
            RECONSTRUCTION,
            (
                Measure(
                    "mse",
                    "MSE, mean over pixels",
                    "{:.5f}",
                    column="MSE",
                    less_is_better=True,
                    in_seeds=True,
                ),
                Measure("psnr", "PSNR of that MSE", "{:.2f}", "dB", short="PSNR"),
                Measure("ssim", "SSIM", "{:.3f}", column="SSIM"),
            ),
            baselines=(
                Measure(
                    "pca_mse",
                    "MSE of PCA with as many values, fitted to training images",
                    "{:.5f}",
                ),
            ),
        ),
    ),
    is_quick=True,
)
