"""A Gaussian mixture of the codes."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from fmae_zoo.samplers.base import Sampler

COMPONENTS = 10
MAX_CODES = 20_000
"""Codes that the mixture is fitted to, at most."""

MAX_WIDTH = 256
"""Wider codes have covariances of too many values for so many codes."""

FLOOR = 1e-4
"""Added to each variance, as a share of the mean variance of the codes."""


@dataclass(frozen=True)
class Mixture(Sampler):
    """A mixture of Gaussians with full covariances, by expectation maximisation.

    Source: Ghosh et al. 2020, From Variational to Deterministic Autoencoders, arXiv 1903.12436.

    Attributes:
        weights: of the components `(k,)`; they sum to one.
        means: `(k, size)`.
        factors: Cholesky factors of the covariances `(k, size, size)`.
    """

    name: ClassVar[str] = "mixture"

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    @classmethod
    def fit(cls, codes: np.ndarray, seed: int = 0, components: int = COMPONENTS) -> Self | None:
        """Fit a mixture to the first 20,000 codes; None where they are wider than 256 values."""
        from sklearn.mixture import GaussianMixture

        if codes.shape[1] > MAX_WIDTH:
            return None
        codes = codes[:MAX_CODES].astype(np.float64)
        distinct = len(np.unique(codes[: 100 * components], axis=0))
        mixture = GaussianMixture(
            min(components, distinct),
            reg_covar=max(FLOOR * codes.var(axis=0).mean(), 1e-9),
            random_state=seed,
        ).fit(codes)
        factors = np.linalg.cholesky(mixture.covariances_)
        # As they are kept, so that a mixture that was kept draws the same.
        return cls(
            *(each.astype("float32") for each in (mixture.weights_, mixture.means_, factors))
        )

    def codes(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return draws: float32 `(count, size)`."""
        shares = self.weights.astype(np.float64)
        chosen = rng.choice(len(shares), size=count, p=shares / shares.sum())
        codes = rng.standard_normal((count, self.means.shape[1]))
        for component, (mean, factor) in enumerate(zip(self.means, self.factors)):
            own = chosen == component
            codes[own] = mean + codes[own] @ factor.T
        return codes.astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return weights, means and factors, float32."""
        return {"weights": self.weights, "means": self.means, "factors": self.factors}

    @classmethod
    def of(cls, tensors: dict[str, np.ndarray], size: int) -> Self:
        """Return the mixture of `tensors`."""
        count = tensors["weights"].size if "weights" in tensors else 0
        expected = {"weights": (count,), "means": (count, size), "factors": (count, size, size)}
        received = {name: tensor.shape for name, tensor in tensors.items()}
        if not count or received != expected:
            raise ValueError(f"expected tensors of shapes {expected}; received {received}")
        if any(
            each.dtype != np.float32 or not np.isfinite(each).all() for each in tensors.values()
        ):
            raise ValueError("expected finite numbers, float32")
        weights = tensors["weights"]
        if weights.min() < 0.0 or not np.isclose(weights.sum(), 1.0):
            raise ValueError("expected weights that sum to one")
        return cls(weights, tensors["means"], tensors["factors"])
