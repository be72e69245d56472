"""The pictures of the page: rows of images, and bar charts."""

import base64
import io
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from fmae_zoo.plots import STYLE, on_paper

ON_BOTH, BARS = "#7d8696", "#3b82f6"
"""Colours that are visible on white and on black."""

GAP = 2
"""Transparent pixels between images."""

CELL = 60
"""Approximate width of an image on the screen, in pixels; it is scaled by a whole number."""


def data_address(content: bytes, kind: str = "png") -> str:
    """Return the address (`data:image/png;base64,...`) of a picture that a page contains."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


@dataclass(frozen=True)
class Picture:
    """A PNG picture.

    Attributes:
        png: Content of the PNG file.
        width, height: Size on the page, in pixels.
        alt: Description of the picture in words.
        label: Caption of the picture.
        kind: CSS class of the picture: `grey`, `colour` or `chart`.
    """

    png: bytes
    width: int
    height: int
    alt: str
    label: str = ""
    kind: str = "colour"

    @property
    def html(self) -> str:
        """HTML of the picture with its label."""
        label = f"<figcaption>{escape(self.label)}</figcaption>" if self.label else ""
        return (
            f'<figure>{label}<img class="{self.kind}" width="{self.width}" height="{self.height}" '
            f'alt="{escape(self.alt)}" src="{data_address(self.png)}"></figure>'
        )


def tiled(rows: Any, alt: str, label: str = "") -> Picture:
    """Return rows of images as one picture; `None` in place of an image leaves a transparent gap.

    Args:
        rows: Rows of equal length, of images `(height, width, channels)` in [0, 1].
        alt: Description of the picture in words.
        label: Caption of the picture.
    """
    from PIL import Image

    height, width, channels = next(each for row in rows for each in row if each is not None).shape
    shape = (len(rows) * (height + GAP) - GAP, len(rows[0]) * (width + GAP) - GAP, channels + 1)
    canvas = np.zeros(shape, dtype=np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            if image is not None:
                top, left = i * (height + GAP), j * (width + GAP)
                cell = canvas[top : top + height, left : left + width]
                cell[..., :-1], cell[..., -1] = np.round(255.0 * on_paper(image)), 255
    file = io.BytesIO()
    Image.fromarray(canvas).save(file, "PNG", optimize=True)
    scale, kind = max(1, round(CELL / width)), "grey" if channels == 1 else "colour"
    return Picture(file.getvalue(), shape[1] * scale, shape[0] * scale, alt, label, kind)


def bars(values: np.ndarray, label: str, alt: str) -> Picture:
    """Return a bar chart of values, in colours that are visible on white and on black."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    width, height = 9.6, 2.6
    keys = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    both: dict[Any, Any] = {**dict.fromkeys(keys, ON_BOTH), "grid.color": f"{ON_BOTH}55"}
    with matplotlib.rc_context({**STYLE, **both, "axes.grid.axis": "y", "axes.axisbelow": True}):
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        each = 0.7 * 72 * (width - 1) / len(values)
        places = np.arange(1, len(values) + 1)
        axes.vlines(places, 0, values, color=BARS, linewidth=max(each, 0.5))
        axes.set_xlim(0.4, len(values) + 0.6)
        axes.set_ylim(0, None)
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="the greatest first", ylabel=label)
        file = io.BytesIO()
        figure.savefig(file, dpi=200, format="png")
    return Picture(file.getvalue(), round(100 * width), round(100 * height), alt, kind="chart")
