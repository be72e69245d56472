"""The report's bar chart of images per second by backend and contestant."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from fmae_zoo.files import atomic_write
from fmae_zoo.plots import INK, MUTED, STYLE

ENTRY = "conv-ae-bn"
TASKS = {"train": "training", "encode": "encoding"}
COLOURS = {
    "fmae_zoo": "#0072b2",
    "keras": "#56b4e9",
    "handwritten": "#e69f00",
    "pythae": "#cc79a7",
}
"""Colour of each contestant, distinct for colour-blind readers (Okabe and Ito 2008)."""


def draw(groups: Sequence[dict[tuple[str, str], Any]], path: Path) -> Path | None:
    """Draw training and encoding of `ENTRY`; return the path, or None if there are no such rows.

    If several groups measured a task, the largest group is drawn.
    """
    chosen = {task: best for task in TASKS if (best := _largest(groups, task))}
    if not chosen:
        return None
    height = 1.2 + 0.34 * max(_height(group) for group in chosen.values())
    with matplotlib.rc_context(STYLE | {"axes.grid": False, "axes.spines.bottom": False}):
        figure = Figure(figsize=(5.2 * len(chosen), height), layout="constrained")
        panels = figure.subplots(1, len(chosen), squeeze=False)[0]
        for axes, (task, group) in zip(panels, chosen.items()):
            _bars(axes, group)
            row = next(iter(group.values()))
            how = f"{row['precision']}, batch {row['batch_size']}, {row['device']}"
            axes.set_title(f"{TASKS[task]}, {how}", fontsize=10, fontweight="normal", color=MUTED)
        figure.suptitle(
            f"{ENTRY}: images per second, median and quartiles",
            x=0.02,
            ha="left",
            fontsize=13,
            fontweight="bold",
        )
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)
        # Given a path, `savefig` could leave a partial file.
        with atomic_write(path) as file:
            figure.savefig(file, format="png", dpi=150)
    return path


def _largest(groups: Sequence[dict[tuple[str, str], Any]], task: str) -> dict[Any, Any]:
    good = [
        {key: row for key, row in group.items() if "error" not in row}
        for group in groups
        if all(row["task"] == task and row["entry"] == ENTRY for row in group.values())
    ]
    return max(good, key=len, default={})


def _height(group: dict[tuple[str, str], Any]) -> int:
    return len(group) + len({backend for backend, _ in group})


def _bars(axes: Any, group: dict[tuple[str, str], Any]) -> None:
    """Draw a bar for each row, under a heading for each backend."""
    top = max(row["images_per_second"]["upper_quartile"] for row in group.values())
    ticks, labels, place, above = [], [], 0, ""
    for (backend, contestant), row in group.items():
        if backend != above:
            axes.text(0, place, backend, color=INK, va="center", fontweight="bold")
            place, above = place + 1, backend
        speed = row["images_per_second"]
        median, low, high = (speed[k] for k in ("median", "lower_quartile", "upper_quartile"))
        axes.barh(place, median, height=0.78, color=COLOURS[contestant])
        axes.hlines(place, low, high, color=INK, linewidth=1.2)
        label = f"{median:,.0f}"
        axes.text(max(high, median) + 0.015 * top, place, label, color=INK, va="center", fontsize=9)
        ticks.append(place)
        labels.append(contestant)
        place += 1
    axes.set_yticks(ticks, labels, color=MUTED)
    axes.tick_params(left=False)
    axes.set_ylim(place - 0.4, -0.7)
    axes.set_xlim(0, 1.18 * top)
    axes.set_xticks([])
    axes.spines["left"].set_visible(False)
