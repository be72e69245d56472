"""Plots of ranked images: each has a caption, and other pictures of it may be below it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fmae_zoo.files import atomic_write
from fmae_zoo.plots import DPI, MUTED, STYLE, on_paper

WIDTH = 110
"""Approximate width of an image in the plot, in pixels; it is scaled by a whole number."""

GAP, CAPTION, BLOCK, EDGE = 10, 34, 16, 20
"""Pixels between images, for a caption, between rows of columns, and around the plot."""

LETTERS = 17
"""Largest number of letters of a name in a caption."""


@dataclass(frozen=True)
class Column:
    """A ranked image, with what is drawn above and below it.

    Attributes:
        value: First line of the caption, in bold.
        name: Name of the image; the start of a long one is left out.
        images: The image, and what is drawn below it: `(height, width[, channels])`, uint8 or in
            [0, 1].
        residual: Difference to be drawn last, from -1 (blue) over 0 (white) to 1 (red), `(height,
            width)`; or None.
    """

    value: str
    name: str
    images: Sequence[np.ndarray]
    residual: np.ndarray | None = None


def plot_ranked(
    columns: Sequence[Column],
    path: str | Path,
    title: str = "",
    note: str = "",
    labels: Sequence[str] = (),
    per_row: int = 8,
) -> Path:
    """Draw ranked images side by side, in as many rows as needed; return the path of the PNG.

    Args:
        columns: What is drawn of each image; all have the same number of pictures.
        path: Path of the PNG.
        title: Title of the plot.
        note: Small text below the title.
        labels: Names of the pictures of a column, from above, on the left of each row.
        per_row: Number of columns in a row.
    """
    first = columns[0]
    height, width = first.images[0].shape[:2]
    scale = max(1, round(WIDTH / width))
    height, width = height * scale, width * scale
    deep = len(first.images) + (first.residual is not None)
    across, rows = min(per_row, len(columns)), -(-len(columns) // per_row)
    left = EDGE + (112 if labels else 0)
    top = EDGE + (36 if title else 0) + (34 if note else 0)
    block = CAPTION + deep * (height + GAP) + BLOCK
    texts = max(14 * len(title), 9 * len(note)) + 2 * EDGE
    size = (max(left + across * (width + GAP) - GAP + EDGE, texts), top + rows * block)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(size[0] / DPI, size[1] / DPI))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.axis("off")
        axes.text(EDGE, EDGE, title, va="top", fontsize=12, fontweight="bold")
        axes.text(EDGE, top - 16, note, va="bottom", fontsize=8, color=MUTED)
        for number, column in enumerate(columns):
            row, place = divmod(number, per_row)
            x, y = left + place * (width + GAP), top + row * block
            axes.text(x, y + 13, column.value, va="bottom", fontsize=8, fontweight="bold")
            axes.text(x, y + 29, _short(column.name), va="bottom", fontsize=6, color=MUTED)
            for depth in range(deep):
                above = y + CAPTION + depth * (height + GAP)
                extent = (x, x + width, above + height, above)
                if depth < len(column.images):
                    picture = on_paper(column.images[depth])
                    axes.imshow(picture, "gray", vmin=0, vmax=1, extent=extent)
                elif column.residual is not None:
                    axes.imshow(column.residual, "RdBu_r", vmin=-1, vmax=1, extent=extent)
                if place == 0 and labels:
                    middle = above + height / 2
                    axes.text(EDGE, middle, labels[depth], va="center", fontsize=8, color=MUTED)
        axes.set(xlim=(0, size[0]), ylim=(size[1], 0), aspect="auto")
        with atomic_write(path) as file:
            figure.savefig(file, dpi=DPI, format="png")
    return Path(path)


def _short(name: str) -> str:
    """Return the last part of a path, and of a long name its last letters."""
    name = Path(name).name
    return name if len(name) <= LETTERS else f"\N{HORIZONTAL ELLIPSIS}{name[1 - LETTERS :]}"
