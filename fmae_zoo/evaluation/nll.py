"""The negative log-likelihood of the test images, estimated by importance sampling."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.arguments import check_integer
from fmae_zoo.evaluation.elbo import (
    BATCH,
    OF_LIKELIHOODS,
    images_of_likelihood,
    likelihood_words,
    with_fixed_sigma,
)
from fmae_zoo.evaluation.figure import GENERATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.objectives.likelihood import LikelihoodObjective
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder

SAMPLES = 5000
"""Number of codes drawn for each image."""

CHUNK = 1000
"""Number of codes decoded in one call; more do not fit in a CPU's cache."""


def nll(
    subject: Subject, samples: int = SAMPLES, images: int | None = None, chunk: int = CHUNK
) -> dict[str, Any] | None:
    """Return the negative log-likelihood in nats per image, and its standard error over images.

    The estimate for an image x is `-log mean_k p(x|z_k) p(z_k) / q(z_k|x)`, with codes z_k drawn
    from its posterior. Its expected value is at least `-log p(x)`, and approaches it with more
    codes (Burda et al. 2015, arXiv 1509.00519). The noise is numpy's, so that every backend has
    the same. A Bernoulli likelihood is computed on binarised images, a Gaussian one on unchanged
    images.

    Args:
        subject: Model and data.
        samples: Number of codes per image; published figures use 5,000.
        images: Number of test images to use, from the first; published figures use all.
        chunk: Number of codes decoded at a time, which bounds the memory and changes no number.

    Returns:
        The numbers; None if the objective has no likelihood, or the latent no densities.

    Raises:
        ArgumentError: A number is not an integer of 1 or more.
    """
    from scipy.special import logsumexp

    model = subject.model
    has_densities = "log_ratio" in model.spec.latent.gives
    if not isinstance(model.spec.objective, LikelihoodObjective) or not has_densities:
        return None
    for name, value in (("samples", samples), ("images", images), ("chunk", chunk)):
        if value is not None:
            check_integer(name, value, 1)
    objective = with_fixed_sigma(subject)
    read, targets = (each[:images] for each in images_of_likelihood(subject))
    labels = subject.test_labels
    parameters = model.posterior.predict(read, batch_size=BATCH, verbose=0)
    shared = model.spec.latent.shared_parameters(model.latent)
    # All parts have one size, so that a backend compiles only one step.
    size = math.ceil(samples / math.ceil(samples / chunk))
    step = _log_weights(model, objective, size)
    rng = np.random.default_rng(subject.seed)
    nats = np.empty(len(targets))
    for i, target in enumerate(targets):
        own = {name: values[i : i + 1] for name, values in parameters.items()} | shared
        label = None if labels is None else labels[i : i + 1]
        found = np.empty(samples)
        for start in range(0, samples, size):
            part = found[start : start + size]
            noise = np.zeros((1, size, model.spec.latent.draw_noise_size), np.float32)
            rng.standard_normal(dtype=np.float32, out=noise[0, : len(part)])
            part[:] = step(own, target[None], noise, label)[: len(part)]
        nats[i] = math.log(samples) - logsumexp(found)
        subject.advance(i + 1, len(targets))
    return {
        "nll": float(nats.mean()),
        "standard_error": float(nats.std(ddof=1) / math.sqrt(len(nats))) if len(nats) > 1 else 0.0,
        "samples": samples,
        "images": len(nats),
        **likelihood_words(objective),
        "latent_size": subject.latent_size,
    }


def _log_weights(model: "Autoencoder", objective: Any, size: int) -> Callable[..., np.ndarray]:
    """Return a function that gives `log p(x|z) p(z) / q(z|x)` for codes of an image: `(size,)`.

    It takes the posterior's parameters `(1, ...)`, the image `(1, height, width, channels)`, noise
    `(1, size, draw_noise_size)`, and the label `(1,)`, or None if the decoder reads no class.
    """
    from keras import ops, tree

    from fmae_zoo.inference import compiled

    def log_weights(parameters: Tensor, image: Tensor, noise: Tensor, label: Tensor) -> Tensor:
        draw = model.latent.draw(parameters, size, noise=noise)
        read = code = draw.code[0]
        if label is not None:
            read = {"code": code, "label": ops.repeat(label, size)}
        logits = model.decoder(read, training=False)
        return -objective.negative_log_likelihood(image, logits) - draw.log_ratio[0]

    def tensor_of(array: Any) -> Tensor:
        return None if array is None else ops.convert_to_tensor(array)

    call = compiled(log_weights)

    def called(*arrays: Any) -> np.ndarray:
        found: np.ndarray = ops.convert_to_numpy(call(*tree.map_structure(tensor_of, arrays)))
        return found

    return called


FIGURE = Figure(
    nll,
    (
        Protocol(
            ("nll",),
            "importance-weighted bound, 5,000 samples an image",
            "minus the logarithm of the mean of p(x|z) p(z) / q(z|x) over codes from the "
            f"posterior (Burda et al. 2015), on all test images. {OF_LIKELIHOODS}",
            GENERATION,
            (
                Measure(
                    "nll",
                    "negative log-likelihood",
                    "{:.2f}",
                    "nats an image",
                    column="NLL",
                    less_is_better=True,
                ),
            ),
            (Measure("standard_error", "its standard error over images", "{:.2f}", "nats"),),
        ),
    ),
    on_request=True,
)
