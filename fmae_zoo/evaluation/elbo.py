"""The ELBO and its terms on the test set."""

from typing import Any

import numpy as np
from keras import ops

from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.images import as_images
from fmae_zoo.objectives import ELBO

BINARISATION_SEED = 777
BATCH = 500
ACTIVE_VARIANCE = 0.01
"""A latent value is active if its posterior mean varies more than this.

Source: Burda et al. 2015, arXiv 1509.00519.
"""


def elbo(subject: Subject) -> dict[str, Any] | None:
    """Return ELBO, reconstruction and KL in nats an image, and the number of active values.

    One posterior sample an image, drawn by numpy, so that every backend has the same.
    A Bernoulli likelihood is of binarised images, a Gaussian one of the grey images.
    """
    objective = subject.model.spec.objective
    if not isinstance(objective, ELBO):
        return None
    images = as_images(subject.data.test_images)
    if objective.likelihood == "bernoulli":
        images = binarised_test(subject)
    rng = np.random.default_rng(subject.seed)
    totals = np.zeros(2)
    means = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        parameters = subject.model.posterior.predict(batch, batch_size=BATCH, verbose=0)
        noise = rng.standard_normal(parameters["mean"].shape).astype(np.float32)
        code = parameters["mean"] + np.exp(parameters["log_variance"] / 2) * noise
        logits = subject.model.decoder.predict(code, batch_size=BATCH, verbose=0)
        terms = objective.terms(batch, {**parameters, "logits": logits})
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
    validation = as_images(subject.data.train_images[subject.data.split[1]])
    rng.binomial(1, validation)
    return rng.binomial(1, as_images(subject.data.test_images)).astype(np.float32)
