"""Pictures of a sweep: the values of all trials, and the importance of each key."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fmae_zoo.files import atomic_write
from fmae_zoo.plots import DPI, INK, MUTED, STYLE, TRAIN_COLOUR, VALIDATION_COLOUR
from fmae_zoo.sweeping.space import Axis

NEAR = 0.07
"""Least distance between two ticks, as a share of the axis."""

BARE: dict[Any, Any] = STYLE | {"axes.grid": False}


def plot_parallel(
    rows: Sequence[Mapping[str, Any]],
    axes: Sequence[Axis],
    best: Mapping[str, Any],
    path: Path,
    title: str,
) -> Path:
    """Draw a line for each trial over an axis for each key; return the path of the PNG.

    The last axis is the objective. A darker line has a better value, and a pruned trial ends
    before that axis. Failed trials are left out.

    Args:
        rows: Rows of the trials, as in a `SweepResult`.
        axes: Axes of the swept keys.
        best: Row of the best trial, which is highlighted.
        path: Path of the PNG.
        title: Title of the objective.
    """
    complete = [row for row in rows if row["state"] == "complete"]
    values = [row["value"] for row in complete]
    spread = max(values) - min(values) or abs(max(values)) * 1e-3 or 1.0
    scales = [_scale(axis) for axis in axes]
    scales.append(_scale(Axis("value", low=min(values), high=min(values) + spread)))
    keys = [axis.key for axis in axes] + ["value"]
    with matplotlib.rc_context(BARE):
        figure = Figure(figsize=(1.9 * len(keys) + 2.0, 4.6), layout="constrained")
        plot = figure.subplots()
        for place, (key, (where, ticks)) in enumerate(zip(keys, scales)):
            plot.plot([place, place], [0, 1], color=MUTED, linewidth=1.0, zorder=1)
            side = {"ha": "left" if key == "value" else "right", "color": MUTED}
            for value in ticks:
                if key != "value" or abs(where(value) - where(best[key])) > NEAR:
                    shift = 0.05 if key == "value" else -0.03
                    _label(plot, place + shift, where(value), _text(value), **side)
            table, _, last = key.rpartition(".")
            name = (title, "on validation images") if key == "value" else (last, f"in {table}")
            _label(plot, place, 1.16, name[0], ha="center", fontweight="bold", fontsize=10)
            _label(plot, place, 1.09, name[1], ha="center", color=MUTED)
        for row in rows:
            if row["state"] == "pruned":
                heights = [scale[0](row[key]) for key, scale in zip(keys[:-1], scales)]
                plot.plot(range(len(heights)), heights, ":", color="#b6bcc8", linewidth=1.2)
        for row in complete:
            heights = [scale[0](row[key]) for key, scale in zip(keys, scales)]
            goodness = 1.0 - abs(row["value"] - best["value"]) / spread
            colour: Any = matplotlib.colormaps["Blues"](0.25 + 0.65 * goodness)
            style: dict[str, Any] = {"color": colour, "linewidth": 1.5, "zorder": 2 + goodness}
            if row is best:
                style = {"color": VALIDATION_COLOUR, "linewidth": 3.0, "zorder": 4, "marker": "o"}
            plot.plot(range(len(heights)), heights, solid_capstyle="round", **style)
        note = f"{_text(best['value'])}, the best\n(trial {best['trial']})"
        height = scales[-1][0](best["value"])
        _label(plot, len(keys) - 0.95, height, note, color=VALIDATION_COLOUR, fontweight="bold")
        states = [row["state"] for row in rows]
        words = f"{len(complete)} finished (darker is better), {states.count('pruned')} pruned "
        words += f"(dotted), {states.count('fail')} failed (not shown)"
        _label(plot, 0, -0.1, words, ha="left", color=MUTED)
        plot.set(xlim=(-0.5, len(keys) - 0.3), ylim=(-0.13, 1.2))
        plot.axis("off")
        return _written(figure, path)


def plot_importance(shares: Mapping[str, float], count: int, path: Path, title: str) -> Path:
    """Draw the importance of each key as a bar; return the path of the PNG.

    Args:
        shares: Share of the variance of the objective for each key; the sum is 1.
        count: Number of trials that the shares were computed from.
        path: Path of the PNG.
        title: Title of the objective.
    """
    keys = sorted(shares, key=lambda key: shares[key])
    with matplotlib.rc_context(BARE):
        figure = Figure(figsize=(7.0, 1.2 + 0.45 * len(keys)), layout="constrained")
        plot = figure.subplots()
        plot.barh(keys, [shares[key] for key in keys], height=0.55, color=TRAIN_COLOUR)
        for height, key in enumerate(keys):
            plot.text(shares[key] + 0.01, height, f"{shares[key]:.0%}", va="center", color=INK)
        plot.spines["bottom"].set_visible(False)
        plot.tick_params(length=0, labelcolor=INK)
        plot.set(xlim=(0, 1.1), xticks=[])
        plot.set_xlabel(f"fANOVA over {count} finished trials", loc="left", color=MUTED)
        figure.suptitle(
            f"Share of each key in the variance of the {title}",
            x=0.01,
            ha="left",
            fontweight="bold",
            fontsize=12,
        )
        return _written(figure, path)


def _scale(axis: Axis) -> tuple[Callable[[Any], float], list[Any]]:
    """Return the function from a value of an axis to its height in [0, 1], and the ticks."""
    if axis.choices:
        labels = axis.labels
        return lambda value: (labels.index(value) + 0.5) / len(labels), labels
    low, high = (math.log10(e) if axis.log else e for e in (axis.low, axis.high))

    def height(value: float) -> float:
        return ((math.log10(value) if axis.log else value) - low) / (high - low)

    inner: Any = MaxNLocator(4, integer=axis.whole).tick_values(axis.low, axis.high)
    if axis.log:
        inner = 10.0 ** np.arange(math.ceil(low), math.floor(high) + 1)
    ticks = [axis.low, axis.high]
    ticks += [e for e in map(float, inner) if axis.low < e and NEAR < height(e) < 1.0 - NEAR]
    return height, ticks


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)


def _label(plot: Any, x: float, y: float, text: str, **style: Any) -> None:
    box = {"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8}
    plot.text(x, y, text, **{"va": "center", "fontsize": 9, "bbox": box, "zorder": 5} | style)


def _written(figure: Figure, path: Path) -> Path:
    with atomic_write(path) as file:
        figure.savefig(file, dpi=DPI, format="png")
    return path
