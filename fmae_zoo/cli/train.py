"""`fmae train`."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmae_zoo.cli.engine import Engine, engine_options
from fmae_zoo.cli.output import (
    UserPath,
    data_option,
    emit_json,
    emit_table,
    json_option,
    note,
    seed_option,
)
from fmae_zoo.errors import FmaeError
from fmae_zoo.precision import PRECISIONS
from fmae_zoo.registry import find_entry

if TYPE_CHECKING:
    from fmae_zoo.datasets import Dataset
    from fmae_zoo.spec import ModelSpec


@click.command("train")
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="All registered models, a process each.")
@click.option("--missing", is_flag=True, help="With --all: those without weights.")
@click.option("--seeds", type=click.IntRange(1, 100), default=1, help="So many, from --seed on.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 1024),
    help="Of many trainings, at a time. [1; on Ray as many as it has CPUs for]",
)
@engine_options
@click.option("--epochs", type=click.IntRange(min=1))
@click.option("--batch-size", type=click.IntRange(min=1))
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True))
@click.option("--precision", type=click.Choice(PRECISIONS))
@click.option("--patience", type=click.IntRange(min=1), help="Epochs without improvement.")
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    default=1,
    help="That each compute a part of every batch: GPUs, or parts of a CPU. [1]",
)
@seed_option
@click.option(
    "--output",
    "-o",
    type=UserPath(),
    help="Folder for checkpoints and the model, or of many such. [runs/NAME-seedN]",
)
@click.option(
    "--log",
    "trackers",
    type=click.Choice(("tensorboard", "wandb", "trackio", "mlflow")),
    multiple=True,
    help="Send the losses to a tracker; TensorBoard's are in OUTPUT/logs. Repeatable.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the output folder.")
@data_option
@json_option
def train_command(
    name: str | None,
    everything: bool,
    missing: bool,
    seeds: int,
    jobs: int | None,
    engine: Engine,
    seed: int,
    output: str | None,
    trackers: tuple[str, ...],
    resume: bool,
    devices: int,
    data_source: str | None,
    as_json: bool,
    **recipe: Any,
) -> None:
    """Train a model by its recipe. NAME is a registered name or a folder with a spec.toml.

    \b
    Example: fmae train dense-ae --epochs 20 --seed 1 -o runs/mine
    Stopped? fmae train dense-ae --epochs 20 --seed 1 -o runs/mine --resume
    The zoo: fmae train --all --missing
    On Ray:  fmae train dense-ae --seeds 5 --engine ray --address auto
    """
    if everything == (name is not None):
        raise click.UsageError("Expected a name, or --all; not both, and not neither.")
    recipe = {key: value for key, value in recipe.items() if value is not None}
    many = everything or seeds > 1 or engine.is_ray
    if many and trackers:
        raise click.UsageError("--log is for one training, not for --all, --seeds or Ray.")
    if many and devices > 1:
        raise click.UsageError("--devices is for one training, not for --all, --seeds or Ray.")
    if many and resume:
        raise click.UsageError("--resume is for one training; many go on by themselves.")
    if missing and not everything:
        raise click.UsageError("--missing is for --all.")
    if many:
        _train_all(
            name,
            missing,
            range(seed, seed + seeds),
            jobs,
            engine,
            Path(output or "runs"),
            data_source,
            as_json,
            recipe,
        )
        return
    if jobs is not None:
        raise click.UsageError("--jobs is for --all and --seeds.")
    assert name is not None
    import fmae_zoo
    from fmae_zoo._backend import is_on_cpu
    from fmae_zoo.datasets import load_named
    from fmae_zoo.progress import RichProgress
    from fmae_zoo.registry import LOCAL_PREFIX, find_spec, is_registered

    spec = find_spec(name)
    called = (
        name
        if is_registered(name)
        else Path(os.path.expanduser(name.removeprefix(LOCAL_PREFIX))).resolve().name
    )
    folder = Path(output or f"runs/{called}-seed{seed}")
    data = fmae_zoo.load_data(data_source) if data_source else load_named(spec.data)
    callbacks = _callbacks(trackers, spec, recipe, data, folder, seed)
    try:
        with RichProgress(name) as bar:
            history = fmae_zoo.train(
                name,
                seed=seed,
                output=folder,
                resume=resume,
                data=data,
                progress=bar,
                callbacks=callbacks,
                devices=devices,
                **recipe,
            )
    except KeyboardInterrupt:
        words = _options(recipe, data_source)
        words += [word for each in trackers for word in ("--log", each)]
        words += ["--devices", str(devices)] if devices > 1 else []
        raise click.Abort(_how_to_resume(name, folder, seed, words)) from None
    last = history.rows[history.record.best_epoch - 1]
    if as_json:
        emit_json({"folder": str(folder), "best": last, "training": history.record.model_dump()})
        return
    emit_table(("figure", "best epoch"), list(last.items()), title=f"{name}, seed {seed}")
    if devices > 1 and is_on_cpu():
        note(f"There is no GPU, so {devices} parts of the CPU were the devices.")
    if history.folder is not None:  # Only one of several JAX processes writes.
        note(f"Saved in {folder}. Load it with: fmae_zoo.load('local:{folder}')")


def _callbacks(
    trackers: tuple[str, ...],
    spec: "ModelSpec",
    recipe: dict[str, Any],
    data: "Dataset",
    folder: Path,
    seed: int,
) -> list[Any]:
    if not trackers:
        return []
    from fmae_zoo._backend import require_backend

    require_backend()
    from fmae_zoo.training.run import for_data, with_recipe
    from fmae_zoo.training.tracking import tracker

    spec = for_data(with_recipe(spec, recipe), data)
    return [tracker(each, spec, folder, seed) for each in trackers]


def _train_all(
    name: str | None,
    missing: bool,
    seeds: range,
    at_once: int | None,
    engine: Engine,
    folder: Path,
    data_source: str | None,
    as_json: bool,
    recipe: dict[str, Any],
) -> None:
    """Train a model, or all registered autoencoders, with each seed; the finished are skipped."""
    import fmae_zoo
    from fmae_zoo.progress import JobsProgress
    from fmae_zoo.registry import list_models
    from fmae_zoo.training.many import LOG_FILE, jobs_of, train_all

    names = [name] if name else [each for each in list_models() if not _is_classifier(each)]
    data = fmae_zoo.load_data(data_source) if data_source else None
    jobs = jobs_of(names, seeds, folder, missing, recipe, data)
    try:
        with engine.launching(at_once) as (launch, count), JobsProgress() as view:
            train_all(jobs, count, _options(recipe, data_source), view, launch)
    except KeyboardInterrupt:
        raise click.Abort("Stopped. The same command goes on with what was begun.") from None
    if as_json:
        emit_json([{"name": job.name, "seed": job.seed, "state": job.state} for job in jobs])
    failed = [job for job in jobs if job.state == "failed"]
    for job in failed:
        note(
            f"{job.name}, seed {job.seed}: {job.last_words()} (all of it: {job.folder}/{LOG_FILE})"
        )
    note(f"{len(jobs) - len(failed)} of {len(jobs)} are trained, in {folder}")
    if failed:
        raise click.exceptions.Exit(1)


def _is_classifier(name: str) -> bool:
    try:
        return find_entry(name).is_classifier
    except FmaeError:
        return False  # The manifest is damaged; the training reports that.


def _options(recipe: dict[str, Any], data_source: str | None) -> list[str]:
    """Return the command-line options for recipe fields and data."""
    words = []
    for key, value in recipe.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    return [*words, "--data", data_source] if data_source else words


def _how_to_resume(name: str, folder: Path, seed: int, further: list[str]) -> str:
    from fmae_zoo.training.checkpoint import CHECKPOINT_FILE

    words = ["fmae", "train", name, "--seed", str(seed), "--output", str(folder)]
    words += further
    if not (folder / CHECKPOINT_FILE).is_file():
        return "Stopped before the first step: there is nothing to resume."
    return (
        f"Stopped. The epochs that were finished are saved in {folder}. Resume with:\n"
        f"  {shlex.join(words)} --resume"
    )
