"""What samplers have in common."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

if TYPE_CHECKING:
    from fmae_zoo.layers.latent import LatentLayer


@dataclass(frozen=True)
class Sampler:
    """Base of all samplers: a density of codes, fitted after the training, and draws from it.

    A subclass is a frozen dataclass of float32 arrays, on which the draws depend; it has a `name`,
    and a line in `SAMPLERS`. It may be fitted by Keras; it draws by NumPy, so that its draws are
    the same on every backend.
    """

    name: ClassVar[str]

    @classmethod
    def fit(
        cls,
        codes: np.ndarray,
        latent: "LatentLayer",
        seed: int = 0,
        labels: np.ndarray | None = None,
    ) -> Self | None:
        """Return a sampler fitted to codes `(n, size)`; None where it does not suit them.

        Args:
            codes: of training images, as `encode` returns them, without noise.
            latent: that they are of; it says whether they are discrete (`kinds`).
            seed: of anything random.
            labels: where the decoder is told the class, which is each code's: `(n, classes)`, True
                or False. A sampler need not heed them.
        """
        raise NotImplementedError

    def codes(
        self, count: int, rng: np.random.Generator, labels: np.ndarray | None = None
    ) -> np.ndarray:
        """Return draws, float32 `(count, size)`; of the classes `(count,)` where there are some."""
        raise NotImplementedError

    @property
    def classes(self) -> int | None:
        """Number of classes that it draws codes of; None where it is of all images alike."""
        return None

    def shapes(self, size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that its arrays must have, for codes of `size` values, by name."""
        raise NotImplementedError

    def tensors(self) -> dict[str, np.ndarray]:
        """Return all that the draws depend on, by name: what a file holds."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def of(cls, tensors: dict[str, np.ndarray], size: int) -> Self:
        """Return the sampler of `tensors`.

        Args:
            tensors: by name, float32 or float16.
            size: of a code.

        Raises:
            ValueError: they are others, of other shapes, or no finite numbers.
        """
        names = {each.name for each in fields(cls)}
        if set(tensors) != names:
            raise ValueError(f"expected tensors {sorted(names)}; received {sorted(tensors)}")
        tensors = {
            name: tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor
            for name, tensor in tensors.items()
        }
        made: Any = cls(**tensors)
        expected = made.shapes(size)
        received = {name: tensor.shape for name, tensor in tensors.items()}
        if received != expected or not all(each.size for each in tensors.values()):
            raise ValueError(f"expected tensors of shapes {expected}; received {received}")
        if any(
            each.dtype != np.float32 or not np.isfinite(each).all() for each in tensors.values()
        ):
            raise ValueError("expected finite numbers, float32 or float16")
        return made
