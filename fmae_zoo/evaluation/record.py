"""Writing measured figures into an entry's manifest."""

from pathlib import Path
from typing import Any

from fmae_zoo.data import Dataset
from fmae_zoo.errors import DataError
from fmae_zoo.manifest import environment
from fmae_zoo.registry import find_entry


def record_results(source: str | Path, results: dict[str, Any], data: Dataset) -> None:
    """Put figures into the manifest of an entry, beside those that are there already.

    Raises:
        DataError: they are of the small sample, or of other data than it was trained on.
        NoWeightsError: the entry was never trained.
    """
    if data.is_sample:
        raise DataError("figures of the sample are not written into a manifest")
    entry = find_entry(source)
    assert entry.folder is not None
    training = entry.manifest.training
    if training is not None and training.data_digest != data.digest:
        raise DataError(
            f"{entry.spec.full_name} was trained on {training.data_source}; figures of "
            f"{data.source} are not written into its manifest"
        )
    manifest = entry.manifest.model_copy(
        update={
            "results": {**entry.manifest.results, **results},
            "evaluation_environment": {**environment(), "data_digest": data.digest},
        }
    )
    manifest.write(entry.folder)


def record_seed(source: str | Path, seed: int, results: dict[str, Any]) -> None:
    """Put the figures of a training with another seed into the manifest of an entry."""
    entry = find_entry(source)
    assert entry.folder is not None
    seeds = {**entry.manifest.seeds, str(seed): results}
    entry.manifest.model_copy(update={"seeds": seeds}).write(entry.folder)
