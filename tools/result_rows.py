"""Flat rows of the data in the manifests, one for each entry, and results.csv."""

import csv
import io
from collections.abc import Iterator, Sequence
from statistics import mean, stdev
from typing import Any

from fmae_zoo.entry import Entry
from fmae_zoo.evaluation import protocols
from fmae_zoo.evaluation.published import CHOSEN, figures_of
from fmae_zoo.registry import bundled, short_name

Row = dict[str, Any]

FACTS = ("model", "network", "latent", "objective", "values", "parameters")
TRAINING = ("backend", "precision", "seed", "epochs", "best_epoch", "seconds", "seeds")
SETTINGS = (*CHOSEN, "sampler", "validation_accuracy", "input_size", "head_parameters")
"""Settings that are shown with the numbers of a figure."""

PCA = "PCA"


def entry_rows() -> list[Row]:
    """Return a row for each autoencoder of the registry, sorted by name."""
    return [row_of(entry) for entry in bundled()]


def row_of(entry: Entry) -> Row:
    """Return facts by name, and numbers by their dotted path in the manifest's results.

    A number measured with several seeds also has its mean and standard deviation:
    `knn.accuracy.mean`, `knn.accuracy.sd`. Missing numbers have no key.

    Raises:
        SpecError: A figure in the manifest is not a number.
    """
    spec = entry.spec
    row: Row = {
        "model": short_name(entry),
        "folder": entry.folder.name if entry.folder else "",
        "network": spec.network.type,
        "latent": spec.latent.type,
        "objective": spec.objective.type,
        "values": spec.latent.size,
    }
    if not entry.pretrained:
        return row
    manifest = entry.manifest
    row["parameters"] = sum(manifest.parameters.values())
    row["seeds"] = 1 + len(manifest.seeds)
    if manifest.training:
        row |= manifest.training.model_dump(include={"seed", "epochs", "best_epoch", "seconds"})
        how = manifest.training.environment
        row["backend"] = how.get("backend")
        row["precision"] = how.get("precision", spec.recipe.precision)
    for figure in figures_of(manifest):
        path = ".".join(figure.protocol.path)
        settings = {key: figure.settings[key] for key in SETTINGS if key in figure.settings}
        numbers = figure.values | settings
        row |= {f"{path}.{key}": value for key, value in numbers.items()}
        for measure in figure.protocol.measures:
            runs = figure.repeated.get(measure.key, [])
            if measure.in_seeds and len(runs) > 1:
                row[f"{path}.{measure.key}.mean"] = mean(runs)
                row[f"{path}.{measure.key}.sd"] = stdev(runs)
    return row


def pca_rows(rows: Sequence[Row]) -> list[Row]:
    """Return a row of PCA for each code size that an entry has, sorted by size."""
    found = {
        row["values"]: row["reconstruction.pca_mse"]
        for row in rows
        if "reconstruction.pca_mse" in row
    }
    return [
        {"model": PCA, "values": size, "reconstruction.mse": mse}
        for size, mse in sorted(found.items())
    ]


def link(row: Row) -> str:
    """Return the name of an entry as a Markdown link to its folder; PCA has no link."""
    return PCA if row["model"] == PCA else f"[{row['model']}]({row['folder']})"


def csv_text(rows: Sequence[Row]) -> str:
    """Return the rows as CSV with unrounded numbers, without empty columns."""
    names = [*FACTS, *_numbers(), *TRAINING]
    titles = [name for name in names if any(name in row for row in rows)]
    text = io.StringIO()
    writer = csv.DictWriter(text, titles, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _numbers() -> Iterator[str]:
    for protocol in protocols():
        path = ".".join(protocol.path)
        for measure in protocol.results + protocol.baselines:
            yield from (f"{path}.{measure.key}{end}" for end in ("", ".mean", ".sd"))
        yield from (f"{path}.{key}" for key in SETTINGS)
