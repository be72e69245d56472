"""Measures of how much of its code a model uses on the test set."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.evaluation.elbo import ACTIVE_VARIANCE, BATCH, binarised_test
from fmae_zoo.evaluation.figure import CODING, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.images import as_images
from fmae_zoo.looking import kl_of_values

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder


def code_use(subject: Subject) -> dict[str, Any] | None:
    """Return how evenly discrete codes are used, and how many Gaussian values carry information.

    A latent that gives `index` has `perplexity`, the exponential of the entropy of a group's codes,
    and `codes_used`, the number of distinct codes of a group; both are means over groups. A latent
    that gives `log_variance` has `active_values`, the number of values whose posterior mean has a
    variance above 0.01 over images (Burda et al. 2015, arXiv 1509.00519); `kl`, the divergence to a
    standard normal in nats per image; and `kl_of_values`, its parts, greatest first. Return None
    for other latents.
    """
    model, gives = subject.model, subject.model.spec.latent.gives
    result: dict[str, Any] = {}
    if not gives & {"index", "log_variance"}:
        return None
    if model.spec.recipe.binarise:
        images = binarised_test(subject)
    else:
        images = as_images(subject.data.test_images, model.spec.shape)
    parameters = model.posterior.predict(images, batch_size=BATCH, verbose=0)
    if "index" in gives:
        uses = uses_of_groups(model, parameters)
        result["perplexity"] = float(np.mean([perplexity(shares) for shares in uses]))
        result["codes_used"] = float(np.mean([len(shares) for shares in uses]))
    if "log_variance" in gives:
        mean, log_variance = parameters["mean"], parameters["log_variance"]
        kl = kl_of_values(mean, log_variance)
        result["active_values"] = int((mean.var(axis=0) > ACTIVE_VARIANCE).sum())
        result["kl"] = float(kl.sum())
        result["kl_of_values"] = sorted(map(float, kl), reverse=True)
    return {**result, "latent_size": subject.latent_size}


def uses_of_groups(model: "Autoencoder", parameters: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Return for each group of discrete codes the share of images that have each used code."""
    starts = range(0, len(parameters["mean"]), BATCH)
    index = np.concatenate([_index(model, parameters, start) for start in starts])
    return [np.unique(group, return_counts=True)[1] / len(index) for group in index.T]


def perplexity(shares: np.ndarray) -> float:
    """Return the exponential of the entropy of shares that add up to 1."""
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _index(model: "Autoencoder", parameters: dict[str, np.ndarray], start: int) -> np.ndarray:
    from keras import ops

    batch = {name: values[start : start + BATCH] for name, values in parameters.items()}
    index: np.ndarray = ops.convert_to_numpy(model.latent.draw(batch).extra["index"])
    return index


FIGURE = Figure(
    code_use,
    (
        Protocol(
            ("code_use",),
            "use of the code",
            "of the codes of all images, without noise. Perplexity is the exponential of the "
            "entropy of a group's codes, a mean over groups; a value is active where its mean "
            "varies by more than 0.01 (Burda et al. 2015); KL is to a standard normal",
            CODING,
            (
                Measure("perplexity", "perplexity of a group", "{:.2f}", short="perplexity"),
                Measure("active_values", "active latent values", "{:,}", short="active values"),
            ),
            (
                Measure(
                    "codes_used", "codes in use of a group, mean", "{:.1f}", short="codes used"
                ),
                Measure("kl", "KL, sum over values", "{:.2f}", "nats"),
            ),
        ),
    ),
    is_quick=True,
)
