"""The likelihood of a mixture, maximised by expectation maximisation."""

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fmae_zoo.component import Affine
from fmae_zoo.objectives.base import Batch, ObjectiveComponent
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw
    from fmae_zoo.spec import ModelSpec

BATCH = 5_000
"""Number of images in one matrix product."""


class ExpectationMaximisation(ObjectiveComponent):
    """Negative ELBO of a mixture of Bernoullis, equal to the negative log-likelihood.

    `log p(x) = log sum_k p(x|k) / K`: the code is the component k, one hot, and each component has
    the weight `1/K`, as in the latent's prior. The decoder maps k to the logits of its pixels.
    `log p(x|k)` is then an affine map of the pixels, so the encoder computes the exact posterior.
    The terms are expectations over all components, not samples: `reconstruction` is
    `sum_k p(k|x) (-log p(x|k))`.

    `smoothing` is added to the counts of both values of each pixel in each component. Each
    probability is then its posterior mode under the prior Beta(1 + smoothing, 1 + smoothing).

    Source: Bishop 2006, "Pattern Recognition and Machine Learning", section 9.3.3; Juan and Vidal
    2004, "Bernoulli Mixture Models for Binary Images", ICPR.

    Attributes:
        likelihood: Likelihood of binarised images; for grey images the terms are a cross-entropy.
        smoothing: Number of images that is added to each count.
        iterations: Largest number of iterations.
        tolerance: Gain in nats per image; the iterations end once one gains less.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"log_probabilities", "kl"})
    figures: ClassVar[frozenset[str]] = frozenset({"elbo"})
    solves: ClassVar[Affine | None] = "logits"
    term_names: ClassVar[tuple[str, ...]] = ("reconstruction", "kl")
    loss_label: ClassVar[str] = "negative log-likelihood, nats"

    type: Literal["expectation_maximisation"]
    likelihood: Literal["bernoulli"] = "bernoulli"
    smoothing: float = Field(default=1.0, gt=0.0, le=1e6)
    iterations: int = Field(default=50, ge=1, le=10_000)
    tolerance: float = Field(default=1e-3, ge=0.0, le=1e6)

    def check(self, spec: "ModelSpec") -> None:
        """Raise an error if a code has several categorical variables.

        Raises:
            ValueError: A code has several.
        """
        latent: Any = spec.latent
        if latent.categories != latent.size:
            raise ValueError(
                f"latent.categories: {latent.categories}, but a mixture has one variable: expected "
                f"latent.size, {latent.size}"
            )

    def solve(self, model: "Autoencoder", images: np.ndarray, rng: np.random.Generator) -> None:
        """Set the weights of a model to the mixture fitted to all images in each iteration."""
        logits, _ = expectation_maximisation(
            images.reshape(len(images), -1),
            model.spec.latent.size,
            rng,
            self.smoothing,
            self.iterations,
            self.tolerance,
        )
        model.posterior.set_weights(log_likelihood_of(logits))
        model.decoder.set_weights([logits, np.zeros(logits.shape[1])])

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the expected reconstruction and the KL of each image, `(n,)`, in nats."""
        from keras import ops

        components = model.decoder(ops.eye(model.spec.latent.size))
        components = ops.reshape(components, (-1, math.prod(model.spec.shape)))
        images = ops.reshape(batch["target"], (-1, components.shape[1]))
        offsets = ops.sum(ops.softplus(components), axis=1)
        losses = offsets - ops.matmul(images, ops.transpose(components))
        expected = ops.sum(draw.extra["mean"] * losses, axis=1)
        return {"reconstruction": expected, "kl": draw.kl}


def log_likelihood_of(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel `(pixels, K)` and bias `(K,)` of the affine map from binary x to `log p(x|k)`.

    Args:
        logits: Logits of the pixels of each component, `(K, pixels)`.
    """
    return logits.T, -np.logaddexp(0.0, logits).sum(axis=1)


def expectation_maximisation(
    images: np.ndarray,
    count: int,
    rng: np.random.Generator,
    smoothing: float = 1.0,
    iterations: int = 50,
    tolerance: float = 1e-3,
) -> tuple[np.ndarray, list[float]]:
    """Return the logits of a mixture of Bernoullis with equal weights, and the course of the fit.

    The components start as random images, with pixel values scaled to between 1/4 and 3/4.

    Args:
        images: Images, float32 in [0, 1], `(n, pixels)`.
        count: Number of components.
        rng: NumPy generator that chooses the first images.
        smoothing, iterations, tolerance: As in `ExpectationMaximisation`.

    Returns:
        The logits, float64 `(count, pixels)`; and the objective before each iteration, which never
        decreases: the mean of `log p(x)` over images, plus 1/n of the log-prior without its
        constant.
    """
    from threadpoolctl import threadpool_limits

    chosen = rng.choice(len(images), count, replace=len(images) < count)
    logits = np.log(3.0) * (2.0 * images[chosen].astype(np.float64) - 1.0)
    bounds: list[float] = []
    # With several threads the order of sums, and so the last digits, would vary between runs.
    with threadpool_limits(1):
        for _ in range(iterations):
            kernel, bias = log_likelihood_of(logits)
            kernel = kernel.astype(np.float32)
            prior = -np.logaddexp(0.0, logits) - np.logaddexp(0.0, -logits)
            bound, totals, ones = smoothing * prior.sum(), np.zeros((count, 1)), 0.0 * logits
            for start in range(0, len(images), BATCH):
                batch = images[start : start + BATCH]
                scores = batch @ kernel + bias
                most = scores.max(axis=1, keepdims=True)
                shares = np.exp(scores - most)
                total = shares.sum(axis=1, keepdims=True)
                shares /= total
                bound += (most + np.log(total)).sum()
                totals += shares.sum(axis=0)[:, np.newaxis]
                ones += shares.T.astype(np.float32) @ batch
            bounds.append(float(bound / len(images)) - math.log(count))
            zeros = np.maximum(totals - ones, 0.0)
            logits = np.log(ones + smoothing) - np.log(zeros + smoothing)
            if len(bounds) > 1 and bounds[-1] - bounds[-2] < tolerance:
                break
    return logits, bounds
