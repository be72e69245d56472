"""A Gaussian mixture fitted to the codes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from fmae_zoo.samplers.base import Sampler

if TYPE_CHECKING:
    from fmae_zoo.layers.latent import LatentLayer

COMPONENTS = 40
MAX_CODES = 50_000
"""Maximum number of codes that the mixture is fitted to."""

MAX_NUMBERS = 2**18
"""Maximum number of values in all covariances; mixtures of wider codes have fewer components."""

MAX_WIDTH = 256
"""Maximum number of values in a code; wider covariances are too large for so few codes."""

FLOOR = 1e-4
"""Added to each variance, as a fraction of the mean variance of the codes."""


@dataclass(frozen=True)
class Mixture(Sampler):
    """A mixture of Gaussians with full covariances, fitted by expectation maximisation.

    If the decoder is told the class, each class has its own components.

    Source: Ghosh et al. 2020, From Variational to Deterministic Autoencoders, arXiv 1903.12436.

    Attributes:
        weights: Weights of the components, `(k,)`, or with classes a row for each, `(classes, k)`;
            they sum to one.
        means: Means of the components, `(k, size)`.
        factors: Cholesky factors of the covariances, `(k, size, size)`.
    """

    name: ClassVar[str] = "gmm"

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    @classmethod
    def fit(
        cls,
        codes: np.ndarray,
        latent: "LatentLayer",
        seed: int = 0,
        labels: np.ndarray | None = None,
        advance: Callable[[int, int], None] = lambda done, count: None,
    ) -> Self | None:
        """Fit a mixture of at most 40 components to the first 50,000 codes.

        Return None if codes have more than 256 values, or are discrete: draws would lie between
        codes, where the decoder was not trained, and draws moved to the nearest codes would not
        follow their distribution.
        """
        from scipy.linalg import block_diag

        if latent.kinds or codes.shape[1] > MAX_WIDTH:
            return None
        codes = codes[:MAX_CODES].astype(np.float64)
        most = min(COMPONENTS, MAX_NUMBERS // codes.shape[1] ** 2)
        if labels is None:
            return cls(*_fitted(codes, most, seed))
        most = max(most // labels.shape[1], 1)
        own = [codes[of_class] for of_class in labels[:MAX_CODES].T]
        # A class with fewer than two codes gets the mixture of all codes.
        parts = []
        for done, each in enumerate(own):
            advance(done, len(own))
            parts.append(_fitted(each if len(each) > 1 else codes, most, seed))
        weights, means, factors = zip(*parts)
        return cls(block_diag(*weights), np.concatenate(means), np.concatenate(factors))

    def codes(
        self, count: int, rng: np.random.Generator, labels: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw codes: float32 `(count, size)`; `labels` are their classes `(count,)`, if any."""
        # The first component whose cumulative weight exceeds a uniform random number.
        bounds = np.cumsum(self.weights, axis=-1, dtype=np.float64)
        bounds = bounds if self.classes is None else bounds[labels]
        chosen = np.sum(rng.random((count, 1)) * bounds[..., -1:] >= bounds, axis=-1)
        codes = rng.standard_normal((count, self.means.shape[1]))
        for component, (mean, factor) in enumerate(zip(self.means, self.factors)):
            own = chosen == component
            codes[own] = mean + codes[own] @ factor.T
        return codes.astype(np.float32)

    @property
    def classes(self) -> int | None:
        """Number of classes; None if the mixture does not distinguish classes."""
        return len(self.weights) if self.weights.ndim > 1 else None

    def shapes(self, size: int) -> dict[str, tuple[int, ...]]:
        """Return the expected shapes of weights, means and factors."""
        count = len(self.means)
        return {
            "weights": (*self.weights.shape[:-1], count),
            "means": (count, size),
            "factors": (count, size, size),
        }

    @classmethod
    def of(cls, tensors: dict[str, np.ndarray], size: int) -> Self:
        """Return the mixture made from `tensors`, as `Sampler.of`."""
        mixture = super().of(tensors, size)
        if mixture.weights.min() < 0.0 or not np.allclose(mixture.weights.sum(axis=-1), 1.0):
            raise ValueError("expected weights that sum to one")
        return mixture


def _fitted(codes: np.ndarray, most: int, seed: int) -> list[np.ndarray]:
    """Return weights, means and factors of a mixture with at most `most` components."""
    from sklearn.mixture import GaussianMixture

    distinct = len(np.unique(codes[: 100 * most], axis=0))
    mixture = GaussianMixture(
        min(most, distinct),
        reg_covar=max(FLOOR * codes.var(axis=0).mean(), 1e-9),
        random_state=seed,
    ).fit(codes)
    factors = np.linalg.cholesky(mixture.covariances_)
    # float32 as in the file, so that a saved mixture draws the same codes.
    return [each.astype(np.float32) for each in (mixture.weights_, mixture.means_, factors)]
