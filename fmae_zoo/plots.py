"""Plots: loss curves, reconstructions, image grids, confusion matrices, latent maps."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from fmae_zoo.arguments import check_file
from fmae_zoo.files import atomic_write
from fmae_zoo.images import shape_of

INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
DPI = 130
MARGIN = 2
"""Number of white pixels around each image of a grid."""

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
    """Plot training and validation loss over the epochs; return the path of the PNG.

    The scale is logarithmic if the losses are positive and the largest is more than 4 times the
    smallest.

    Args:
        rows: Rows of a history, each with `epoch`, `loss` and `val_loss`.
        path: Path of the PNG.
        title: Title of the plot.
        label: Label of the vertical axis.
        kept: Epoch, from 1, whose weights were kept, to be marked.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        epochs = [row["epoch"] for row in rows]
        train = [row["loss"] for row in rows]
        validation = [row["val_loss"] for row in rows]
        marker = "o" if len(rows) < 3 else ""
        axes.plot(epochs, train, color=TRAIN_COLOUR, label="training", marker=marker)
        axes.plot(epochs, validation, color=VALIDATION_COLOUR, label="validation", marker=marker)
        if min(train + validation) > 0 and max(train + validation) > 4 * min(train + validation):
            axes.set_yscale("log")
            for axis_ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                axis_ticks(lambda value, _: f"{value:g}")
        if kept is not None:
            best, label_of_best = validation[kept - 1], f"kept: epoch {kept}"
            axes.plot(kept, best, "o", color=VALIDATION_COLOUR, label=label_of_best)
        if len(rows) == 1:
            axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel=label, title=title)
        axes.legend()
        return save_figure(figure, path, colours=64)


def plot_reconstructions(
    images: np.ndarray, reconstructions: np.ndarray, path: str | Path, title: str = ""
) -> Path:
    """Draw originals above their reconstructions, one pair per column; return the PNG's path.

    Args:
        images: Images `(n, height, width[, channels])`, uint8 or in [0, 1]; the first 12 are drawn.
        reconstructions: Reconstructions of the same shape.
        path: Path of the PNG.
        title: Title of the picture.
    """
    images = np.asarray(images)
    count = min(12, len(images))
    with matplotlib.rc_context(STYLE):
        width = max(count * 0.9, 3.6, width_of(title))
        height = 1.8 * images.shape[1] / images.shape[2] + 0.7
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(2, count, squeeze=False)
        for row, (label, pictures) in enumerate(
            (("original", images), ("reconstruction", reconstructions))
        ):
            for column in range(count):
                _picture(axes[row, column], pictures[column])
            axes[row, 0].set_ylabel(label, fontsize=9)
        entitle(figure, title)
        return save_figure(figure, path)


def plot_grid(
    images: np.ndarray, path: str | Path, title: str = "", columns: int | None = None
) -> Path:
    """Draw images in a grid, row by row; return the path of the PNG.

    Args:
        images: Images `(n, height, width[, channels])`, uint8 or in [0, 1].
        path: Path of the PNG.
        title: Title of the grid.
        columns: Number of columns; by default about the number of rows.
    """
    images = np.asarray(images)
    columns = columns or max(1, int(np.ceil(np.sqrt(len(images)))))
    rows = max(1, int(np.ceil(len(images) / columns)))
    height, width, channels = shape_of(images)
    cell = (height + 2 * MARGIN, width + 2 * MARGIN)
    canvas = np.ones((rows * cell[0], columns * cell[1], channels), dtype=np.float32)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = cell[0] * row + MARGIN, cell[1] * column + MARGIN
        canvas[top : top + height, left : left + width] = on_paper(image)
    with matplotlib.rc_context(STYLE):
        inches = (min(columns * 0.75, 20.0), min(rows * 0.75 * cell[0] / cell[1], 20.0))
        size = (max(inches[0] + 0.2, width_of(title)), inches[1] + 0.5)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.imshow(canvas, cmap="gray", vmin=0, vmax=1)
        axes.axis("off")
        entitle(figure, title)
        return save_figure(figure, path)


