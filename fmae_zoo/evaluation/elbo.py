"""The ELBO and its terms on the test set."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.augmentation import held_out_binarised
from fmae_zoo.evaluation.figure import GENERATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.images import as_images
from fmae_zoo.objectives.likelihood import LEAST_SIGMA

if TYPE_CHECKING:
    from fmae_zoo.latents import Draw
    from fmae_zoo.objectives import Objective

BATCH = 500
ACTIVE_VARIANCE = 0.01
"""A latent value is active if its posterior mean has a greater variance over images than this.

Source: Burda et al. 2015, arXiv 1509.00519.
"""

OF_LIKELIHOODS = (
    "A Bernoulli likelihood is of binarised images, a Gaussian one of images as they are, and the "
    "two cannot be compared; an encoder that was trained on grey images reads grey ones. A sigma "
    "that in training was each batch's own, `optimal`, is the root mean squared error of the "
    "validation images"
)


def elbo(subject: Subject) -> dict[str, Any] | None:
    """Return ELBO, reconstruction and KL in nats per image, and the number of active values.

    There is one posterior sample per image, drawn by numpy, so that every backend has the same.
    A Bernoulli likelihood is computed on binarised images, a Gaussian one on unchanged images.
    Return None if the objective has no ELBO.
    """
    from keras import ops

    if "elbo" not in subject.model.spec.objective.figures:
        return None
    objective = with_fixed_sigma(subject)
    images, targets = images_of_likelihood(subject)
    totals = np.zeros(2)
    means = []
    for batch, draw, logits in drawn(subject, images, subject.test_labels):
        given = {"target": targets[batch]}
        terms = objective.terms(given, draw, logits[:, None], subject.model)
        sums = [ops.convert_to_numpy(terms[name]).sum() for name in ("reconstruction", "kl")]
        totals += np.array(sums)
        means.append(ops.convert_to_numpy(draw.extra["mean"]))
    loss, kl = totals / len(images)
    return {
        "elbo": float(-loss - kl),
        "reconstruction": float(loss),
        "kl": float(kl),
        **likelihood_words(objective),
        "active_values": int((np.concatenate(means).var(axis=0) > ACTIVE_VARIANCE).sum()),
        "latent_size": subject.latent_size,
    }


def images_of_likelihood(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    """Return the test images that the encoder reads, and those that the likelihood is computed for.

    For a Bernoulli likelihood the latter are binarised. The encoder then reads binarised images
    only if the recipe binarises: the ELBO is a bound whatever the posterior depends on.
    """
    spec = subject.model.spec
    objective: Any = spec.objective
    images = as_images(subject.data.test_images, spec.shape)
    if objective.likelihood != "bernoulli":
        return images, images
    binary = binarised_test(subject)
    return (binary if spec.recipe.binarise else images), binary


def binarised_test(subject: Subject) -> np.ndarray:
    """Return the test images, binarised with a fixed seed."""
    data, shape = subject.data, subject.model.spec.shape
    validation = as_images(data.train_images[data.split[1]], shape)
    return held_out_binarised(validation, as_images(data.test_images, shape))[1]


def drawn(
    subject: Subject, images: np.ndarray, labels: np.ndarray | None
) -> Iterator[tuple[slice, "Draw", np.ndarray]]:
    """Yield for each batch its slice, a code of each image with numpy's noise, and the logits."""
    from keras import ops

    model = subject.model
    rng = np.random.default_rng(subject.seed)
    for start in range(0, len(images), BATCH):
        batch = slice(start, start + BATCH)
        parameters = model.posterior.predict(images[batch], batch_size=BATCH, verbose=0)
        shape = (len(images[batch]), 1, model.spec.latent.draw_noise_size)
        noise = rng.standard_normal(shape).astype(np.float32)
        draw = model.latent.draw(parameters, noise=noise)
        code = ops.convert_to_numpy(draw.code[:, 0])
        read = code if labels is None else {"code": code, "label": labels[batch]}
        yield batch, draw, model.decoder.predict(read, batch_size=BATCH, verbose=0)


def with_fixed_sigma(subject: Subject) -> "Objective":
    """Return the model's objective, with a sigma that does not depend on the batch.

    For a Gaussian likelihood whose sigma is `optimal`, sigma becomes the root mean squared error of
    the validation images, with one posterior sample per image.
    """
    objective: Any = subject.model.spec.objective
    if objective.likelihood != "gaussian" or objective.sigma != "optimal":
        return objective
    from keras import ops

    validation = subject.data.train_images[subject.data.split[1]]
    images = as_images(validation, subject.model.spec.shape)
    total = 0.0
    for batch, _, logits in drawn(subject, images, subject.validation_labels):
        error = ops.convert_to_numpy(ops.sigmoid(logits)) - images[batch]
        total += float(np.square(error).sum(dtype=np.float64))
    sigma = max(LEAST_SIGMA, float(np.sqrt(total / images.size)))
    return objective.model_copy(update={"sigma": sigma})


def likelihood_words(objective: Any) -> dict[str, Any]:
    """Return the objective's likelihood, and its sigma if Gaussian, for the results."""
    sigma = {"sigma": objective.sigma} if objective.likelihood == "gaussian" else {}
    return {"likelihood": objective.likelihood, **sigma}


FIGURE = Figure(
    elbo,
    (
        Protocol(
            ("elbo",),
            "evidence lower bound, one posterior sample an image",
            f"the negative sum of its terms. {OF_LIKELIHOODS}",
            GENERATION,
            (Measure("elbo", "ELBO", "{:.2f}", "nats an image"),),
            (
                Measure(
                    "reconstruction",
                    "reconstruction term",
                    "{:.2f}",
                    "nats",
                    short="reconstruction",
                ),
                Measure("kl", "KL term", "{:.2f}", "nats", short="KL"),
                Measure("active_values", "active latent values", "{:,}"),
            ),
        ),
    ),
    is_quick=True,
)
