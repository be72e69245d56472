"""Reconstruction error on the test images, beside PCA with the same number of values."""

from typing import Any

import numpy as np

from fmae_zoo.component import IMAGE_SIZE
from fmae_zoo.data import Dataset
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.images import as_images


def reconstruction(subject: Subject) -> dict[str, Any]:
    """Return MSE and PSNR (dB) over pixels, SSIM, the latent size, and PCA's MSE at that size.

    PSNR is of the mean squared error over all images, not a mean over images. PCA's MSE is
    None where the code has as many values as the image has pixels, or more.
    """
    images = as_images(subject.data.test_images)
    decoded = subject.model.decode(subject.test_codes)
    mse = float(np.mean(np.square(images - decoded), dtype=np.float64))
    return {
        "mse": mse,
        "psnr": float(-10.0 * np.log10(mse)),
        "ssim": mean_ssim(images, decoded),
        "latent_size": subject.latent_size,
        "pca_mse": pca_mse(subject.data, subject.latent_size),
    }


def mean_ssim(images: np.ndarray, others: np.ndarray) -> float:
    """Return the mean structural similarity of pairs of images `(n, 28, 28, 1)` in [0, 1].

    Source: Wang et al. 2004, with its 11x11 Gaussian window of standard deviation 1.5.
    """
    from skimage.metrics import structural_similarity

    return float(
        np.mean(
            [
                structural_similarity(
                    image[..., 0],
                    other[..., 0],
                    data_range=1.0,
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                )
                for image, other in zip(images, others)
            ]
        )
    )


def pca_mse(data: Dataset, size: int) -> float | None:
    """Return the test MSE of PCA with `size` components fitted on the training images."""
    from sklearn.decomposition import PCA

    if size >= min(IMAGE_SIZE, len(data.train_images)):
        return None
    train = as_images(data.train_images).reshape(-1, IMAGE_SIZE)
    test = as_images(data.test_images).reshape(-1, IMAGE_SIZE)
    pca = PCA(size, svd_solver="covariance_eigh").fit(train)
    restored = pca.inverse_transform(pca.transform(test))
    return float(np.mean(np.square(test - restored), dtype=np.float64))
