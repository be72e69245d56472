"""Pictures: curves, reconstructions, image grids, confusion matrices, latent maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fmae_zoo.arguments import check_file
from fmae_zoo.data import CLASS_NAMES
from fmae_zoo.files import atomic_write

INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
MARGIN = 2
"""White pixels around each image of a grid."""

TRAIN_COLOUR, VALIDATION_COLOUR = "#2563eb", "#ea580c"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "figure.facecolor": "white",
    "legend.frameon": False,
}


def plot_curves(
    rows: Sequence[Mapping[str, float]],
    path: str | Path,
    title: str = "",
    label: str = "loss",
    kept: int | None = None,
) -> Path:
    """Plot training and validation loss over the epochs, on a log scale where they fall far.

    Args:
        rows: of a history, each with `epoch`, `loss` and `val_loss`.
        path: of the PNG.
        title: above the plot.
        label: of the vertical axis.
        kept: the epoch, from 1, whose weights were kept; it is marked.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        epochs = [row["epoch"] for row in rows]
        train = [row["loss"] for row in rows]
        validation = [row["val_loss"] for row in rows]
        axes.plot(epochs, train, color=TRAIN_COLOUR, label="training", marker=_marker(rows))
        axes.plot(
            epochs, validation, color=VALIDATION_COLOUR, label="validation", marker=_marker(rows)
        )
        if min(train + validation) > 0 and max(train + validation) > 4 * min(train + validation):
            axes.set_yscale("log")
            for axis_ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                axis_ticks(lambda value, _: f"{value:g}")
        if kept is not None:
            axes.plot(
                kept,
                validation[kept - 1],
                "o",
                color=VALIDATION_COLOUR,
                label=f"kept: epoch {kept}",
            )
        if len(rows) == 1:
            axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=label, title=title)
        axes.legend()
        return _save(figure, path)


def plot_reconstructions(
    images: np.ndarray, reconstructions: np.ndarray, path: str | Path, title: str = ""
) -> Path:
    """Draw originals over their reconstructions, one pair in each column.

    Args:
        images: `(n, 28, 28[, 1])` in [0, 1] or uint8; the first 12 are drawn.
        reconstructions: the same shape, in [0, 1].
        path: of the PNG.
        title: above the pictures.
    """
    count = min(12, len(images))
    with matplotlib.rc_context(STYLE):
        width = max(count * 0.9, 3.6, _width_of(title))
        figure = Figure(figsize=(width, 2.5), layout="constrained")
        axes = figure.subplots(2, count, squeeze=False)
        for row, (label, pictures) in enumerate(
            (("original", images), ("reconstruction", reconstructions))
        ):
            for column in range(count):
                _picture(axes[row, column], pictures[column])
            axes[row, 0].set_ylabel(label, fontsize=9)
        _entitle(figure, title)
        return _save(figure, path)


def plot_grid(images: np.ndarray, path: str | Path, title: str = "") -> Path:
    """Draw images `(n, 28, 28[, 1])` in a grid as near to a square as their number allows."""
    columns = max(1, int(np.ceil(np.sqrt(len(images)))))
    rows = max(1, int(np.ceil(len(images) / columns)))
    scale = 255.0 if np.asarray(images).dtype == np.uint8 else 1.0
    cell = 28 + 2 * MARGIN
    canvas = np.zeros((rows * cell, columns * cell), dtype=np.float32)
    for index, image in enumerate(images):
        top, left = (cell * place + MARGIN for place in divmod(index, columns))
        canvas[top : top + 28, left : left + 28] = np.reshape(image, (28, 28)) / scale
    with matplotlib.rc_context(STYLE):
        inches = (min(columns * 0.75, 20.0), min(rows * 0.75, 20.0))
        width = max(inches[0] + 0.2, _width_of(title))
        figure = Figure(figsize=(width, inches[1] + 0.5), layout="constrained")
        axes = figure.subplots()
        axes.imshow(canvas, cmap="gray_r", vmin=0, vmax=1)
        axes.axis("off")
        _entitle(figure, title)
        return _save(figure, path)


def plot_confusion(
    matrix: Any,
    path: str | Path,
    title: str = "",
    names: Sequence[str] | None = None,
) -> Path:
    """Draw a confusion matrix of counts: a row for each true class, a column for each predicted.

    Args:
        matrix: integers `(classes, classes)`, as `Classifier.report` gives them.
        path: of the PNG.
        title: above the matrix.
        names: of the classes; those of Fashion-MNIST by default where there are ten.
    """
    matrix = np.asarray(matrix)
    count = len(matrix)
    names = names or (CLASS_NAMES if count == 10 else [str(c) for c in range(count)])
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        size = max(4.5, 0.62 * count + 1.4)
        width = max(size + 0.4, _width_of(title))
        figure = Figure(figsize=(width, size), layout="constrained")
        axes = figure.subplots()
        axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
        for row in range(count):
            for column in range(count):
                colour = "white" if share[row, column] > 0.55 else INK
                if not matrix[row, column]:
                    colour = "#c7ccd5"
                axes.text(
                    column,
                    row,
                    f"{matrix[row, column]:d}",
                    ha="center",
                    va="center",
                    color=colour,
                    fontsize=8,
                )
        axes.set_xticks(range(count), names, rotation=45, ha="right")
        axes.set_yticks(range(count), names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted", ylabel="true")
        _entitle(figure, title)
        return _save(figure, path)


def plot_latent_map(
    points: np.ndarray, labels: np.ndarray, path: str | Path, title: str = ""
) -> Path:
    """Draw two-dimensional points `(n, 2)` coloured by class, each class named at its middle."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(7.5, 6.5), layout="constrained")
        axes = figure.subplots()
        colours = [matplotlib.colormaps["tab10"](number) for number in range(10)]
        for number in np.unique(labels):
            own = points[labels == number]
            axes.scatter(
                own[:, 0], own[:, 1], s=5, color=colours[number % 10], alpha=0.55, linewidths=0
            )
        for number in np.unique(labels):
            middle = np.median(points[labels == number], axis=0)
            name = CLASS_NAMES[number] if number < len(CLASS_NAMES) else str(number)
            axes.annotate(
                name,
                middle,
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold",
                color=INK,
                bbox={"boxstyle": "round,pad=0.25", "fc": "white", "ec": "none", "alpha": 0.8},
            )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_title(title)
        return _save(figure, path)


def _picture(axis: Any, image: np.ndarray) -> None:
    scale = 255 if np.asarray(image).dtype == np.uint8 else 1.0
    axis.imshow(np.asarray(image).reshape(28, 28), cmap="gray_r", vmin=0, vmax=scale)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)


def _entitle(figure: Any, title: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)


def _width_of(title: str) -> float:
    """Return the inches that a title takes, nearly."""
    return 0.11 * len(title) + 0.3


def _marker(rows: Sequence[Any]) -> str:
    return "o" if len(rows) < 3 else ""


def _save(figure: Any, path: str | Path) -> Path:
    path = check_file("path", path, any_bytes=True)
    with atomic_write(path) as file:
        figure.savefig(file, dpi=130, format="png")
    return path