def plot_confusion(
    matrix: Any,
    path: str | Path,
    title: str = "",
    names: Sequence[str] | None = None,
) -> Path:
    """Draw a confusion matrix of counts; return the path of the PNG.

    Args:
        matrix: Integers `(classes, classes)` as in `Classifier.report`, with a row for each true
            class and a column for each predicted class.
        path: Path of the PNG.
        title: Title of the matrix.
        names: Names of the classes, as in `Dataset.class_names`; their numbers by default.
    """
    matrix = np.asarray(matrix)
    count = len(matrix)
    names = names or [str(number) for number in range(count)]
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        size = max(4.5, 0.62 * count + 1.4)
        width = max(size + 0.4, width_of(title))
        figure = Figure(figsize=(width, size), layout="constrained")
        axes = figure.subplots()
        axes.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
        centred: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
        for (row, column), images in np.ndenumerate(matrix):
            colour = "white" if share[row, column] > 0.55 else INK if images else "#c7ccd5"
            axes.text(column, row, f"{images:d}", color=colour, **centred)
        axes.set_xticks(range(count), names, rotation=45, ha="right")
        axes.set_yticks(range(count), names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted", ylabel="true")
        entitle(figure, title)
        return save_figure(figure, path)


def plot_latent_map(
    points: np.ndarray,
    labels: np.ndarray,
    path: str | Path,
    title: str = "",
    names: Sequence[str] | None = None,
) -> Path:
    """Draw points coloured by class; return the path of the PNG.

    The name of a class is at the median of its points, or above or below it to avoid overlap.

    Args:
        points: Points `(n, 2)`.
        labels: Class of each point, integers `(n,)`.
        path: Path of the PNG.
        title: Title of the map.
        names: Names of the classes, as in `Dataset.class_names`; their numbers by default.
    """
    classes = np.unique(labels)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(7.5, 6.5), layout="constrained")
        axes = figure.subplots()
        colours = [matplotlib.colormaps["tab10"](number) for number in range(10)]
        for number in classes:
            own = points[labels == number]
            axes.scatter(
                own[:, 0], own[:, 1], s=5, color=colours[number % 10], alpha=0.55, linewidths=0
            )
        texts = [
            axes.annotate(
                names[number] if names else str(number),
                np.median(points[labels == number], axis=0),
                xytext=(0.0, 0.0),
                textcoords="offset points",
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold",
                color=INK,
                bbox={
                    "boxstyle": "round,pad=0.25",
                    "fc": "white",
                    "ec": colours[number % 10],
                    "alpha": 0.9,
                },
            )
            for number in classes
        ]
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_title(title)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent().padded(4.0).extents for text in texts]
        for text, shift in zip(texts, _apart(np.array(boxes))):
            text.set_position((0.0, shift * 72.0 / figure.dpi))
        return save_figure(figure, path)


def _apart(boxes: np.ndarray) -> np.ndarray:
    """Return the upward shift of each box `(left, bottom, right, top)` that avoids overlaps."""
    left, bottom, right, top = boxes.T
    shifts = np.zeros(len(boxes))
    for _ in range(100):
        moved = False
        for one, other in combinations(np.argsort((bottom + top) / 2 + shifts), 2):
            beside = right[one] <= left[other] or right[other] <= left[one]
            overlap = top[one] + shifts[one] - bottom[other] - shifts[other]
            below = top[other] + shifts[other] <= bottom[one] + shifts[one]
            if not beside and not below and overlap > 0.01:
                shifts[one] -= overlap / 2
                shifts[other] += overlap / 2
                moved = True
        if not moved:
            break
    return shifts


def _picture(axis: Any, image: np.ndarray) -> None:
    axis.imshow(on_paper(image), cmap="gray", vmin=0, vmax=1)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)


def on_paper(image: Any) -> np.ndarray:
    """Return an image as `(height, width, channels)` in [0, 1]; grey images are inverted."""
    image = np.asarray(image)
    scale = 255.0 if image.dtype == np.uint8 else 1.0
    image = np.atleast_3d(image) / scale
    return 1.0 - image if image.shape[2] == 1 else image


def entitle(figure: Any, title: str) -> None:
    """Write the title of a figure on its upper left."""
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)


def width_of(title: str) -> float:
    """Return the approximate width of a title in inches."""
    return 0.11 * len(title) + 0.3


def save_figure(figure: Any, path: str | Path, colours: int | None = None) -> Path:
    """Write a figure as PNG and return its path; `colours` limits their number for a small file."""
    path = check_file("path", path, any_bytes=True)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=DPI, format="png", transparent=False)
    if colours is not None:
        image = Image.open(drawn).convert("RGB").quantize(colours)
        drawn = BytesIO()
        image.save(drawn, "PNG", optimize=True, dpi=(DPI, DPI))
    with atomic_write(path) as file:
        file.write(drawn.getvalue())
    return path
