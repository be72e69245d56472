"""The tab that walks through the codes: a map, a path between images, sliders of single values."""

from html import escape
from typing import Any

import gradio as gr
import numpy as np

from fmae_zoo.app.controls import film_view, model_choice, points_view, said
from fmae_zoo.app.drawing import address, film, points
from fmae_zoo.app.loaded import MAPPED, SLIDERS, Loaded, loaded

FIRST = "conv-vae-bn"
FRAMES = 24
EXTENT = 3.0
"""Farthest that a value is moved to each side, in its standard deviations."""


def map_of(name: str) -> dict[str, Any]:
    """Return the value of the map of a model's codes of test images."""
    look = loaded(name)
    places, _ = look.plane
    count = len(places)
    labels = np.zeros(count, int) if look.labels is None else look.labels[:count]
    known = sorted(set(labels.tolist()))
    groups = [] if look.labels is None else [look.class_name(each) for each in known]
    words = [f"test image {i}" for i in range(count)]
    if look.labels is not None:
        words = [f"{look.class_name(each)}, {word}" for each, word in zip(labels, words)]
    group = [known.index(each) for each in labels.tolist()]
    return points(places, group, groups, words, images=look.images[:MAPPED], paths=True)


def start_at(name: str, index: int, x: float, y: float) -> dict[str, Any]:
    """Return the code at a place of the map, and the class to decode it with.

    Args:
        name: Name of the model.
        index: Index of the nearest mapped image.
        x: Horizontal place.
        y: Vertical place.
    """
    look = loaded(name)
    return {"code": look.code_at(index, x, y), "label": _label(look, index)}


def moved(name: str, start: dict[str, Any], offsets: list[float]) -> np.ndarray:
    """Return the image `(height, width, channels)` of a code with its most used values moved.

    Args:
        name: Name of the model.
        start: Result of `start_at`.
        offsets: Distance that each of the most used values is moved, in standard deviations.
    """
    look = loaded(name)
    chosen, deviation = look.moved
    code = start["code"].copy()
    for value, spread, offset in zip(chosen, deviation, offsets):
        code[value] += offset * spread
    image: np.ndarray = look.decode(code[None], start["label"])[0]
    return image


def path(name: str, start: int, end: int) -> dict[str, Any]:
    """Return the value of the film that morphs one mapped test image into another."""
    look = loaded(name)
    ends = [look.images[[each]] for each in (start, end)]
    rows = look.model.interpolate(*ends, steps=FRAMES, label=_label(look, start))
    words = [f"image {each}" for each in (start, end)]
    if look.labels is not None:
        words = [look.class_name(look.labels[each]) for each in (start, end)]
    return film(rows[0], f"{words[0]} to {words[1]}")


def _label(look: Loaded, index: int) -> int | None:
    known = None if look.labels is None else int(look.labels[index])
    return look.label(look.images[index], known)


def picture(image: np.ndarray) -> str:
    """Return the HTML of the decoded image."""
    return (
        '<div class="fmae-grid fmae-decoded"><figure><figcaption>decoded</figcaption>'
        f'<img src="{address(image[None])}" alt="decoded image"></figure></div>'
    )


def tab(page: gr.Blocks) -> list[gr.Dropdown]:
    """Build the tab; return its choices of a model."""
    start = gr.State(None)
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            model = model_choice("Model", FIRST)
            about = gr.HTML(elem_classes="fmae-plain")
            plot = points_view(
                "Map of test images. Arrow keys move, Enter decodes, Space starts a path that "
                "Enter ends.",
                elem_id="map",
            )
        with gr.Column(scale=3, min_width=280):
            with gr.Row():
                shown = gr.HTML(elem_id="decoded", elem_classes="fmae-plain", min_width=170)
                morph = film_view(elem_id="morph", min_width=170)
            sliders = [
                gr.Slider(-EXTENT, EXTENT, 0.0, step=0.1, label=f"value {i}", visible=False)
                for i in range(SLIDERS)
            ]
            back = gr.Button("Set the sliders back", size="sm")

    def draw(name: str) -> list[Any]:
        look = loaded(name)
        chosen, _ = look.moved
        begin = start_at(name, 0, *look.plane[0][0])
        size = look.model.spec.latent.size
        kind = "the code itself" if size == 2 else f"the first two components of {size:,} values"
        words = f"Test images by {kind}. Click to decode, drag from one image to another to morph."
        controls = [
            gr.Slider(value=0.0, visible=i < len(chosen), label=f"value {chosen[i]}")
            if i < len(chosen)
            else gr.Slider(value=0.0, visible=False)
            for i in range(SLIDERS)
        ]
        note = f'<p class="fmae-quiet">{escape(words)}</p>'
        return [map_of(name), note, begin, picture(moved(name, begin, [])), {}, *controls]

    def choose(name: str, before: Any, event: gr.EventData) -> list[Any]:
        if hasattr(event, "start"):
            return [before, gr.skip(), path(name, event.start, event.end), *[gr.skip()] * SLIDERS]
        begin = start_at(name, event.index, event.x, event.y)
        return [begin, picture(moved(name, begin, [])), gr.skip(), *[0.0] * SLIDERS]

    def slide(name: str, begin: dict[str, Any], *offsets: float) -> str:
        return picture(moved(name, begin, list(offsets)))

    everything = [plot, about, start, shown, morph, *sliders]
    page.load(said(draw), model, everything)
    model.change(said(draw), model, everything)
    plot.select(
        said(choose), [model, start], [start, shown, morph, *sliders], show_progress="hidden"
    )
    gr.on(
        [slider.input for slider in sliders],
        said(slide),
        [model, start, *sliders],
        shown,
        show_progress="hidden",
        trigger_mode="always_last",
        queue=False,
        api_name="slide",
    )
    back.click(lambda: [0.0] * SLIDERS, None, sliders, show_progress="hidden").then(
        said(slide), [model, start, *sliders], shown, show_progress="hidden"
    )
    return [model]
