"""The plot of accuracy by number of labels, from the figure `few_labels` of the entries."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from result_pictures import save_figure

from fmae_zoo.evaluation.few_labels import CODE, COUNTS
from fmae_zoo.registry import bundled, short_name

PANELS = (
    ("inductive", "Inductive: test images unseen"),
    ("transductive", "Transductive: test images without labels"),
)
PUBLISHED = {"transductive": {1: 0.6195, 5: 0.7311, 10: 0.7614}}
"""Results of others. Source: Calder et al. 2020, arXiv 2006.11184, PoissonMBO."""


def curves() -> list[dict[str, Any]]:
    """Return name and figure of each entry with few labels, the best at ten labels first.

    The baselines of the entry with the most values, `pixels` and `PCA`, are the last two rows.
    """
    found = [
        (entry, entry.manifest.results["few_labels"])
        for entry in bundled()
        if entry.pretrained and "few_labels" in entry.manifest.results
    ]
    rows = [
        {"name": f"{short_name(entry)}  {entry.spec.latent.size:,}"}
        | {way: _curve(figure[way]["curves"][CODE]) for way, _ in PANELS}
        | {"fine_tuned": _fine_tuned(entry.manifest.results)}
        for entry, figure in found
    ]
    rows.sort(key=lambda row: -row["transductive"][COUNTS.index(10)][0])
    if found:
        entry, widest = max(found, key=lambda each: each[0].spec.latent.size)
        names = {"pca": f"PCA  {entry.spec.latent.size:,}", "pixels": "pixels  784"}
        rows += [
            {"name": name} | {way: _curve(widest[way]["curves"][key]) for way, _ in PANELS}
            for key, name in names.items()
        ]
    return rows


def _fine_tuned(results: dict[str, Any]) -> list[tuple[float, float]] | None:
    """Return the curve of fine-tuned classifiers, or None if it was not measured."""
    figure = results.get("few_labels_fine_tuned")
    return None if figure is None else _curve(figure["curve"])


def _curve(points: dict[str, dict[str, float]]) -> list[tuple[float, float]]:
    """Return mean and standard deviation for each number of labels."""
    return [(points[str(count)]["mean"], points[str(count)]["sd"]) for count in COUNTS]


def plot_few_labels(rows: Sequence[dict[str, Any]], path: Path, description: str) -> None:
    """Plot a curve for each row in both panels, with a band of one standard deviation."""
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    from fmae_zoo.plots import MUTED, STYLE

    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, max(len(rows) - 2, 1)))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.6), layout="constrained")
        found = figure.subplots(1, len(PANELS), sharey=True)
        for axes, (way, title) in zip(found, PANELS):
            for place, row in enumerate(rows):
                is_baseline = place >= len(rows) - 2
                mean, deviation = np.array(row[way]).T
                colour = MUTED if is_baseline else colours[place]
                style = ("--", ":")[place - len(rows)] if is_baseline else "-"
                axes.plot(COUNTS, mean, style, color=colour, label=row["name"], linewidth=2)
                if not is_baseline:
                    axes.fill_between(
                        COUNTS, mean - deviation, mean + deviation, color=colour, alpha=0.15, lw=0
                    )
                if way == "inductive" and row.get("fine_tuned"):
                    means = [mean for mean, _ in row["fine_tuned"]]
                    label = f"{row['name']}, fine-tuned"
                    axes.plot(COUNTS, means, "-.", color=colour, label=label, linewidth=2)
            others = PUBLISHED.get(way)
            if others:
                label = "Calder et al. 2020"
                axes.plot(*zip(*others.items()), "D", color="#c2410c", markersize=6, label=label)
            axes.set_xscale("log")
            axes.set_xticks(COUNTS, map(str, COUNTS))
            axes.minorticks_off()
            axes.set_title(title)
            axes.set_xlabel("labelled images of each class", color=MUTED)
            axes.spines[["top", "right"]].set_visible(False)
        found[0].set_ylabel("accuracy", color=MUTED)
        for axes in found:
            axes.legend(frameon=False, loc="lower right", fontsize=9)
        save_figure(figure, path, description)
