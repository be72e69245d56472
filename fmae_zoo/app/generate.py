"""The tab that generates images."""

import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from fmae_zoo.app.controls import model_choice, said
from fmae_zoo.app.loaded import Loaded, loaded
from fmae_zoo.errors import ArgumentError
from fmae_zoo.images import to_numpy
from fmae_zoo.plots import plot_grid
from fmae_zoo.samplers import PRIOR
from fmae_zoo.show.pictures import tiled

FIRST = "conv-vae-bn"
COLUMNS = 12
ANY = "any class"


class Tempered(np.random.Generator):
    """A NumPy generator whose normal numbers are multiplied by a temperature."""

    def __init__(self, seed: int, temperature: float) -> None:
        super().__init__(np.random.default_rng(seed).bit_generator)
        self.temperature = temperature

    def standard_normal(self, *args: Any, **kwargs: Any) -> Any:
        """Return normal numbers with the temperature as their standard deviation."""
        return self.temperature * super().standard_normal(*args, **kwargs)


def drawn(
    name: str, count: int, seed: int, sampler: str, label: int | None, temperature: float
) -> np.ndarray:
    """Return new images, float32 `(count, height, width, channels)` in [0, 1].

    Args:
        name: Name of the model.
        count: Number of images.
        seed: Seed of the draws.
        sampler: Name of the sampler.
        label: Class of all images if the decoder is told one; None for any class.
        temperature: Factor on the normal noise from which codes are drawn. With 1 the images are
            those of `generate`, with less they are closer to the densest codes.

    Raises:
        ArgumentError, FmaeError: As for `generate`; or the temperature is negative.
    """
    model = loaded(name).model
    if temperature < 0.0:
        raise ArgumentError(f"temperature is {temperature}; expected 0 or more")
    if temperature == 1.0 or sampler not in model.samplers:
        images: np.ndarray = model.generate(count, seed, sampler=sampler, label=label)
        return images
    rng = Tempered(seed, temperature)
    classes = None if label is None else np.full(count, label)
    if label is None and model.spec.classes is not None:
        classes = rng.integers(0, model.spec.classes, count)
    return np.asarray(model.decode(_codes(model, count, rng, sampler, classes), label=classes))


def _codes(model: Any, count: int, rng: Tempered, sampler: str, labels: Any) -> np.ndarray:
    if sampler != PRIOR:
        codes: np.ndarray = model.fitted[sampler].codes(count, rng, labels)
        return codes
    latent = model.spec.latent
    # The noise beyond the code chooses a component, which has no temperature.
    plain = np.random.Generator(rng.bit_generator)
    noise = plain.standard_normal((count, latent.noise_size)).astype(np.float32)
    noise[:, : latent.size] *= rng.temperature
    return to_numpy(model.latent.prior(noise))


def has_temperature(name: str, sampler: str) -> bool:
    """Return whether a temperature changes what a sampler draws; discrete codes have none."""
    model = loaded(name).model
    labels = None if model.spec.classes is None else np.zeros(4, int)
    first, second = (_codes(model, 4, Tempered(0, t), sampler, labels) for t in (0.5, 1.0))
    return not np.allclose(first, second)


def classes_of(look: Loaded) -> list[tuple[str, int]]:
    """Return names and numbers of the classes that the decoder can be told."""
    return [(look.class_name(each), each) for each in range(look.model.spec.classes or 0)]


def files_of(images: np.ndarray, title: str) -> tuple[str, str]:
    """Write images as a picture and as an array; return the paths of the PNG and the npz file."""
    digest = sha256(images.tobytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir(), "fmae-app", digest)
    folder.mkdir(parents=True, exist_ok=True)
    plot_grid(images, folder / "images.png", title)
    np.savez_compressed(folder / "images.npz", images=images)
    return str(folder / "images.png"), str(folder / "images.npz")


def tab(page: gr.Blocks) -> list[gr.Dropdown]:
    """Build the tab; return its choices of a model."""
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            model = model_choice("Model", FIRST)
            sampler = gr.Dropdown([], label="Sampler")
            label = gr.Dropdown([(ANY, -1)], value=-1, label="Class", visible=False)
            temperature = gr.Slider(0.0, 2.0, 1.0, step=0.05, label="Temperature")
            count = gr.Slider(12, 120, 60, step=12, label="Images")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0)
            make = gr.Button("Generate", variant="primary")
        with gr.Column(scale=5, min_width=320):
            shown = gr.HTML(elem_id="generated", elem_classes="fmae-plain")
            with gr.Row():
                picture = gr.DownloadButton("Download PNG", size="md", interactive=False)
                arrays = gr.DownloadButton("Download npz", size="md", interactive=False)

    def open_model(name: str) -> list[Any]:
        look = loaded(name)
        found = look.model.samplers
        if not found:
            raise ArgumentError(
                f"{name} has no prior and no fitted sampler: fmae samplers {name} --write fits one"
            )
        classes = classes_of(look)
        return [
            gr.Dropdown(choices=list(found), value=look.model.sampler),
            gr.Dropdown(choices=[(ANY, -1), *classes], value=-1, visible=bool(classes)),
        ]

    def allow(name: str, which: str) -> Any:
        possible = bool(which) and has_temperature(name, which)
        info = None if possible else "This sampler draws discrete codes, which have no temperature."
        return gr.Slider(value=1.0, interactive=possible, info=info)

    def generate(name: str, *settings: Any) -> list[Any]:
        which, number, heat, many, start = settings
        chosen = None if number in (None, -1) else number
        whole = COLUMNS * max(1, round(many / COLUMNS))
        images = drawn(name, whole, int(start or 0), which, chosen, heat)
        grid = images.reshape(-1, COLUMNS, *images.shape[1:])
        words = f"{len(images)} images of {name} by {which}"
        png, npz = files_of(images, name)
        html = f'<div class="fmae-grid">{tiled(grid, words, words).html}</div>'
        ready = [gr.DownloadButton(value=path, interactive=True) for path in (png, npz)]
        return [html, *ready]

    inputs = [model, sampler, label, temperature, count, seed]
    outputs = [shown, picture, arrays]
    opening: dict[str, Any] = {
        "fn": said(open_model),
        "inputs": model,
        "outputs": [sampler, label],
    }
    for event in (page.load, model.change):
        event(**opening).success(said(allow), [model, sampler], temperature).success(
            said(generate), inputs, outputs
        )
    sampler.input(said(allow), [model, sampler], temperature)
    make.click(said(generate), inputs, outputs)
    gr.on(
        [temperature.input, seed.submit, label.input, sampler.input],
        said(generate),
        inputs,
        outputs,
        show_progress="minimal",
        trigger_mode="always_last",
    )
    return [model]
