"""Write the README's tables and its picture, from the manifests and the benchmarks' rows.

With --check nothing is written; the exit code says whether the tables are up to date.
"""

import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from fmae_zoo.evaluation import columns, protocols
from fmae_zoo.registry import bundled, short_name
from fmae_zoo.summary import summary_of

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "reconstructions.png"
COLUMNS = (
    ("model", "name", "`{}`"),
    ("latent", "latent", "{:,}"),
    ("parameters", "parameters", "{:,}"),
    ("epochs", "epochs", "{}"),
    *((measure.column, key, measure.form) for key, measure in columns().items()),
)


def table() -> str:
    """Return the table of all entries as Markdown, PCA beside them, and the seeds below."""
    lines = ["| " + " | ".join(title for title, _, _ in COLUMNS) + " |"]
    lines += ["| --- |" + " ---: |" * (len(COLUMNS) - 1)]
    pca: dict[int, float] = {}
    for entry in bundled():
        summary = summary_of(entry)
        cells = [
            "-" if summary[key] is None else form.format(summary[key]) for _, key, form in COLUMNS
        ]
        lines.append("| " + " | ".join(cells) + " |")
        if entry.pretrained:
            row = entry.manifest.results.get("reconstruction", {})
            if row.get("pca_mse") is not None:
                pca[row["latent_size"]] = row["pca_mse"]
    for size, mse in sorted(pca.items()):
        lines.append(f"| PCA | {size} | - | - | {mse:.5f} |" + " - |" * (len(COLUMNS) - 5))
    return "\n".join(lines) + seeds_table()


def seeds_table() -> str:
    """Return mean and standard deviation over the seeds of the entries that have several."""
    figures = [
        (each.path, measure)
        for each in protocols()
        for measure in each.measures
        if measure.in_seeds
    ]
    if not any(entry.pretrained and entry.manifest.seeds for entry in bundled()):
        return ""
    lines = [
        "\n\nOver several seeds, mean ± standard deviation:",
        "",
        "| model | seeds |" + "".join(f" {measure.column} |" for _, measure in figures),
        "| --- | ---: |" + " ---: |" * len(figures),
    ]
    for entry in bundled():
        if not entry.pretrained or not entry.manifest.seeds:
            continue
        others = [record.results for record in entry.manifest.seeds.values()]
        runs: list[dict[str, Any]] = [entry.manifest.results, *others]
        cells = []
        for path, measure in figures:
            values = [run[path[0]][measure.key] for run in runs if path[0] in run]
            cells.append(f"{measure.shown(mean(values))} ± {measure.shown(stdev(values))}")
        lines.append(f"| `{short_name(entry)}` | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def speed_table() -> str:
    """Return the table of backends."""
    from benchmarks.results import SPEED, read_rows
    from benchmarks.summary import backend_table

    return backend_table(read_rows(SPEED))


def with_tables(text: str) -> str:
    """Return the README with each table between its markers replaced."""
    for name, make in (("models", table), ("speed", speed_table)):
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        head, rest = text.split(begin)
        _, tail = rest.split(end)
        text = f"{head}{begin}\n{make()}\n{end}{tail}"
    return text


def draw() -> None:
    """Draw ten test images over the reconstructions of each trained model."""
    import matplotlib.pyplot as plt
    import numpy as np

    import fmae_zoo
    from fmae_zoo.plots import STYLE

    data = fmae_zoo.load_data()
    firsts = np.concatenate([np.flatnonzero(data.test_labels == c)[:1] for c in range(10)])
    images = data.test_images[firsts]
    rows = {"original": images / 255.0}
    for entry in bundled():
        if entry.pretrained:
            rows[short_name(entry)] = entry.build(pretrained=True).reconstruct(images)
    with plt.rc_context({**STYLE, "axes.grid": False}):
        figure, axes = plt.subplots(
            len(rows),
            10,
            figsize=(9.6, 0.8 * len(rows)),
            gridspec_kw={"wspace": 0.05, "hspace": 0.05},
        )
        for axis_row, (label, pictures) in zip(axes, rows.items()):
            for axis, picture in zip(axis_row, pictures):
                axis.imshow(np.squeeze(picture), cmap="gray_r", vmin=0, vmax=1)
                axis.set_xticks([])
                axis.set_yticks([])
                axis.spines[:].set_visible(False)
            axis_row[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
        PICTURE.parent.mkdir(exist_ok=True)
        figure.savefig(PICTURE, dpi=110, bbox_inches="tight")


def main() -> None:
    """Write the README and the picture, or check the README."""
    text = README.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        if with_tables(text) != text:
            raise SystemExit("README.md is not up to date: run `make readme`")
        return
    README.write_text(with_tables(text), encoding="utf-8")
    draw()


if __name__ == "__main__":
    main()
