"""The tab that encodes and reconstructs an image with two models."""

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from fmae_zoo.app.controls import model_choice, said
from fmae_zoo.app.drawing import bar, card, cards, code_bars, failure, residual, sheet, tile
from fmae_zoo.app.loaded import Loaded, loaded
from fmae_zoo.component import Shape
from fmae_zoo.errors import FmaeError, ImagesError
from fmae_zoo.images import ImageFiles, as_images, has_bright_border

FIRST, SECOND = "conv-ae-bn", "conv-vae-bn"
PICKED, NEIGHBOURS, CLASSES = 20, 5, 3


def uploaded(path: str | Path, shape: Shape) -> tuple[np.ndarray, str]:
    """Return the first image of a file, uint8 or floats as `ImageFiles` reads it, and a note.

    A grey image with a bright background is inverted, because models know bright on black.

    Raises:
        ImagesError: The file holds no readable image.
    """
    source = ImageFiles([Path(path)], shape, batch_size=1)
    for _, images in source:
        image = images[0]
        if shape[2] == 1 and has_bright_border(image[None])[0]:
            full = 255 if image.dtype == np.uint8 else np.float32(1.0)
            return full - image, "The background was bright, so the picture was inverted."
        return image, ""
    reason = next(iter(source.unreadable.values()), "no image in it").replace(f" '{path}'", "")
    raise ImagesError(
        f"{Path(path).name}: expected a picture, or an array of images of {shape[0]} by {shape[1]} "
        f"pixels; {reason}"
    )


def drawn(strokes: dict[str, Any], shape: Shape) -> np.ndarray:
    """Return what was drawn, as bright on black: uint8 `(height, width[, 3])`.

    Args:
        strokes: Value of the drawing board: `composite`, uint8 `(h, w, 4)` with its opacity last.
        shape: Height, width and channels of the image.

    Raises:
        ImagesError: Nothing was drawn.
    """
    from PIL import Image

    layers = strokes.get("layers") or []
    opacity = np.max([each[..., 3] for each in layers], axis=0) if layers else np.zeros((1, 1))
    if not opacity.any():
        raise ImagesError("Expected a drawing; nothing was drawn yet.")
    height, width, channels = shape
    picture = Image.fromarray(opacity.astype(np.uint8))
    small = np.asarray(picture.resize((width, height), Image.Resampling.BOX))
    return small if channels == 1 else np.repeat(small[..., None], channels, axis=-1)


def result(
    name: str,
    image: np.ndarray,
    label: int | None = None,
    index: int | None = None,
    data: str | None = None,
) -> str:
    """Return a card of what a model makes of an image.

    Args:
        name: Name of the model.
        image: Image `(height, width[, channels])`, uint8 or in [0, 1].
        label: Class of the image, if it is known.
        index: Index of the image among the test images, which is not its own neighbour.
        data: Data set of label and index, which count only if it is the model's.
    """
    try:
        look = loaded(name)
        if data != look.model.spec.data:
            label = index = None
        return card(name, *_parts(look, image, label, index))
    except FmaeError as error:
        return card(name, failure(error))


def _parts(look: Loaded, image: np.ndarray, label: int | None, index: int | None) -> list[str]:
    from fmae_zoo.neighbours import nearest

    spec = look.model.spec
    [image] = as_images(image[None], spec.shape)
    told = look.label(image, label)
    code = look.model.encode(image[None])
    [made] = look.model.reconstruct(image[None], label=told)
    found = nearest(look.codes, code, NEIGHBOURS + 1)[0][0]
    found = found[found != index][:NEIGHBOURS]
    error = float(np.mean((image - made) ** 2))
    parts = [
        f'<p class="fmae-quiet fmae-summary">{escape(spec.summary)}</p>',
        f"<h4>Mean squared error {error:.4f}</h4>",
        '<div class="fmae-row">',
        tile(image, "image"),
        tile(made, "reconstruction"),
        tile(residual(image, made), "residual"),
        '</div><p class="fmae-quiet">Red: too much ink. Blue: too little.</p>',
    ]
    if look.labels is not None:
        of_image, of_made = look.probabilities(np.stack([image, made]))
        parts += ["<h4>Class of the image</h4>", *_bars(look, of_image)]
        parts += ["<h4>Class of the reconstruction</h4>", *_bars(look, of_made)]
    parts += [f"<h4>Code of {spec.latent.size:,} values</h4>", code_bars(code[0])]
    parts += ["<h4>Test images with the nearest codes</h4>", '<div class="fmae-row many">']
    for each in found:
        words = f"{each}" if look.labels is None else look.class_name(look.labels[each])
        parts.append(tile(look.images[each], words))
    return [*parts, "</div>"]


