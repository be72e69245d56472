"""The likelihood of a mixture, raised by expectation maximisation."""

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
"""Images in one product of matrices."""


class ExpectationMaximisation(ObjectiveComponent):
    """Negative ELBO of a mixture of Bernoullis, which is minus the log-likelihood itself.

    `log p(x) = log sum_k p(x|k) / K`: the code is the component k, one hot, each of weight `1/K`
    as the latent's prior has it; the decoder's logits are those of its pixels. Then `log p(x|k)`
    is an affine map of the pixels, and so the encoder gives the exact posterior. The terms are
    expectations over all components, not draws: `reconstruction` is `sum_k p(k|x) (-log p(x|k))`.

    `smoothing` is added to the counts of both values of each pixel in each component; it is the
    mode under a prior Beta(1 + smoothing, 1 + smoothing) of each probability.

    Source: Bishop 2006, "Pattern Recognition and Machine Learning", section 9.3.3; Juan and Vidal
    2004, "Bernoulli Mixture Models for Binary Images", ICPR.

    Attributes:
        likelihood: of binarised images; of grey ones the terms are a cross-entropy.
        smoothing: images, of each value, that are added to those of a component.
        iterations: at most.
        tolerance: nats an image; an iteration that gains less is the last.
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
        """Refuse codes of several categorical variables.

        Raises:
            ValueError: there are several.
        """
        latent: Any = spec.latent
        if latent.categories != latent.size:
            raise ValueError(
                f"latent.categories: {latent.categories}, but a mixture has one variable: expected "
                f"latent.size, {latent.size}"
            )

    def solve(self, model: "Autoencoder", images: np.ndarray, rng: np.random.Generator) -> None:
        """Give a model the mixture of images, with all the images in each iteration."""
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
    """Return kernel `(pixels, K)` and bias `(K,)` that make `log p(x|k)` of binary images x.

    Args:
        logits: of the pixels of each component, `(K, pixels)`.
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
    """Return the logits of a mixture of Bernoullis with equal weights, and what each step gained.

    It begins with random images, with probabilities between 1/4 and 3/4.

    Args:
        images: float32 in [0, 1], `(n, pixels)`.
        count: of components.
        rng: numpy's.
        smoothing, iterations, tolerance: as of the objective.

    Returns:
        The logits, float64 `(count, pixels)`; and the mean of `log p(x)` over images, plus the
        n-th part of the logarithm of the prior but for its constant, before each iteration. It
        never falls.
    """
    from threadpoolctl import threadpool_limits

    chosen = rng.choice(len(images), count, replace=len(images) < count)
    logits = np.log(3.0) * (2.0 * images[chosen].astype(np.float64) - 1.0)
    bounds: list[float] = []
    # With several threads the last digits depend on which is first.
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
