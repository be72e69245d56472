"""`train`: a reproducible and resumable training run from a recipe, a seed and data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from fmae_zoo.arguments import check_folder, check_seed
from fmae_zoo.datasets import DEFAULT, Dataset, check_dataset, load_named
from fmae_zoo.errors import ArgumentError
from fmae_zoo.registry import find_spec
from fmae_zoo.spec import DEFAULT_TAG, ModelSpec
from fmae_zoo.training.devices import devices_of
from fmae_zoo.training.history import History
from fmae_zoo.training.loop import Run


def train(
    source: str | Path | ModelSpec,
    *,
    seed: int = 0,
    output: str | Path | None = None,
    resume: bool = False,
    data: Dataset | None = None,
    progress: Any = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    devices: int = 1,
    **recipe: Any,
) -> History:
    """Train a model from scratch by its recipe.

    Validation uses the data set's validation images, or else the last 10,000 training images after
    a fixed permutation (the last sixth of a smaller set). The weights of the epoch with the lowest
    validation loss are kept; with a critic, those of the last epoch. The order of the images, their
    masks and mirroring depend only on the seed and the epoch, so a run that is stopped and resumed
    gives the same result, bit for bit.

    Args:
        source: Registered name, folder with a spec.toml, or spec.
        seed: Seed of the weights, the order and the noise.
        output: Folder for checkpoints, and at the end for the model, its history and curves; the
            model can then be loaded as `local:FOLDER`. Nothing is written by default.
        resume: Whether to continue from the checkpoint in `output`, or from the beginning if the
            run was stopped before its first checkpoint.
        data: Data set; by default the one that the spec names, mostly Fashion-MNIST. For other data
            `ModelSpec.for_data` adapts the spec to the shape of the images, with the name of the
            data as the tag unless the spec has its own: `conv-ae-bn.kmnist`.
        progress: Function called as `progress(epoch, epochs, batch, batches, loss)` about every 50
            steps and after each epoch; epoch and batch count from 0. A progress bar is
            `with fmae_zoo.progress.RichProgress(TITLE) as progress`. None by default.
        callbacks: Keras' callbacks, also those of other packages. The logs of an epoch are its row
            in the history; a callback that sets `model.stop_training` ends the run after the epoch.
            Those that set the learning rate need `schedule="constant", warmup_epochs=0`.
            `fmae_zoo.training.tracking.tracker` makes those of TensorBoard, wandb and others.
        devices: Number of devices, which each compute an equal part of every batch. The result is
            that of one device, but for rounding; `batch_size` is still that of a whole step. See
            docs/DEVICES.md.
        **recipe: Recipe fields that replace the spec's: `epochs`, `batch_size`, `learning_rate`,
            `precision`, ...; None removes an optional field.

    Returns:
        The `History`: the trained model in float32, a row of figures for each epoch, and the
        training record for the manifest.

    Raises:
        UnknownModelError: There is no such name or folder.
        SpecError: The spec is not valid; a recipe field does not exist or has a wrong value; the
            network cannot take images of the data's shape; or the decoder needs labels and the data
            have none.
        DataError: There are fewer than two training images, or fewer than the objective needs; or
            the labels do not fit the classes of the decoder.
        TrainingError: The loss became NaN or infinite; the checkpoint cannot be written or resumed;
            the folder to resume from does not exist; or another process is training in it. The last
            good checkpoint is kept.
        ArgumentError: The seed is out of range, `resume` is given without `output`, `data` is not a
            Dataset, a callback is none of Keras', the output folder holds another spec, or the
            backend cannot train this model on so many devices.
    """
    if not isinstance(callbacks, Sequence):
        raise ArgumentError(f"callbacks: expected a list of callbacks; received {callbacks!r}")
    for each in callbacks:
        if not isinstance(each, keras.callbacks.Callback):
            raise ArgumentError(f"callbacks: expected Keras' callbacks; received {each!r}")
        if isinstance(each, keras.callbacks.BackupAndRestore):
            raise ArgumentError("callbacks: give an output folder and resume=True instead of it")
    check_seed(seed)
    seed = int(seed)
    check_dataset(data)
    if output is not None:
        output = check_folder("output", output)
    elif resume:
        raise ArgumentError("Expected an output folder, with the checkpoint of the run to resume")
    spec = find_spec(source)
    if recipe:
        spec = with_recipe(spec, recipe)
    data = data or load_named(spec.data)
    spec = for_data(spec, data)
    used = devices_of(devices, spec, data, resume)
    folder = output if used.rank == 0 else None
    return Run(spec, seed, data, folder, progress, callbacks, used)(resume)


def for_data(spec: ModelSpec, data: Dataset) -> ModelSpec:
    """Return the spec adapted to a data set's shape, with the data's tag unless it has its own."""
    own = spec.tag not in (DEFAULT_TAG, spec.data)
    same = data.tag == spec.data and data.shape == spec.shape
    if same and (own or spec.data in (DEFAULT, spec.tag)):
        return spec
    classes = None if data.train_labels is None else data.num_classes
    return spec.for_data(data.tag, data.shape, spec.tag if own else None, classes)


def with_recipe(spec: ModelSpec, changes: dict[str, Any]) -> ModelSpec:
    """Return the spec with changed recipe fields; None removes an optional field."""
    content = spec.model_dump(mode="json", exclude_none=True)
    content["recipe"].update(changes)
    content["recipe"] = {k: v for k, v in content["recipe"].items() if v is not None}
    return ModelSpec.from_dict(content, source=spec.name)
