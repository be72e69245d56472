"""Samplers, which draw new codes as an alternative to a latent's own prior.

To add one, write a subclass of `Sampler`, whose docstring says what a subclass must have, in a file
of its own, and add it to `SAMPLERS`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fmae_zoo.errors import WeightsError
from fmae_zoo.samplers.autoregressive import Autoregressive
from fmae_zoo.samplers.base import Sampler
from fmae_zoo.samplers.mixture import Mixture
from fmae_zoo.samplers.two_stage import TwoStage

PRIOR = "prior"
"""Sampler name that stands for the latent's own prior."""

SAMPLERS: dict[str, type[Sampler]] = {
    each.name: each for each in (Mixture, TwoStage, Autoregressive)
}
"""All samplers that are fitted after training, by name."""


def tensors_of(samplers: Mapping[str, Sampler]) -> dict[str, np.ndarray]:
    """Return the tensors of all samplers by name, for example `gmm.means`."""
    return {
        f"{name}.{key}": tensor
        for name, sampler in samplers.items()
        for key, tensor in sampler.tensors().items()
    }


def samplers_of(tensors: dict[str, np.ndarray], size: int) -> dict[str, Sampler]:
    """Return samplers for codes of `size` values from the tensors that `tensors_of` returned.

    Raises:
        WeightsError: If the tensors are not those of known samplers for such codes.
    """
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, tensor in tensors.items():
        name, _, rest = key.partition(".")
        parts.setdefault(name, {})[rest] = tensor
    unknown = sorted(parts.keys() - SAMPLERS.keys())
    if unknown:
        raise WeightsError(
            f"there is no sampler {', '.join(unknown)}; expected some of {', '.join(SAMPLERS)}"
        )
    kinds = {name: kind for name, kind in SAMPLERS.items() if name in parts}
    try:
        return {name: kind.of(parts[name], size) for name, kind in kinds.items()}
    except ValueError as error:
        raise WeightsError(f"a sampler: {error}") from None


def read_samplers(path: Path, digest: str | None, size: int) -> dict[str, Sampler]:
    """Read samplers for codes of `size` values from a safetensors file.

    Raises:
        WeightsError: If the file is missing, damaged, has another digest or other content.
    """
    from fmae_zoo.weights import read_tensors

    try:
        return samplers_of(read_tensors(path, digest), size)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


__all__ = [
    "PRIOR",
    "SAMPLERS",
    "Autoregressive",
    "Mixture",
    "Sampler",
    "TwoStage",
    "read_samplers",
    "samplers_of",
    "tensors_of",
]
