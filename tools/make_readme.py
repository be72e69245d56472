"""Write all files that are generated from the manifests and the benchmark results.

These are tables and pictures of README and docs/, registry/RESULTS.md, registry/results.csv. With
--check nothing is written, and the exit code is 1 if a file is out of date.
"""

import sys
from pathlib import Path

from result_anomalies import anomalies_section
from result_curves import curves, plot_few_labels
from result_devices import devices_table
from result_exports import exports_section
from result_install import install_table
from result_pictures import (
    WALKER,
    described,
    description_of,
    draw_reconstructions,
    draw_walk,
    drawn,
    plot_results,
    plotted,
    weights_of,
)
from result_ray import SCALING, scaling_text
from result_rows import csv_text, entry_rows
from result_tables import results_text

from fmae_zoo.card.markup import table as markdown_table
from fmae_zoo.evaluation import columns
from fmae_zoo.files import write_text
from fmae_zoo.registry import find_entry
from fmae_zoo.summary import summary_of

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
README = ROOT / "README.md"
RESULTS = ROOT / "registry" / "RESULTS.md"
NUMBERS = ROOT / "registry" / "results.csv"
PICTURE = ROOT / "docs" / "reconstructions.png"
PLOT = ROOT / "docs" / "results.png"
CURVES = ROOT / "docs" / "few-labels.png"
WALK = ROOT / "docs" / "walk.gif"
BACKENDS = ROOT / "docs" / "guides" / "backends.md"
DEVICES = ROOT / "docs" / "DEVICES.md"
IN_README = (
    "pca",
    "dense-ae",
    "conv-ae-bn",
    "conv-ae-bn-spatial",
    "conv-rae-bn",
    "dense-vae",
    "conv-vae-bn",
    "conv-beta-vae-bn",
    "dense-vamp-vae-40",
    "conv-wae-mmd-bn",
    "conv-vq-vae-bn",
)
SHORT = ("mse", "linear_probe", "knn", "frozen_head", "frechet")
"""Keys of the columns in the README's table of models."""


def table() -> str:
    """Return the README's table of some models as Markdown."""
    shown = {key: columns()[key] for key in SHORT}
    titles = ["model", "values", "parameters", *(measure.column for measure in shown.values())]
    cells = []
    for row in map(summary_of, map(find_entry, IN_README)):
        sizes = [f"{row[key]:,}" for key in ("latent", "parameters")]
        numbers = [
            "-" if row[key] is None else measure.shown(row[key]) for key, measure in shown.items()
        ]
        cells.append([f"`{row['name']}`", *sizes, *numbers])
    return markdown_table(titles, cells, right=range(1, len(titles)))


def speed_table() -> str:
    """Return the README's table of images per second on each backend, as Markdown."""
    from benchmarks.results import SPEED, read_rows
    from benchmarks.summary import backend_table

    return backend_table(read_rows(SPEED))


def with_tables(path: Path, tables: dict[str, str]) -> str:
    """Return the text of a file with each table between the markers of its name."""
    text = path.read_text(encoding="utf-8")
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, rest = text.split(begin)
        _, tail = rest.split(end)
        text = f"{head}{begin}\n{table}\n{end}{tail}"
    return text


def texts() -> dict[Path, str]:
    """Return the expected text of every generated text file, by path."""
    rows = entry_rows()
    return {
        README: with_tables(README, {"models": table()}),
        BACKENDS: with_tables(BACKENDS, {"speed": speed_table(), "install": install_table()}),
        DEVICES: with_tables(DEVICES, {"devices": devices_table()}),
        RESULTS: results_text(rows, [*anomalies_section(), *exports_section()]),
        NUMBERS: csv_text(rows),
        SCALING: scaling_text(),
    }


def outdated() -> list[str]:
    """Return the names of the generated files that are out of date."""
    pictures = {
        PLOT: described(plotted()),
        PICTURE: described(weights_of(drawn())),
        CURVES: described(curves()),
        WALK: described(weights_of([find_entry(WALKER)])),
    }
    stale = [path for path, text in texts().items() if not _has(path, text)]
    stale += [path for path, text in pictures.items() if description_of(path) != text]
    return [path.name for path in stale]


def _has(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main() -> None:
    """Write the generated files, or check them if `--check` is given."""
    if "--check" in sys.argv:
        stale = outdated()
        if stale:
            raise SystemExit(f"not up to date: {', '.join(stale)}: run `make readme`")
        return
    for path, text in texts().items():
        write_text(path, text)
    plot_results(plotted(), PLOT)
    draw_reconstructions(drawn(), PICTURE)
    draw_walk(find_entry(WALKER), WALK)
    plot_few_labels(curves(), CURVES, described(curves()))


if __name__ == "__main__":
    main()
