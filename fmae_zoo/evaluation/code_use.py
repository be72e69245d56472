"""How much of its code a model uses on the test set."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.evaluation.elbo import ACTIVE_VARIANCE, BATCH
from fmae_zoo.evaluation.figure import CODING, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.images import as_images

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder


def code_use(subject: Subject) -> dict[str, Any] | None:
    """Return how evenly discrete codes are used, and how many Gaussian values tell something.

    Of a latent that gives `index`: `perplexity`, the exponential of the entropy of a group's
    codes, and `codes_used`, of how many kinds they are; both as means over groups. Of one that
    gives `log_variance`: `active_values`, whose means vary by more than 0.01 (Burda et al. 2015,
    arXiv 1509.00519), and the `kl` to a standard normal in nats an image, also `kl_of_values`,
    the greatest first. None of other latents.
    """
    model, gives = subject.model, subject.model.spec.latent.gives
    result: dict[str, Any] = {}
    if not gives & {"index", "log_variance"}:
        return None
    images = as_images(subject.data.test_images, model.spec.shape)
    parameters = model.posterior.predict(images, batch_size=BATCH, verbose=0)
    if "index" in gives:
        index = np.concatenate([_index(model, parameters, i) for i in range(0, len(images), BATCH)])
        uses = [np.unique(group, return_counts=True)[1] / len(index) for group in index.T]
        result["perplexity"] = float(np.mean([np.exp(-np.sum(p * np.log(p))) for p in uses]))
        result["codes_used"] = float(np.mean([len(p) for p in uses]))
    if "log_variance" in gives:
        mean, log_variance = parameters["mean"], parameters["log_variance"]
        kl = 0.5 * np.mean(mean**2 + np.exp(log_variance) - 1.0 - log_variance, axis=0)
        result["active_values"] = int((mean.var(axis=0) > ACTIVE_VARIANCE).sum())
        result["kl"] = float(kl.sum())
        result["kl_of_values"] = sorted(map(float, kl), reverse=True)
    return {**result, "latent_size": subject.latent_size}


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
                Measure("perplexity", "perplexity of a group", "{:.2f}"),
                Measure("active_values", "active latent values", "{:,}"),
            ),
            (
                Measure("codes_used", "codes in use of a group, mean", "{:.1f}"),
                Measure("kl", "KL, sum over values", "{:.2f}", "nats"),
            ),
        ),
    ),
    is_quick=True,
)
