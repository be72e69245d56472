"""What is measured: one task of one entry, by one contestant, on one backend."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

import numpy as np

from fmae_zoo._backend import BACKENDS as BACKENDS

CONTESTANTS = ("fmae_zoo", "keras", "handwritten", "pythae")
PRECISIONS = ("float32", "mixed_bfloat16")
OF_PYTHAE = ("dense-ae", "dense-vae")
"""The entries that pythae is measured on, with PyTorch in float32."""


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        task: `train`, `encode` or `reconstruct`.
        entry: a registered name. Convolutional entries are trained with the squared error alone,
            so that every contestant computes the same.
        contestant: `fmae_zoo` as a user calls it, stock `keras`, the `handwritten` loop of the
            framework, or `pythae`'s own trainer.
        backend: the framework.
        precision: a Keras policy.
        batch_size: images in one step.
        threads: of the CPU; 0 leaves it to the framework.
        device: `cpu` or `gpu`.
    """

    task: str
    entry: str
    contestant: str
    backend: str
    precision: str = "float32"
    batch_size: int = 128
    threads: int = 0
    device: str = "cpu"

    @property
    def exists(self) -> bool:
        """Whether the contestant has the entry, on the backend and at the precision."""
        if self.contestant != "pythae":
            return True
        plain = self.backend == "torch" and self.precision == "float32"
        return plain and self.entry in OF_PYTHAE

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Read a case from the dictionary of one."""
        return cls(**content)

    def to_dict(self) -> dict[str, Any]:
        """Return the case as a dictionary."""
        return asdict(self)


class Contestant(Protocol):
    """One implementation of an entry, in a process of its own."""

    parameters: int
    """Number of trainable values."""

    def train(self, images: np.ndarray) -> float:
        """Train one epoch on uint8 `(n, 28, 28)` with Adam at 1e-3; return its mean loss.

        The loss is what the entry's objective sums over pixels and averages over the batch.
        Returns when the work is finished.
        """
        ...

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the codes of uint8 `(n, 28, 28)`, in batches, as a float32 array."""
        ...

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Return reconstructions `(n, 28, 28, 1)` in [0, 1], in batches, as a float32 array."""
        ...
