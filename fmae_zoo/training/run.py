"""A recipe, a seed and data become a trained model: resumable, and the same every time."""

from pathlib import Path
from typing import Any

from fmae_zoo.arguments import check_folder, check_seed
from fmae_zoo.datasets import DEFAULT, Dataset, check_dataset, load_named
from fmae_zoo.errors import ArgumentError
from fmae_zoo.registry import find_spec
from fmae_zoo.spec import DEFAULT_TAG, ModelSpec
from fmae_zoo.training.loop import History, Run


def train(
    source: str | Path | ModelSpec,
    *,
    seed: int = 0,
    output: str | Path | None = None,
    resume: bool = False,
    data: Dataset | None = None,
    progress: Any = None,
    **recipe: Any,
) -> History:
    """Train a model from scratch by its recipe.

    The last 10,000 training images validate, and choose the epoch whose weights are kept.
    The order of the images, their masks and mirrorings depend on the seed and the epoch
    alone, so a run that is stopped and resumed ends, bit for bit, where it would have.

    Args:
        source: a registered name, a folder with a spec.toml, or a spec.
        seed: of the weights, the order and the noise.
        output: a folder for checkpoints, and at the end for the model, its history and
            curves: it can then be loaded with `local:FOLDER`. Nothing is written by default.
        resume: go on from the checkpoint in `output`; where the run was stopped before it
            wrote one, from the beginning.
        data: what the spec names by default, Fashion-MNIST mostly. The model of other data is
            the one of the spec that `ModelSpec.for_data` gives for them: of the shape of their
            images, with their name as its tag, unless the spec says one: `conv-ae-bn.kmnist`.
        progress: called as `progress(epoch, epochs, batch, batches, loss)` every 50 steps or so
            and after each epoch, epoch and batch from 0;
            `with fmae_zoo.progress.RichProgress(TITLE) as progress` draws a bar. None by default.
        **recipe: fields of the recipe that replace the spec's: `epochs`, `batch_size`,
            `learning_rate`, `precision`, ...; None takes an optional one away.

    Returns:
        The `History`: the trained model in float32, a row of figures for each epoch, and what the
        manifest records of the run.

    Raises:
        UnknownModelError: there is no such name or folder.
        SpecError: the spec is not valid; or a recipe field does not exist or has a wrong value;
            or the network cannot take images of the data's shape.
        DataError: there are fewer than two training images, or fewer than the objective needs.
        TrainingError: the loss became NaN or infinite; the checkpoint cannot be written
            or resumed; another process is training in the folder. The last good checkpoint is
            kept.
        ArgumentError: the seed is out of range, there is nothing to resume from, data is no
            Dataset, or the output folder holds another spec.
    """
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
    return Run(for_data(spec, data), seed, data, output, progress)(resume)


def for_data(spec: ModelSpec, data: Dataset) -> ModelSpec:
    """Return the spec for a data set's shape, with its tag, unless the spec says one."""
    own = spec.tag not in (DEFAULT_TAG, spec.data)
    same = data.tag == spec.data and data.shape == spec.shape
    if same and (own or spec.data in (DEFAULT, spec.tag)):
        return spec
    classes = None if data.train_labels is None else data.num_classes
    return spec.for_data(data.tag, data.shape, spec.tag if own else None, classes)


def with_recipe(spec: ModelSpec, changes: dict[str, Any]) -> ModelSpec:
    """Return the spec with other values in its recipe; None takes an optional one away."""
    content = spec.model_dump(mode="json", exclude_none=True)
    content["recipe"].update(changes)
    content["recipe"] = {k: v for k, v in content["recipe"].items() if v is not None}
    return ModelSpec.from_dict(content, source=spec.name)
