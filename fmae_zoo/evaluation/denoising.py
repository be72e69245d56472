"""Reconstruction of the test images from noisy ones."""

from typing import Any

import numpy as np

from fmae_zoo.augmentation import noisy
from fmae_zoo.evaluation.figure import RECONSTRUCTION, Figure, Measure, Protocol
from fmae_zoo.evaluation.reconstruction import errors, mean_squared
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.images import as_images

NOISE_SEED = 778


def denoising(subject: Subject) -> dict[str, Any] | None:
    """Return MSE and PSNR (dB) of reconstructions from noisy images, against the clean images.

    The noise is the recipe's, drawn by numpy with a fixed seed. `noisy_mse` is the MSE of the noisy
    images themselves. Return None if the recipe has no noise.
    """
    noise = subject.model.spec.recipe.noise
    if noise is None:
        return None
    clean = as_images(subject.data.test_images, subject.model.spec.shape)
    inputs = noisy(clean, noise, np.random.default_rng(NOISE_SEED))
    decoded = subject.model.reconstruct(inputs, label=subject.test_labels)
    return {
        **errors(clean, decoded),
        "noisy_mse": mean_squared(clean, inputs),
        "noise": noise.type,
        "amount": noise.amount,
        "latent_size": subject.latent_size,
    }


FIGURE = Figure(
    denoising,
    (
        Protocol(
            ("denoising",),
            "reconstruction of noisy images",
            "clean images in [0, 1] against what is decoded from the latent means of noisy ones, "
            "with the noise of the recipe",
            RECONSTRUCTION,
            (
                Measure(
                    "mse",
                    "MSE to the clean images, mean over pixels",
                    "{:.5f}",
                    short="MSE, denoised",
                    less_is_better=True,
                ),
                Measure("psnr", "PSNR of that MSE", "{:.2f}", "dB", short="PSNR, denoised"),
            ),
            baselines=(
                Measure("noisy_mse", "MSE of the noisy images", "{:.5f}", short="MSE, noisy"),
            ),
        ),
    ),
    is_quick=True,
)
