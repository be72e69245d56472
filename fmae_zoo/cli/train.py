"""`fmae train`, `fmae evaluate`, `fmae classify`."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fmae_zoo.arguments import check_folder
from fmae_zoo.cli.output import (
    UserPath,
    about,
    data_for,
    data_option,
    emit_json,
    emit_table,
    flat_figures,
    json_option,
    note,
    note_sample,
    seed_option,
)
from fmae_zoo.errors import FmaeError
from fmae_zoo.evaluation import FIGURES
from fmae_zoo.precision import PRECISIONS
from fmae_zoo.registry import find_entry

_ON_REQUEST = ", ".join(name for name, figure in FIGURES.items() if figure.on_request)


@click.command("train")
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="All registered models, a process each.")
@click.option("--missing", is_flag=True, help="With --all: those without weights.")
@click.option("--seeds", type=click.IntRange(1, 100), default=1, help="With --all: so many seeds.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, help="With --all: at a time.")
@click.option("--epochs", type=click.IntRange(min=1))
@click.option("--batch-size", type=click.IntRange(min=1))
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True))
@click.option("--precision", type=click.Choice(PRECISIONS))
@click.option("--patience", type=click.IntRange(min=1), help="Epochs without improvement.")
@seed_option
@click.option(
    "--output",
    "-o",
    type=UserPath(),
    help="Folder for checkpoints and the model, or with --all of such. [runs/NAME-seedN]",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the output folder.")
@data_option
@json_option
def train_command(
    name: str | None,
    everything: bool,
    missing: bool,
    seeds: int,
    jobs: int,
    seed: int,
    output: str | None,
    resume: bool,
    data_source: str | None,
    as_json: bool,
    **recipe: Any,
) -> None:
    """Train a model by its recipe. NAME is a registered name or a folder with a spec.toml.

    \b
    Example: fmae train dense-ae --epochs 20 --seed 1 -o runs/mine
    Stopped? fmae train dense-ae --epochs 20 --seed 1 -o runs/mine --resume
    The zoo: fmae train --all --missing
    """
    if everything == (name is not None):
        raise click.UsageError("Expected a name, or --all; not both, and not neither.")
    recipe = {key: value for key, value in recipe.items() if value is not None}
    if everything:
        _train_all(
            missing,
            range(seed, seed + seeds),
            jobs,
            Path(output or "runs"),
            data_source,
            as_json,
            recipe,
        )
        return
    if missing or seeds > 1 or jobs > 1:
        raise click.UsageError("--missing, --seeds and --jobs are for --all.")
    assert name is not None
    import fmae_zoo
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
    try:
        with RichProgress(name) as bar:
            history = fmae_zoo.train(
                name, seed=seed, output=folder, resume=resume, data=data, progress=bar, **recipe
            )
    except KeyboardInterrupt:
        raise click.Abort(_how_to_resume(name, folder, seed, recipe, data_source)) from None
    last = history.rows[history.record.best_epoch - 1]
    if as_json:
        emit_json({"folder": str(folder), "best": last, "training": history.record.model_dump()})
        return
    emit_table(("figure", "best epoch"), list(last.items()), title=f"{name}, seed {seed}")
    note(f"Saved in {folder}. Load it with: fmae_zoo.load('local:{folder}')")


def _train_all(
    missing: bool,
    seeds: range,
    at_once: int,
    folder: Path,
    data_source: str | None,
    as_json: bool,
    recipe: dict[str, Any],
) -> None:
    """Train all registered models that have no weights of these seeds in the folder."""
    import fmae_zoo
    from fmae_zoo.progress import JobsProgress
    from fmae_zoo.registry import list_models
    from fmae_zoo.training.many import LOG_FILE, jobs_of, train_all

    names = [name for name in list_models() if not _is_classifier(name)]
    data = fmae_zoo.load_data(data_source) if data_source else None
    jobs = jobs_of(names, seeds, folder, missing, recipe, data)
    try:
        with JobsProgress() as view:
            train_all(jobs, at_once, _options(recipe, data_source), view)
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
        return False  # Its manifest is damaged, and its training tells of it.


def _options(recipe: dict[str, Any], data_source: str | None) -> list[str]:
    """Return the words that ask for fields of a recipe and for data."""
    words = []
    for key, value in recipe.items():
        words += [f"--{key.replace('_', '-')}", str(value)]
    return [*words, "--data", data_source] if data_source else words


def _how_to_resume(
    name: str, folder: Path, seed: int, recipe: dict[str, Any], data_source: str | None
) -> str:
    from fmae_zoo.training.checkpoint import CHECKPOINT_FILE

    words = ["fmae", "train", name, "--seed", str(seed), "--output", str(folder)]
    words += _options(recipe, data_source)
    if not (folder / CHECKPOINT_FILE).is_file():
        return "Stopped before the first step: there is nothing to resume."
    return (
        f"Stopped. The epochs that were finished are saved in {folder}. Resume with:\n"
        f"  {shlex.join(words)} --resume"
    )


@click.command("evaluate")
@click.argument("name")
@click.option(
    "--figure",
    "figures",
    type=click.Choice(tuple(FIGURES)),
    multiple=True,
    help=f"Only this figure; may be repeated. {_ON_REQUEST}: only if named, for it takes long.",
)
@seed_option
@click.option("--write", is_flag=True, help="Write the figures into the entry's manifest.")
@data_option
@json_option
def evaluate_command(
    name: str,
    figures: tuple[str, ...],
    seed: int,
    write: bool,
    data_source: str | None,
    as_json: bool,
) -> None:
    """Measure a pretrained model, or local:FOLDER, on the test set.

    \b
    Example: fmae evaluate conv-ae-bn --figure reconstruction --figure knn
    """
    import fmae_zoo

    model = fmae_zoo.load(name, pretrained=True)
    # It imports Keras, so only after load, which explains a backend that is missing.
    from fmae_zoo.evaluation.record import check_data, record_results
    from fmae_zoo.progress import ImagesProgress

    data = data_for(data_source, name)
    if write:
        check_data(find_entry(name), data)

    def keep(figure: str, result: dict[str, Any]) -> None:
        if write:
            record_results(name, {figure: result}, data, seed)

    with ImagesProgress() as bar:
        results = fmae_zoo.evaluate(
            model,
            figures or None,
            data=data,
            seed=seed,
            progress=lambda figure: note(f"measuring {figure}"),
            done=keep,
            advance=bar,
        )
    if as_json:
        emit_json({**about(name, data), "figures": results})
    else:
        emit_table(("figure", "", "value"), list(flat_figures(results)), title=name)
    for figure in set(figures) - set(results):
        note(f"{figure} does not apply to {name}.")
    note_sample(data)


@click.command("classify")
@click.argument("name")
@click.option("--fine-tune", is_flag=True, help="Then train the encoder too.")
@click.option(
    "--layer",
    help="Layer of the encoder to read. [features where the encoder is convolutional, else latent]",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Of the head. [as published]")
@click.option("--tune-epochs", type=click.IntRange(min=1), help="Of both. [as published]")
@seed_option
@click.option(
    "--output",
    "-o",
    type=UserPath(file_okay=False),
    help="Folder for classifier, report, pictures.",
)
@data_option
@json_option
def classify_command(
    name: str,
    fine_tune: bool,
    layer: str | None,
    epochs: int | None,
    tune_epochs: int | None,
    seed: int,
    output: str | None,
    data_source: str | None,
    as_json: bool,
) -> None:
    """Train a classifier on a pretrained encoder: frozen, then fine-tuned if asked to.

    It is trained as for the published figures, which `fmae info` gives. What --output saves is
    loaded, verified and pushed as a model is, with its figures unless they are of the small
    sample, or of another layer than the one that is read by default.

    \b
    Example: fmae classify conv-ae-bn --fine-tune -o runs/classifier
             fmae push local:runs/classifier me/classifier
    """
    import fmae_zoo

    encoder = fmae_zoo.load(name, pretrained=True, part="encoder")
    # It imports Keras, so only after load, which explains a backend that is missing.
    import keras

    from fmae_zoo.entry import check_folder_for
    from fmae_zoo.evaluation.head import (
        features_layer,
        head_plan,
        results_of,
        train_by,
        tunable,
        tuning_plan,
    )
    from fmae_zoo.evaluation.record import record_results

    data = data_for(data_source, name)
    folder = check_folder("output", output) if output else None
    if folder is not None:
        check_folder_for(encoder.spec, folder, is_classifier=True)
        folder.mkdir(parents=True, exist_ok=True)
    published = features_layer(encoder)
    layer = layer or published
    names, test_labels = data.class_names, data.labels[1]
    head = fmae_zoo.Classifier(encoder, data.num_classes, layer=layer, seed=seed, labels=names)
    rows = [keras.callbacks.LambdaCallback(on_epoch_end=_note_epoch)]
    note("training the head on the frozen encoder")
    trained = train_by(head_plan(head).lasting(epochs), head, data, seed, rows)
    reports = {"frozen": trained.classifier.report(data.test_images, test_labels)}
    if fine_tune:
        note("training the encoder too")
        both = tunable(trained.classifier, encoder.spec.recipe)
        trained = train_by(tuning_plan(both).lasting(tune_epochs), both, data, seed, rows)
        reports["fine_tuned"] = trained.classifier.report(data.test_images, test_labels)
    if as_json:
        emit_json({**about(name, data), "reports": reports})
    else:
        for stage, report in reports.items():
            figures = f"accuracy {report['accuracy']:.4f}, loss {report['loss']:.4f}"
            emit_table(
                ("class", "precision", "recall"),
                _class_rows(report, names),
                title=f"{name}, {stage}: {figures}",
            )
    note_sample(data)
    if folder is not None:
        own = None if encoder.spec.takes_fashion_mnist else data.test_images
        fmae_zoo.save(trained.classifier, folder, images=own)
        if layer == published and not data.is_sample:
            last = list(reports.values())[-1]
            record_results(folder, results_of(trained, last), data, seed)
        _write_report(folder, name, reports, names)


def _note_epoch(epoch: int, logs: dict[str, float]) -> None:
    note(f"epoch {epoch + 1}: " + "  ".join(f"{name} {value:.4f}" for name, value in logs.items()))


def _class_rows(
    report: dict[str, Any], names: Sequence[str] | None
) -> list[tuple[str, float, float]]:
    names = names or [str(number) for number in range(len(report["recall"]))]
    return list(zip(names, report["precision"], report["recall"]))


def _write_report(
    folder: Path, name: str, reports: dict[str, Any], names: Sequence[str] | None
) -> None:
    import json

    from fmae_zoo.files import write_text
    from fmae_zoo.plots import plot_confusion

    write_text(folder / "report.json", json.dumps(reports, indent=2) + "\n")
    for stage, report in reports.items():
        title = f"{name}, {stage.replace('_', '-')}: accuracy {report['accuracy']:.4f}"
        path = folder / f"confusion-{stage.replace('_', '-')}.png"
        plot_confusion(report["confusion"], path, title, names)
    note(
        f"Classifier, report and pictures are in {folder}. Load it with: "
        f"fmae_zoo.load('local:{folder}')"
    )
