"""Reconstruction of pixels of the test images that are hidden from the model."""

from typing import Any

import numpy as np

from fmae_zoo.augmentation import fixed_mask
from fmae_zoo.evaluation.figure import RECONSTRUCTION, Figure, Measure, Protocol
from fmae_zoo.evaluation.reconstruction import errors, mean_squared
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.images import as_images


def inpainting(subject: Subject) -> dict[str, Any] | None:
    """Return MSE and PSNR (dB) over hidden pixels, decoded from the visible ones.

    The recipe's mask hides the patches, drawn by numpy with a fixed seed. `mean_mse` is the MSE if
    each hidden pixel is replaced by the mean of the training images at its place. Return None if
    the loss is not on hidden pixels.
    """
    model, shape = subject.model, subject.model.spec.shape
    if not model.spec.objective.reads_mask:
        return None
    train, images = (
        as_images(each, shape) for each in (subject.data.train_images, subject.data.test_images)
    )
    mask = fixed_mask(len(images), shape, model.spec.recipe)
    hidden = mask.astype(bool)
    made = model.reconstruct(images, label=subject.test_labels, mask=mask)
    mean = np.broadcast_to(train.mean(axis=0), images.shape)
    return {
        **errors(images[hidden], made[hidden]),
        "mean_mse": mean_squared(images[hidden], mean[hidden]),
        "hidden": float(hidden.mean()),
        "latent_size": subject.latent_size,
    }


FIGURE = Figure(
    inpainting,
    (
        Protocol(
            ("inpainting",),
            "hidden pixels of the test images",
            "hidden pixels of images in [0, 1] against what is decoded from the codes of the "
            "patches that are seen, with the mask of the recipe (He et al. 2022)",
            RECONSTRUCTION,
            (
                Measure(
                    "mse",
                    "MSE of hidden pixels",
                    "{:.5f}",
                    short="MSE, hidden pixels",
                    less_is_better=True,
                ),
                Measure("psnr", "PSNR of that MSE", "{:.2f}", "dB", short="PSNR, hidden pixels"),
            ),
            baselines=(
                Measure("mean_mse", "MSE of the mean image", "{:.5f}", short="MSE, mean image"),
            ),
        ),
    ),
    is_quick=True,
)
