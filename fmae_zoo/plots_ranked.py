"""Plots of ranked images: each has a caption, and other pictures of it may be below it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fmae_zoo.plots import MUTED, STYLE, entitle, on_paper, save_figure, width_of

SIDE = 0.85
"""Width of an image in the plot in inches."""

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
        note: Small text below the images.
        labels: Names of the pictures of a column, from above, on the left of each row.
        per_row: Number of columns in a row.
    """
    height, width = columns[0].images[0].shape[:2]
    deep = len(columns[0].images) + (columns[0].residual is not None)
    across, rows = min(per_row, len(columns)), -(-len(columns) // per_row)
    inches = (across * SIDE + 1.2, rows * (deep * SIDE * height / width + 0.4) + 0.8)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(max(inches[0], width_of(title)), inches[1]), layout="constrained")
        grid = figure.subplots(rows * deep, across, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for number, column in enumerate(columns):
            row, place = divmod(number, per_row)
            own = grid[row * deep : (row + 1) * deep, place]
            own[0].set_title(column.value, fontsize=8, pad=12)
            above = {"transform": own[0].transAxes, "fontsize": 6, "color": MUTED}
            own[0].text(0.0, 1.03, _short(column.name), in_layout=False, **above)
            for axes, image in zip(own, column.images):
                axes.imshow(on_paper(image), "gray", vmin=0, vmax=1, interpolation="nearest")
            if column.residual is not None:
                own[-1].imshow(column.residual, "RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
            for axes, label in zip(own, labels if place == 0 else ()):
                beside = {"transform": axes.transAxes, "fontsize": 8, "color": MUTED}
                axes.text(-0.1, 0.5, label, ha="right", va="center", **beside)
        entitle(figure, title)
        figure.supxlabel(note, x=0.01, ha="left", fontsize=8, color=MUTED)
        return save_figure(figure, path)


def _short(name: str) -> str:
    """Return the last part of a path, and of a long name its last letters."""
    name = Path(name).name
    return name if len(name) <= LETTERS else f"\N{HORIZONTAL ELLIPSIS}{name[1 - LETTERS :]}"
