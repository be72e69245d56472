"""HTML and values for the page: images, bars, cards, maps and films."""

import io
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

from fmae_zoo.images import array_shape, as_images, shape_of
from fmae_zoo.plots import on_paper
from fmae_zoo.show.pictures import data_address

SPRITE_COLUMNS = 50
POINTS_HTML = (
    '<div class="points"><canvas tabindex="0" role="application" aria-label="{label}"></canvas>'
    '<div class="tip" hidden></div><p class="words" aria-live="polite"></p>'
    '<div class="legend"></div></div>'
)
POINTS_CSS = """
.points { position: relative; }
canvas { width: 100%; height: 440px; display: block; touch-action: none; cursor: crosshair; }
canvas:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.tip { position: absolute; pointer-events: none; padding: 6px 8px; border-radius: 6px;
  font-size: 13px; background: var(--block-background-fill); white-space: nowrap;
  border: 1px solid var(--border-color-primary); box-shadow: 0 2px 8px #0003; z-index: 2; }
.tip canvas { width: 84px; height: auto; image-rendering: pixelated; margin-bottom: 4px; }
.words { position: absolute; width: 1px; height: 1px; overflow: hidden; margin: 0; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 14px; font-size: 13px; padding-top: 8px; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 5px;
  margin-right: 6px; }
@media (max-width: 600px) { .points > canvas { height: 320px; } }
"""
FILM_HTML = (
    '<div class="film" hidden><p class="caption"></p><div class="frame" role="img"></div>'
    '<input type="range" min="0" value="0" aria-label="position of the morph"></div>'
)
FILM_CSS = """
.frame { width: 168px; height: 168px; image-rendering: pixelated; border-radius: 4px;
  outline: 1px solid var(--border-color-primary); }
input { width: 168px; margin: 8px 0 0; accent-color: var(--color-accent); }
.caption { font-size: .78rem; margin: 0 0 4px; color: var(--body-text-color-subdued); }
"""


def script(name: str) -> str:
    """Return the text of a file of this folder."""
    return files("fmae_zoo").joinpath("app", name).read_text(encoding="utf-8")


def sheet(images: np.ndarray, columns: int = 1) -> Image.Image:
    """Return images `(n, height, width[, channels])` as one picture, in rows.

    Images are uint8 or in [0, 1]; grey ones are shown dark on white.
    """
    shape = shape_of(images)
    images = as_images(images, shape)
    images = np.round(255.0 * np.stack([on_paper(each) for each in images])).astype(np.uint8)
    images = images.reshape(len(images), *array_shape(shape))
    height, width = images.shape[1:3]
    rows = -(-len(images) // columns)
    cells = np.zeros((rows * columns, *images.shape[1:]), np.uint8)
    cells[: len(images)] = images
    cells = cells.reshape(rows, columns, *images.shape[1:]).swapaxes(1, 2)
    return Image.fromarray(cells.reshape(rows * height, columns * width, *images.shape[3:]))


def address(images: np.ndarray, columns: int = 1, kind: str = "PNG") -> str:
    """Return images as a data URI of one picture, as `sheet` draws it."""
    file = io.BytesIO()
    sheet(images, columns).save(file, kind, quality=75)
    return data_address(file.getvalue(), kind.lower())


def tile(image: np.ndarray, caption: str) -> str:
    """Return the HTML of one image `(height, width[, channels])` with a caption above it."""
    words = escape(caption)
    return (
        f'<figure class="fmae-tile"><figcaption title="{words}">{words}'
        f'</figcaption><img src="{address(image[None])}" alt="{words}"></figure>'
    )


def residual(image: np.ndarray, made: np.ndarray) -> np.ndarray:
    """Return `made - image` as colours: red where it is too bright, blue where too dark.

    Both are `(height, width, channels)` in [0, 1]; the result is uint8 `(height, width, 3)`.
    """
    error = (made - image).mean(axis=-1, keepdims=True)
    red, blue = np.clip(2.0 * error, 0.0, 1.0), np.clip(-2.0 * error, 0.0, 1.0)
    colours = np.concatenate([1.0 - blue, 1.0 - np.maximum(red, blue), 1.0 - red], axis=-1)
    return np.round(255.0 * colours).astype(np.uint8)


def bar(name: str, share: float) -> str:
    """Return the HTML of a share in [0, 1] as a bar with its name and per cent."""
    return (
        f'<div class="fmae-bar"><span>{escape(name)}</span><div>'
        f'<i style="width:{100 * share:.1f}%"></i></div><span>{100 * share:.1f}%</span></div>'
    )


def code_bars(code: np.ndarray) -> str:
    """Return the first 128 values of a code `(size,)` as an SVG of bars up and down from 0."""
    shown = code[:128]
    scale = 48.0 / max(float(np.abs(shown).max()), 1e-9)
    bars = "".join(
        f'<rect x="{i + 0.1}" width="0.8" y="{50 - max(v, 0) * scale:.1f}" '
        f'height="{abs(v) * scale:.1f}"/>'
        for i, v in enumerate(shown.tolist())
    )
    words = f"the first {len(shown)} of {len(code):,} values" * (len(code) > 128)
    return (
        f'<svg class="fmae-code" viewBox="0 0 {len(shown)} 100" preserveAspectRatio="none" '
        f'role="img" aria-label="values of the code"><line x1="0" x2="{len(shown)}" y1="50" '
        f'y2="50" vector-effect="non-scaling-stroke"/>{bars}</svg><p class="fmae-quiet">{words}</p>'
    )


def card(title: str, *parts: str) -> str:
    """Return the HTML of a card."""
    return f'<div class="fmae-card"><h3>{escape(title)}</h3>{"".join(parts)}</div>'


def cards(*each: str) -> str:
    """Return the HTML of cards side by side, below each other on a small screen."""
    return f'<div class="fmae-cards">{"".join(each)}</div>'


def failure(error: Exception) -> str:
    """Return the HTML of an error's sentence."""
    return f'<p class="fmae-error" role="alert">{escape(str(error))}</p>'


def points(
    places: np.ndarray,
    group: Sequence[int],
    groups: Sequence[str],
    label: Sequence[str],
    *,
    images: np.ndarray | None = None,
    axes: Sequence[str] = (),
    log: Sequence[bool] = (False, False),
    paths: bool = False,
) -> dict[str, Any]:
    """Return the value of the component that draws points (`points.js`).

    Args:
        places: Places of the points, `(n, 2)`.
        group: Index of each point's group, which decides its colour.
        groups: Names of the groups, for the legend.
        label: Words for each point, shown when it is hovered.
        images: An image for each point, uint8 `(n, height, width[, 3])`, or None.
        axes: Titles of the axes, or none for no axes.
        log: Whether each of the axes is logarithmic.
        paths: Whether paths can be dragged, and places without a point be chosen.
    """
    shown = np.round(places.astype(float), 4) if not axes else places
    return {
        "x": shown[:, 0].tolist(),
        "y": shown[:, 1].tolist(),
        "group": list(group),
        "groups": list(groups),
        "label": list(label),
        "axes": list(axes),
        "log": list(log),
        "paths": paths,
        "sprite": None if images is None else address(images, SPRITE_COLUMNS, "WEBP"),
        "tile": None if images is None else [images.shape[2], images.shape[1]],
        "columns": SPRITE_COLUMNS,
    }


def film(images: np.ndarray, caption: str) -> dict[str, Any]:
    """Return the value of the component that shows images one after another (`film.js`)."""
    return {"sprite": address(images, len(images)), "count": len(images), "caption": caption}
