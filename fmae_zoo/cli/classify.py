"""`fmae classify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmae_zoo.cli.output import (
    UserPath,
    about,
    data_for,
    data_option,
    emit_json,
    emit_table,
    json_option,
    note,
    seed_option,
)

if TYPE_CHECKING:
    from fmae_zoo.datasets import Dataset

_STAGES = {
    "frozen": "training the head on the frozen encoder",
    "fine_tuned": "training the encoder too",
}


@click.command("classify")
@click.argument("name")
@click.option(
    "--head",
    type=click.Choice(("dense", "logistic", "svm", "knn", "forest", "boosting", "mlp")),
    default="dense",
    show_default=True,
    help="Keras' dense layers, or a classifier of scikit-learn on the code.",
)
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
    head: str,
    seed: int,
    output: str | None,
    data_source: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a classifier on a pretrained encoder: frozen, then fine-tuned if asked to.

    It is trained as for the published figures, which `fmae info` shows. The folder that --output
    names can be loaded, verified and pushed like a model. It holds the figures too, unless they
    are of the small sample, or --layer is not the default. With another --head than dense it holds
    a pipeline of scikit-learn, which joblib.load reads.

    \b
    Example: fmae classify conv-ae-bn --fine-tune -o runs/classifier
             fmae push local:runs/classifier me/classifier
             fmae classify conv-ae-bn --head svm
    """
    import fmae_zoo
    from fmae_zoo._backend import require_backend
    from fmae_zoo.registry import find_entry

    # Report a missing backend or missing weights before data are downloaded.
    require_backend()
    entry = find_entry(name)
    _ = entry.manifest
    data = data_for(data_source, name, entry)
    if head != "dense":
        if any(options.values()):
            raise click.UsageError(f"--head {head} has no layers or epochs")
        _fit_head(name, head, seed, data, output, as_json)
        return
    last = "fine_tuned" if options["fine_tune"] else "frozen"
    reports: dict[str, Any] = {}

    def show(stage: str, report: dict[str, Any]) -> None:
        reports[stage] = report
        if not as_json:
            figures = f"accuracy {report['accuracy']:.4f}, loss {report['loss']:.4f}"
            _emit_report(f"{name}, {stage}: {figures}", report, data)
        elif stage == last:
            emit_json({**about(name, data), "reports": reports})

    fmae_zoo.classify(
        name,
        seed=seed,
        data=data,
        output=output,
        stage=lambda stage: note(_STAGES[stage]),
        progress=_note_epoch,
        done=show,
        **options,
    )
    if output is not None:
        note(
            f"Classifier, report and pictures are in {output}. Load it with: "
            f"fmae_zoo.load('local:{output}')"
        )


def _fit_head(
    name: str, head: str, seed: int, data: "Dataset", output: str | None, as_json: bool
) -> None:
    from fmae_zoo.sklearn import fit_head

    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
    _ = data.labels
    note(f"fitting {head} to the codes of {len(data.train_images):,} images")
    found = fit_head(name, head, seed=seed, data=data)
    if output is not None:
        found.save(output)
    if as_json:
        emit_json({**about(name, data), "reports": {head: found.report}})
    else:
        _emit_report(f"{name}, {head}: accuracy {found.report['accuracy']:.4f}", found.report, data)
    if output is not None:
        note(f"Load the classifier with: joblib.load('{output}/classifier.joblib')")


def _emit_report(title: str, report: dict[str, Any], data: "Dataset") -> None:
    names = data.class_names or range(data.num_classes)
    rows = list(zip(names, report["precision"], report["recall"]))
    emit_table(("class", "precision", "recall"), rows, title=title)


def _note_epoch(epoch: int, logs: dict[str, float]) -> None:
    note(f"epoch {epoch + 1}: " + "  ".join(f"{name} {value:.4f}" for name, value in logs.items()))
