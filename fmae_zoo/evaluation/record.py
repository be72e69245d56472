"""Writing of measured figures into an entry's manifest."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmae_zoo.datasets import Dataset
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, DataError
from fmae_zoo.evaluation import FIGURES
from fmae_zoo.layout import SAMPLERS_FILE
from fmae_zoo.manifest import EvaluationRecord, SeedRecord, TrainingRecord, environment
from fmae_zoo.registry import find_entry
from fmae_zoo.samplers import tensors_of
from fmae_zoo.saving import prepared, record_files
from fmae_zoo.weights import save_tensors

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder


def record_results(
    source: str | Path, results: dict[str, Any], data: Dataset, seed: int = 0
) -> None:
    """Add figures to the manifest of an entry; other figures in it stay.

    Args:
        source: Registered name or folder.
        results: Figures, as `evaluate` returned them.
        data: Data set they were measured on.
        seed: Seed they were measured with.

    Raises:
        DataError: The data is the small sample, or not what the model was trained on.
        NoWeightsError: The entry was never trained.
        ArgumentError: The entry is on the Hub.
    """
    entry = find_entry(source)
    check_data(entry, data)
    manifest = entry.manifest
    _update(
        entry,
        results={**manifest.results, **results},
        evaluations={**manifest.evaluations, **_described(results, data, seed)},
    )


def record_seed(
    source: str | Path, training: TrainingRecord, results: dict[str, Any], data: Dataset
) -> None:
    """Add a training with another seed, and its figures, to the manifest of an entry.

    Raises:
        DataError, NoWeightsError, ArgumentError: As `record_results`.
    """
    entry = find_entry(source)
    check_data(entry, data)
    record = SeedRecord(training=training, results=results, evaluations=_described(results, data))
    _update(entry, seeds={**entry.manifest.seeds, str(training.seed): record})


def record_samplers(source: str | Path, model: "Autoencoder") -> None:
    """Write the samplers of a model into its entry, and the name of the default one.

    Figures that depend on samplers are removed, because they were measured with the earlier ones.

    Raises:
        NoWeightsError: The entry was never trained.
        ArgumentError: The entry is on the Hub.
        OSError: The folder cannot be written.
    """
    entry = find_entry(source)
    _check_writable(entry)
    assert entry.folder is not None
    old = entry.manifest
    files = {name: record for name, record in old.files.items() if name != SAMPLERS_FILE}
    gone = {name for name, figure in FIGURES.items() if figure.of_samplers}
    with prepared(entry.folder) as new:
        if model.fitted:
            save_tensors(tensors_of(model.fitted), new / SAMPLERS_FILE)
        changes = {
            "sampler": model.sampler or "",
            "files": {**files, **record_files(new, old).files},
            "results": {k: v for k, v in old.results.items() if k not in gone},
            "evaluations": {k: v for k, v in old.evaluations.items() if k not in gone},
        }
        old.model_copy(update=changes).write(new)


def check_data(entry: Entry, data: Dataset) -> None:
    """Raise an error if figures of this data do not belong in an entry's manifest.

    Raises:
        DataError, NoWeightsError, ArgumentError: As `record_results`.
    """
    _check_writable(entry)
    if data.is_sample:
        raise DataError("figures of the sample are not written into a manifest")
    training = entry.manifest.training
    if training is not None and training.data_digest != data.digest:
        raise DataError(
            f"{entry.spec.full_name} was trained on {training.data_source}; figures of "
            f"{data.source} are not written into its manifest"
        )


def _check_writable(entry: Entry) -> None:
    if entry.read_only:
        raise ArgumentError(
            f"{entry.folder}: a copy of what is on the Hub; nothing is written into it. Get one of "
            "your own with: fmae pull hf://NAMESPACE/NAME -o FOLDER"
        )


def _described(
    results: dict[str, Any], data: Dataset, seed: int = 0
) -> dict[str, EvaluationRecord]:
    how = EvaluationRecord(seed=seed, data_digest=data.digest, environment=environment())
    return dict.fromkeys(results, how)


def _update(entry: Entry, **changes: Any) -> None:
    assert entry.folder is not None
    entry.manifest.model_copy(update=changes).write(entry.folder)
