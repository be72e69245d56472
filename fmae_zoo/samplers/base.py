"""The base class of all samplers."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

if TYPE_CHECKING:
    from fmae_zoo.layers.latent import LatentLayer


@dataclass(frozen=True)
class Sampler:
    """Base of all samplers: a density of codes, fitted after training, that codes are drawn from.

    A subclass is a frozen dataclass of the float32 arrays that its draws depend on. It has a
    `name`, and an entry in `SAMPLERS`. It may be fitted with Keras, but it draws with NumPy, so
    that the draws are the same on every backend.
    """

    name: ClassVar[str]

    @classmethod
    def fit(
        cls,
        codes: np.ndarray,
        latent: "LatentLayer",
        seed: int = 0,
        labels: np.ndarray | None = None,
        advance: Callable[[int, int], None] = lambda done, count: None,
    ) -> Self | None:
        """Return a sampler fitted to codes `(n, size)`, or None if it does not suit them.

        Args:
            codes: Codes of training images, as `encode` returns them, without noise.
            latent: Latent of the codes; its `kinds` says whether they are discrete.
            seed: Seed of everything random.
            labels: One-hot classes of the codes as booleans `(n, classes)` if the decoder is told
                the class, else None. A sampler may ignore them.
            advance: Function called with the number of finished steps and of all, if the sampler
                is fitted in several.
        """
        raise NotImplementedError

    def codes(
        self, count: int, rng: np.random.Generator, labels: np.ndarray | None = None
    ) -> np.ndarray:
        """Draw codes: float32 `(count, size)`; `labels` are their classes `(count,)`, if any."""
        raise NotImplementedError

    @property
    def classes(self) -> int | None:
        """Number of classes that it draws codes for; None if it does not distinguish classes."""
        return None

    def shapes(self, size: int) -> dict[str, tuple[int, ...]]:
        """Return by name the shapes that its arrays must have for codes of `size` values."""
        raise NotImplementedError

    def tensors(self) -> dict[str, np.ndarray]:
        """Return by name all arrays that the draws depend on, as a file stores them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def of(cls, tensors: dict[str, np.ndarray], size: int) -> Self:
        """Return the sampler made from `tensors`.

        Args:
            tensors: Arrays by name, float32 or float16.
            size: Number of values in a code.

        Raises:
            ValueError: If names, shapes or dtypes are wrong, or values are not finite.
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
