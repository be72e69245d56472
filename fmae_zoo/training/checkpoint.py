"""Checkpoint of a training run: its whole state in one file, written after every epoch.

A checkpoint holds its own SHA-256, so a run never resumes from a damaged one.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from filelock import FileLock, Timeout
from pydantic import ConfigDict, NonNegativeInt, TypeAdapter

from fmae_zoo.errors import SpecError, TrainingError, WeightsError
from fmae_zoo.files import regular, remove_leftovers
from fmae_zoo.layout import CHECKPOINT_FILE
from fmae_zoo.spec import ModelSpec
from fmae_zoo.weights import assign_tensors, read_tensors, save_tensors, tensors_of

BEST_FILE = "best.safetensors"
LOCK_FILE = ".lock"


@dataclass
class Progress:
    """Progress of a run: its state besides the tensors.

    Attributes:
        fingerprint: Spec, seed, data digest and backend; a run resumes only if they are the same.
        epoch: Number of finished epochs.
        rows: One dictionary of figures for each finished epoch.
        best_epoch: Epoch, from 1, with the lowest validation loss; the last one for a model with a
            critic; 0 before the first.
        best_loss: Validation loss of the best epoch.
        seconds: Time spent training.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    fingerprint: dict[str, Any]
    epoch: NonNegativeInt = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: NonNegativeInt = 0
    best_loss: float = float("inf")
    seconds: float = 0.0


def state_of(model: Any) -> dict[str, Any]:
    """Return every variable that the next step depends on, including the optimizer's."""
    model_variables = [*model.trainable_variables, *model.non_trainable_variables]
    variables = {f"model.{i}.{v.name}": v for i, v in enumerate(model_variables)}
    if model.optimizer is not None:
        own = {f"optimizer.{i}.{v.name}": v for i, v in enumerate(model.optimizer.variables)}
        variables.update(own)
    return variables


def weights_of(model: Any) -> dict[str, Any]:
    """Return the weights of an autoencoder, which its folder keeps, by part and name."""
    return {
        f"{part}.{key}": variable
        for part, variables in model.parts().items()
        for key, variable in variables.items()
    }


def write_checkpoint(folder: Path, model: Any, progress: Progress) -> None:
    """Write the variables and the progress to one file, atomically."""
    _write(tensors_of(state_of(model)), folder / CHECKPOINT_FILE, json.dumps(asdict(progress)))