def _bars(look: Loaded, probabilities: np.ndarray) -> list[str]:
    order = np.argsort(-probabilities)[:CLASSES]
    return [bar(look.class_name(each), float(probabilities[each])) for each in order]


def picked(name: str, seed: int) -> tuple[list[int], list[tuple[Any, str]]]:
    """Return the indices of some test images, and the images with the names of their classes."""
    look = loaded(name)
    count = min(PICKED, len(look.images))
    chosen = np.random.default_rng(seed).choice(len(look.images), count, replace=False)
    words = [
        f"image {each}" if look.labels is None else look.class_name(look.labels[each])
        for each in chosen
    ]
    pictures = [sheet(image[None]) for image in look.images[chosen]]
    return chosen.tolist(), list(zip(pictures, words))


def tab(page: gr.Blocks) -> list[gr.Dropdown]:
    """Build the tab; return its choices of a model."""
    chosen, seed, numbers = gr.State(None), gr.State(0), gr.State([])
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            with gr.Row():
                models = [
                    model_choice(f"{which} model", default)
                    for which, default in (("First", FIRST), ("Second", SECOND))
                ]
            with gr.Tab("Test images"):
                gallery = gr.Gallery(
                    columns=5,
                    height="auto",
                    object_fit="contain",
                    allow_preview=False,
                    show_label=False,
                    interactive=False,
                    buttons=[],
                    elem_id="picker",
                )
                others = gr.Button("Other images", size="sm")
            with gr.Tab("Upload"):
                gr.Markdown("A picture, or an array of images (.npy, .npz).")
                upload = gr.UploadButton("Choose a file", elem_id="upload")
            with gr.Tab("Draw"):
                gr.Markdown("Take the brush, and draw dark on white.")
                board = gr.Sketchpad(
                    canvas_size=(280, 280),
                    fixed_canvas=True,
                    brush=gr.Brush(default_size=16, colors=["#000000"], color_mode="fixed"),
                    layers=False,
                    transforms=(),
                    show_label=False,
                    buttons=[],
                    elem_id="board",
                )
        with gr.Column(scale=5, min_width=320):
            shown = gr.HTML(
                cards(card("Loading the models")), elem_id="results", elem_classes="fmae-plain"
            )

    def pick(name: str, number: int) -> tuple[Any, Any, dict[str, Any]]:
        indices, pictures = picked(name, number)
        return pictures, indices, _test_image(name, indices[0])

    def follow(name: str, number: int, before: dict[str, Any] | None) -> tuple[Any, Any, Any]:
        pictures, indices, first = pick(name, number)
        is_own = before is not None and before["index"] is None
        return pictures, indices, {**before} if is_own and before else first

    def take(name: str, indices: list[int], event: gr.SelectData) -> dict[str, Any]:
        return _test_image(name, indices[event.index])

    def read(name: str, path: str) -> dict[str, Any]:
        image, note = uploaded(path, loaded(name).model.spec.shape)
        if note:
            gr.Info(note)
        return {"image": image, "label": None, "index": None}

    def trace(name: str, strokes: dict[str, Any]) -> Any:
        try:
            image = drawn(strokes, loaded(name).model.spec.shape)
        except ImagesError:
            return gr.skip()
        return {"image": image, "label": None, "index": None}

    def compute(first: str, second: str, image: dict[str, Any] | None) -> str:
        if image is None:
            return cards(card("Choose an image"))
        return cards(*(result(name, **image) for name in (first, second)))

    picking: dict[str, Any] = {
        "fn": said(pick),
        "inputs": [models[0], seed],
        "outputs": [gallery, numbers, chosen],
    }
    page.load(**picking)
    models[0].change(said(follow), [models[0], seed, chosen], [gallery, numbers, chosen])
    others.click(lambda number: number + 1, seed, seed).then(**picking)
    gallery.select(said(take), [models[0], numbers], chosen, show_progress="hidden")
    upload.upload(said(read), [models[0], upload], chosen)
    board.change(
        said(trace), [models[0], board], chosen, trigger_mode="always_last", show_progress="hidden"
    )
    gr.on(
        [chosen.change, models[0].change, models[1].change],
        compute,
        [*models, chosen],
        shown,
        show_progress="minimal",
        trigger_mode="always_last",
    )
    return models


def _test_image(name: str, index: int) -> dict[str, Any]:
    look = loaded(name)
    label = None if look.labels is None else int(look.labels[index])
    own = look.model.spec.data
    return {"image": look.images[index], "label": label, "index": index, "data": own}
