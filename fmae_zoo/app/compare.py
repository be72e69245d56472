"""The tab that compares models: any figure against any other, and loss curves."""

import csv
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from fmae_zoo.app.controls import points_view, said
from fmae_zoo.app.drawing import card, points
from fmae_zoo.app.loaded import names
from fmae_zoo.errors import ArgumentError
from fmae_zoo.evaluation import protocols
from fmae_zoo.layout import CURVES_FILE, HISTORY_FILE
from fmae_zoo.registry import find_entry
from fmae_zoo.show.pictures import data_address

if TYPE_CHECKING:
    from fmae_zoo.entry import Entry

AXES = ("reconstruction.mse", "knn.accuracy")
SIZES = {"size": "values in the code", "parameters": "parameters", "seconds": "training, seconds"}
LOG_RATIO = 20.0
"""An axis is logarithmic if its largest value is more than this many times its smallest."""

CURVES = ("conv-ae-bn", "conv-vae-bn", "conv-wae-mmd-bn")


def figures() -> dict[str, str]:
    """Return the titles of all figures that a model can have, by key."""
    measured = {
        ".".join((*protocol.path, measure.key)): f"{protocol.name}: {measure.full_title}"
        for protocol in protocols()
        for measure in protocol.results
    }
    return SIZES | measured


def figures_of(entry: "Entry") -> dict[str, float]:
    """Return the published figures of an entry by key, without those that were not measured."""
    manifest = entry.manifest
    found: dict[str, float] = {
        "size": entry.spec.latent.size,
        "parameters": sum(manifest.parameters.values()),
    }
    if manifest.training is not None:
        found["seconds"] = manifest.training.seconds
    for key in figures():
        value: Any = manifest.results
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[key] = value
    return found


def measured() -> dict[str, str]:
    """Return the titles of the figures that at least two models have, by key."""
    known = [figures_of(find_entry(name)) for name in names()]
    return {
        key: title for key, title in figures().items() if sum(key in values for values in known) > 1
    }


def scatter(first: str, second: str) -> tuple[list[str], dict[str, Any]]:
    """Return the names of the models that have two figures, and the value of their plot.

    Raises:
        ArgumentError: No model has both figures.
    """
    shown, places, networks = [], [], []
    for name in names():
        entry = find_entry(name)
        values = figures_of(entry)
        if first in values and second in values:
            shown.append(name)
            places.append((values[first], values[second]))
            networks.append(f"{entry.spec.network.type} network")
    titles = [figures()[each] for each in (first, second)]
    if not shown:
        raise ArgumentError(f"No model has both figures: {titles[0]}, {titles[1]}")
    at = np.array(places, float)
    groups = sorted(set(networks))
    group = [groups.index(each) for each in networks]
    log = [bool(v.min() > 0 and v.max() > LOG_RATIO * v.min()) for v in at.T]
    words = [f"{name}: {x:.4g}, {y:.4g}" for name, (x, y) in zip(shown, places)]
    return shown, points(at, group, groups, words, axes=titles, log=log)


def details(name: str) -> str:
    """Return a card with a model's figures, its loss curve, and the code that loads it."""
    entry = find_entry(name)
    known = figures_of(entry)
    rows = "".join(
        f"<tr><td>{escape(title)}</td><td>{_shown(known[key])}</td></tr>"
        for key, title in figures().items()
        if key in known
    )
    curve = b""
    if entry.folder is not None and (entry.folder / CURVES_FILE).is_file():
        curve = (entry.folder / CURVES_FILE).read_bytes()
    image = data_address(curve)
    return card(
        name,
        f'<p class="fmae-quiet">{escape(entry.spec.summary)}</p><h4>Load</h4>',
        f'<pre>ae = fmae_zoo.load("{escape(name)}", pretrained=True)</pre>',
        f'<h4>Loss</h4><img class="chart" src="{image}" alt="loss curves">' * bool(curve),
        f'<details><summary>All figures</summary><table class="fmae-facts">{rows}</table>'
        "</details>",
    )


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"


def histories(chosen: list[str], column: str, relative: bool = False) -> Any:
    """Return a pandas data frame with `epoch`, `value` and `model` of a column of histories.

    If `relative` is True, values are divided by the model's first one if that is not 0.
    """
    import pandas as pd

    rows: list[tuple[float, float, str]] = []
    for name in chosen:
        found = [row for row in _history(name) if row.get(column)]
        first = (float(found[0][column]) if found and relative else 1.0) or 1.0
        rows += [(float(row["epoch"]), float(row[column]) / first, name) for row in found]
    return pd.DataFrame(rows, columns=["epoch", "value", "model"])


def columns_of(chosen: list[str]) -> list[str]:
    """Return the columns that the histories of some models have, `val_loss` first."""
    found = {key for name in chosen for row in _history(name)[:1] for key in row}
    return sorted(found - {"epoch"}, key=lambda each: (each != "val_loss", each))


def _history(name: str) -> list[dict[str, str]]:
    """Return the rows of an entry's history; none if it has no history."""
    folder = find_entry(name).folder
    if folder is None or not (folder / HISTORY_FILE).is_file():
        return []
    with (folder / HISTORY_FILE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tab(page: gr.Blocks) -> None:
    """Build the tab."""
    shown = gr.State([])
    choices = [(title, key) for key, title in measured().items()]
    with gr.Row():
        axes = [
            gr.Dropdown(choices, value=key, label=label, min_width=280)
            for label, key in zip(("Horizontal", "Vertical"), AXES)
        ]
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            plot = points_view(
                "Models by two figures. Arrow keys move, Enter opens a model.", elem_id="scatter"
            )
        with gr.Column(scale=3, min_width=280):
            model = gr.Dropdown(names(), value=CURVES[0], label="Model")
            about = gr.HTML(elem_id="details", elem_classes="fmae-plain")
    gr.Markdown("### Loss curves")
    with gr.Row():
        curves = gr.Dropdown(
            names(), value=list(CURVES), multiselect=True, label="Models", scale=3, min_width=280
        )
        column = gr.Dropdown(columns_of(list(CURVES)), value="val_loss", label="Figure", scale=1)
        relative = gr.Checkbox(True, label="Divide by the first epoch's", scale=1)
    lines = gr.LinePlot(
        x="epoch",
        y="value",
        color="model",
        x_title="epoch",
        y_title="loss",
        height=320,
        label="Loss curves",
        show_label=False,
        buttons=[],
        elem_id="curves",
    )

    def choose(found: list[str], event: gr.EventData) -> str:
        return found[event.index]

    def trace(chosen: list[str], which: str, divided: bool) -> list[Any]:
        known = columns_of(chosen)
        which = which if which in known else next(iter(known), "val_loss")
        title = f"{which}, share of the first epoch's" if divided else which
        return [
            gr.Dropdown(choices=known, value=which),
            gr.LinePlot(value=histories(chosen, which, divided), y_title=title),
        ]

    gr.on([page.load, *(each.change for each in axes)], said(scatter), axes, [shown, plot])
    gr.on([page.load, model.change], said(details), model, about, show_progress="hidden")
    plot.select(said(choose), shown, model, show_progress="hidden")
    gr.on(
        [page.load, curves.change, column.input, relative.input],
        said(trace),
        [curves, column, relative],
        [column, lines],
    )
