"""The ELBO and its terms on the test set."""

from typing import Any

import numpy as np

from fmae_zoo.evaluation.figure import GENERATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.images import as_images

BINARISATION_SEED = 777
BATCH = 500
ACTIVE_VARIANCE = 0.01
"""A latent value is active if its posterior mean varies more than this.

Source: Burda et al. 2015, arXiv 1509.00519.
"""


def elbo(subject: Subject) -> dict[str, Any] | None:
    """Return ELBO, reconstruction and KL in nats an image, and the number of active values.

    One posterior sample an image, drawn by numpy, so that every backend has the same.
    A Bernoulli likelihood is of binarised images, a Gaussian one of the images as they are.
    """
    from keras import ops

    model = subject.model
    objective: Any = model.spec.objective
    if "elbo" not in objective.figures:
        return None
    images, labels = as_images(subject.data.test_images, model.spec.shape), subject.test_labels
    if objective.likelihood == "bernoulli":
        images = binarised_test(subject)
    rng = np.random.default_rng(subject.seed)
    totals = np.zeros(2)
    means = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        parameters = model.posterior.predict(batch, batch_size=BATCH, verbose=0)
        shape = (len(batch), 1, model.spec.latent.draw_noise_size)
        noise = rng.standard_normal(shape).astype(np.float32)
        draw = model.latent.draw(parameters, noise=noise)
        code = ops.convert_to_numpy(draw.code[:, 0])
        read = code if labels is None else {"code": code, "label": labels[start : start + BATCH]}
        logits = model.decoder.predict(read, batch_size=BATCH, verbose=0)
        terms = objective.terms({"target": batch}, draw, logits[:, None], model)
        sums = [ops.convert_to_numpy(terms[name]).sum() for name in ("reconstruction", "kl")]
        totals += np.array(sums)
        means.append(parameters["mean"])
    loss, kl = totals / len(images)
    return {
        "elbo": float(-loss - kl),
        "reconstruction": float(loss),
        "kl": float(kl),
        "likelihood": objective.likelihood,
        "active_values": int((np.concatenate(means).var(axis=0) > ACTIVE_VARIANCE).sum()),
        "latent_size": subject.latent_size,
    }


def binarised_test(subject: Subject) -> np.ndarray:
    """Return the test images binarised once and for all: validation is drawn first, then test."""
    rng = np.random.RandomState(BINARISATION_SEED)
    shape = subject.model.spec.shape
    rng.binomial(1, as_images(subject.data.train_images[subject.data.split[1]], shape))
    return rng.binomial(1, as_images(subject.data.test_images, shape)).astype(np.float32)


FIGURE = Figure(
    elbo,
    (
        Protocol(
            ("elbo",),
            "evidence lower bound, one posterior sample an image",
            "the negative sum of its terms. A Bernoulli likelihood is of binarised images, a "
            "Gaussian one of images as they are, and the two cannot be compared",
            GENERATION,
            (Measure("elbo", "ELBO", "{:.2f}", "nats an image"),),
            (
                Measure("reconstruction", "reconstruction term", "{:.2f}", "nats"),
                Measure("kl", "KL term", "{:.2f}", "nats"),
                Measure("active_values", "active latent values", "{:,}"),
            ),
        ),
    ),
    is_quick=True,
)