def write_best(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write the weights of the best epoch."""
    _write(tensors, folder / BEST_FILE)


def _write(tensors: dict[str, np.ndarray], path: Path, progress: str = "") -> None:
    save_tensors(tensors, path, {"progress": progress, "sha256": _digest(tensors, progress)})


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a file written by `_write`.

    Raises:
        WeightsError: The file is missing, damaged or altered.
    """
    tensors = read_tensors(path)
    metadata = _metadata(path)
    if metadata.get("sha256") != _digest(tensors, metadata.get("progress", "")):
        raise WeightsError(f"{path}: the file is damaged or altered: its SHA-256 is another")
    return tensors


def _metadata(path: Path) -> dict[str, str]:
    with safetensors.safe_open(regular(path), framework="numpy") as file:
        return file.metadata() or {}


def _digest(tensors: dict[str, np.ndarray], progress: str) -> str:
    digest = hashlib.sha256(progress.encode())
    for key in sorted(tensors):
        tensor = np.asarray(tensors[key], order="C")
        digest.update(f"{key} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


@contextmanager
def alone_in(folder: Path | None, resume: bool) -> Iterator[None]:
    """Lock a run's folder against other processes, and remove files that a killed one left.

    Raises:
        TrainingError: Another process trains in the folder, the folder cannot be written, or the
            folder of a run to resume does not exist.
    """
    if folder is None:
        yield
        return
    if resume and not folder.is_dir():
        raise TrainingError(f"{folder}: there is no such folder to resume from")
    lock = FileLock(folder / LOCK_FILE, blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise TrainingError(
            f"{folder}: another process is training here. Wait, or choose another output folder."
        ) from error
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written: {error}") from error
    try:
        remove_leftovers(folder)
        yield
    finally:
        lock.release()


@contextmanager
def writing(folder: Path, kept: int) -> Iterator[None]:
    """Turn an OSError into a TrainingError that says which checkpoint is kept.

    Args:
        folder: Folder that the block writes into.
        kept: Number of epochs in the checkpoint that stays intact; -1 if there is none.

    Raises:
        TrainingError: The disk is full or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        there = (
            f"The checkpoint of epoch {kept} is intact: make room and resume."
            if kept >= 0
            else "There is no earlier checkpoint."
        )
        raise TrainingError(f"{folder}: cannot be written: {error}. {there}") from error


def read_checkpoint(folder: Path, model: Any, fingerprint: dict[str, Any]) -> Progress:
    """Restore a model and its optimizer from a folder's checkpoint; return the progress.

    Raises:
        TrainingError: The checkpoint is damaged, or belongs to another run.
    """
    path = folder / CHECKPOINT_FILE
    try:
        tensors = _read(path)
    except WeightsError as error:
        raise TrainingError(f"{path}: not a whole checkpoint: {error}") from error
    progress = read_progress(folder)
    before, now = _flat(_completed(progress.fingerprint)), _flat(fingerprint)
    differences = [
        f"{key}: the checkpoint has {before.get(key)!r}, this run {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
    ]
    if differences:
        raise TrainingError(
            f"{path}: of another run, so it cannot be resumed exactly:\n  "
            + "\n  ".join(differences)
        )
    try:
        assign_tensors(state_of(model), tensors, str(path))
    except WeightsError as error:
        raise TrainingError(str(error)) from error
    return progress


def _completed(fingerprint: dict[str, Any]) -> dict[str, Any]:
    """Return a fingerprint with the defaults of keys that were added to specs after it."""
    try:
        spec = ModelSpec.from_dict(fingerprint["spec"])
    except (KeyError, SpecError):
        return fingerprint
    return fingerprint | {"spec": spec.model_dump(mode="json")}


def read_progress(folder: Path) -> Progress:
    """Return the progress stored in a folder's checkpoint.

    Raises:
        TrainingError: The checkpoint is missing or damaged.
    """
    path = folder / CHECKPOINT_FILE
    try:
        progress = TypeAdapter(Progress).validate_json(_metadata(path)["progress"])
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{path}: not a whole checkpoint: {error}") from error
    if not progress.best_epoch <= progress.epoch == len(progress.rows):
        raise TrainingError(f"{path}: not a whole checkpoint: its epochs contradict each other")
    return progress


def read_best(folder: Path) -> dict[str, np.ndarray]:
    """Return the weights of the best epoch.

    Raises:
        TrainingError: The weights are missing or damaged.
    """
    try:
        return _read(folder / BEST_FILE)
    except WeightsError as error:
        raise TrainingError(f"the weights of the best epoch cannot be read: {error}") from error


def _flat(content: Any, key: str = "") -> dict[str, Any]:
    """Return nested dictionaries and lists as one dictionary with dotted keys."""
    if isinstance(content, dict):
        pairs = list(content.items())
    elif isinstance(content, (list, tuple)):
        pairs = [(str(index), value) for index, value in enumerate(content)]
    else:
        return {key: content}
    return {
        path: value
        for name, part in pairs
        for path, value in _flat(part, f"{key}.{name}" if key else name).items()
    }


def history_csv(rows: list[dict[str, float]]) -> str:
    """Return the history as CSV text: a header, then one line for each epoch."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]) if rows else ["epoch"])
    writer.writeheader()
    writer.writerows({key: f"{value:.8g}" for key, value in row.items()} for row in rows)
    return buffer.getvalue()
