"""A benchmark case: one task of one entry, run by one contestant on one backend."""

from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

import numpy as np

from fmae_zoo._backend import BACKENDS as BACKENDS

CONTESTANTS = ("fmae_zoo", "keras", "handwritten", "pythae")
PRECISIONS = ("float32", "mixed_bfloat16")
OF_PYTHAE = ("dense-ae", "dense-vae")
"""Entries that pythae is measured on, with PyTorch in float32."""


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        task: `train`, `encode` or `reconstruct`.
        entry: Registered name. Its objective is replaced as in `benchmark_spec`, so that every
            contestant computes the same.
        contestant: `fmae_zoo` as a user calls it, stock `keras`, the framework's `handwritten`
            loop, or `pythae`'s own trainer.
        backend: Name of the framework.
        precision: Name of a Keras dtype policy.
        batch_size: Number of images in a step.
        threads: Number of CPU threads; 0 lets the framework choose.
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
        """Whether the contestant supports the entry, backend and precision."""
        if self.contestant != "pythae":
            return True
        plain = self.backend == "torch" and self.precision == "float32"
        return plain and self.entry in OF_PYTHAE

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the case that a dictionary of its fields describes."""
        return cls(**content)

    def to_dict(self) -> dict[str, Any]:
        """Return the case as a dictionary."""
        return asdict(self)


class Contestant(Protocol):
    """One implementation of an entry, which runs in its own process."""

    parameters: int
    """Number of trainable values."""

    def train(self, images: np.ndarray) -> float:
        """Train one epoch on uint8 `(n, 28, 28)` with Adam at 1e-3; return its mean loss.

        The loss is the benchmark objective, summed over pixels and averaged over images. The method
        returns when the device has finished.
        """
        ...

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the codes of uint8 `(n, 28, 28)`, in batches, as a float32 array."""
        ...

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Return reconstructions `(n, 28, 28, 1)` in [0, 1], in batches, as a float32 array."""
        ...
