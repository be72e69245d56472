"""`fmae train`."""

import os
import shlex
from pathlib import Path
from typing import Any

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
from fmae_zoo.layout import CHECKPOINT_FILE, LOG_FILE
from fmae_zoo.precision import PRECISIONS
from fmae_zoo.registry import find_entry


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
    for wrong, reason in (
        (many and trackers, "--log is for one training, not for --all, --seeds or Ray."),
        (many and devices > 1, "--devices is for one training, not for --all, --seeds or Ray."),
        (many and resume, "--resume is for one training; many go on by themselves."),
        (missing and not everything, "--missing is for --all."),
        (jobs is not None and not many, "--jobs is for --all and --seeds."),
    ):
        if wrong:
            raise click.UsageError(reason)
    if many:
        folder, all_seeds = Path(output or "runs"), range(seed, seed + seeds)
        states = _train_all(name, missing, all_seeds, jobs, engine, folder, data_source, recipe)
        if as_json:
            emit_json(states)
        if any(each["state"] == "failed" for each in states):
            raise click.exceptions.Exit(1)
        return
    assert name is not None
    import fmae_zoo
    from fmae_zoo._backend import is_on_cpu, require_backend
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
    callbacks = []
    if trackers:
        require_backend()
        from fmae_zoo.training.run import for_data, with_recipe
        from fmae_zoo.training.tracking import tracker

        spec = for_data(with_recipe(spec, recipe), data)
        callbacks = [tracker(each, spec, folder, seed) for each in trackers]
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
        if not (folder / CHECKPOINT_FILE).is_file():
            raise click.Abort("Stopped before the first step: nothing to resume.") from None
        words = ["fmae", "train", name, "--seed", str(seed), "--output", str(folder)]
        words += _options(recipe, data_source)
        words += [word for each in trackers for word in ("--log", each)]
        words += ["--devices", str(devices)] if devices > 1 else []
        raise click.Abort(
            f"Stopped. The epochs that were finished are saved in {folder}. Resume with:\n"
            f"  {shlex.join(words)} --resume"
        ) from None
    last = history.rows[history.record.best_epoch - 1]
    if as_json:
        emit_json({"folder": str(folder), "best": last, "training": history.record.model_dump()})
        return
    emit_table(("figure", "best epoch"), list(last.items()), title=f"{name}, seed {seed}")
    if devices > 1 and is_on_cpu():
        note(f"There is no GPU, so {devices} parts of the CPU were the devices.")
    if history.folder is not None:  # Only one of several JAX processes writes.
        note(f"Saved in {folder}. Load it with: fmae_zoo.load('local:{folder}')")


def _train_all(
    name: str | None,
    missing: bool,
    seeds: range,
    at_once: int | None,
    engine: Engine,
    folder: Path,
    data_source: str | None,
    recipe: dict[str, Any],
) -> list[dict[str, Any]]:
    """Train a model, or all registered autoencoders, with each seed; return how each went."""
    import fmae_zoo
    from fmae_zoo.progress import JobsProgress
    from fmae_zoo.registry import list_models
    from fmae_zoo.training.many import jobs_of, train_all

    names = [name] if name else [each for each in list_models() if not _is_classifier(each)]
    data = fmae_zoo.load_data(data_source) if data_source else None
    jobs = jobs_of(names, seeds, folder, missing, recipe, data)
    try:
        with engine.launching(at_once) as (launch, count), JobsProgress() as view:
            train_all(jobs, count, _options(recipe, data_source), view, launch)
    except KeyboardInterrupt:
        raise click.Abort("Stopped. The same command goes on with what was begun.") from None
    failed = [job for job in jobs if job.state == "failed"]
    for job in failed:
        note(
            f"{job.name}, seed {job.seed}: {job.last_words()} (all of it: {job.folder}/{LOG_FILE})"
        )
    note(f"{len(jobs) - len(failed)} of {len(jobs)} are trained, in {folder}")
    return [{"name": job.name, "seed": job.seed, "state": job.state} for job in jobs]


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
