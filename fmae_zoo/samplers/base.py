"""What samplers have in common."""

from typing import ClassVar, Self

import numpy as np


class Sampler:
    """Base of all samplers: a density of codes, fitted after the training, and draws from it.

    A subclass has a `name`, and a line in `SAMPLERS`. It draws by NumPy, so that its draws are the
    same on every backend.
    """

    name: ClassVar[str]

    @classmethod
    def fit(cls, codes: np.ndarray, seed: int = 0) -> Self | None:
        """Return a sampler fitted to codes `(n, size)`; None where it does not suit them.

        Args:
            codes: of training images.
            seed: of anything random.
        """
        raise NotImplementedError

    def codes(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Return draws: float32 `(count, size)`."""
        raise NotImplementedError

    def tensors(self) -> dict[str, np.ndarray]:
        """Return all that the draws depend on."""
        raise NotImplementedError

    @classmethod
    def of(cls, tensors: dict[str, np.ndarray], size: int) -> Self:
        """Return the sampler of `tensors`.

        Args:
            tensors: by name.
            size: of a code.

        Raises:
            ValueError: they are others, or of other shapes.
        """
        raise NotImplementedError
