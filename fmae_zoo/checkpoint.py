"""The state of a training run in one file, written after every epoch."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from fmae_zoo.errors import TrainingError, WeightsError
from fmae_zoo.weights import assign_tensors, read_tensors, save_tensors

CHECKPOINT_FILE = "checkpoint.safetensors"
BEST_FILE = "best.safetensors"


@dataclass
class Progress:
    """What a run knows besides its tensors.

    Attributes:
        fingerprint: of spec, seed, data and backend; a run resumes only with the same.
        epoch: epochs finished.
        rows: one dictionary of figures for each of them.
        best_epoch: the epoch, from 1, with the lowest validation loss.
        best_loss: that loss.
        seconds: spent training.
    """

    fingerprint: dict[str, Any]
    epoch: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = float("inf")
    seconds: float = 0.0


def state_of(model: Any) -> dict[str, Any]:
    """Return every variable that the next step depends on, the optimizer's included."""
    model_variables = [*model.trainable_variables, *model.non_trainable_variables]
    variables = {f"model.{i}.{v.name}": v for i, v in enumerate(model_variables)}
    if model.optimizer is not None:
        own = {f"optimizer.{i}.{v.name}": v for i, v in enumerate(model.optimizer.variables)}
        variables.update(own)
    return variables


def copy_state(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return numpy copies of the variables."""
    import keras

    return {
        key: np.array(keras.ops.convert_to_numpy(variable.value))
        for key, variable in variables.items()
    }


def write_checkpoint(folder: Path, model: Any, progress: Progress) -> None:
    """Write the state and the progress in one atomic file.

    Raises:
        TrainingError: the disk is full or the folder cannot be written; what was there
            is untouched.
    """
    save_or_explain(
        folder / CHECKPOINT_FILE,
        copy_state(state_of(model)),
        {"progress": json.dumps(asdict(progress))},
        progress,
    )


def save_or_explain(
    path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str], progress: Progress
) -> None:
    """Write tensors; turn an operating system error into one that says what is kept."""
    try:
        save_tensors(tensors, path, metadata)
    except OSError as error:
        kept = progress.epoch - 1 if path.name == CHECKPOINT_FILE else progress.epoch
        raise TrainingError(
            f"{path}: the checkpoint cannot be written: {error}. "
            + (
                f"The checkpoint of epoch {kept} is intact: make room and resume."
                if kept > 0
                else "There is no earlier checkpoint."
            )
        ) from error


def read_checkpoint(folder: Path, model: Any, fingerprint: dict[str, Any]) -> Progress:
    """Restore a model and its optimizer from a folder's checkpoint.

    Raises:
        TrainingError: there is none, it is damaged, or it is of another run.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        raise TrainingError(f"{folder}: there is no checkpoint to resume from")
    try:
        tensors = read_tensors(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            progress = Progress(**json.loads(file.metadata()["progress"]))
    except (WeightsError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{path}: not a whole checkpoint: {error}") from error
    differences = [
        f"{key}: the checkpoint has {progress.fingerprint.get(key)!r}, this run {value!r}"
        for key, value in fingerprint.items()
        if progress.fingerprint.get(key) != value
    ]
    if differences:
        raise TrainingError(
            f"{path}: of another run, so it cannot be resumed exactly:\n  "
            + "\n  ".join(difference[:300] for difference in differences)
        )
    try:
        assign_tensors(state_of(model), tensors, str(path))
    except WeightsError as error:
        raise TrainingError(str(error)) from error
    return progress
