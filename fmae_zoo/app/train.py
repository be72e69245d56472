"""The tab that trains a model and shows how it learns."""

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

import fmae_zoo
from fmae_zoo.app.controls import IS_PRIVATE
from fmae_zoo.app.loaded import dataset, names
from fmae_zoo.datasets import DEFAULT, TABLE, Dataset, load_sample
from fmae_zoo.errors import ArgumentError, FmaeError
from fmae_zoo.images import as_images
from fmae_zoo.plots import plot_curves
from fmae_zoo.registry import LOCAL_PREFIX, entries, find_entry, short_name
from fmae_zoo.show.pictures import data_address, tiled

FIRST = "dense-ae"
SAMPLE = "sample (1,200 images)"
SHOWN = 10
"""Number of images whose reconstructions are shown after each epoch."""

FOLDER = Path("runs") / "app"
"""Folder of the trained models, below the current one."""

_busy = threading.Lock()
"""Held by the one training that may run at a time."""

_owner: list[str | None] = []
"""Visitor whose training runs, or ran last; nobody else stops it."""

OFFERED = ", now a choice in the other tabs."
"""End of the sentence on a model of a data set in the table, whose images those tabs can show."""

_stop = threading.Event()
"""Ends the training that runs, after its epoch."""


def training(
    name: str, epochs: int, data: Dataset, folder: str | Path, stop: threading.Event = _stop
) -> Iterator[dict[str, Any]]:
    """Train a model in a thread; yield how far it is, again and again.

    What is yielded are dictionaries with `words`, and after each epoch also `rows`, the history so
    far, and `images` and `made`, a few test images and their reconstructions. After the last of
    them the model is in the folder.

    Args:
        name: Name of the spec.
        epochs: Number of epochs.
        data: Data set.
        folder: Folder that the model is saved in.
        stop: Event that ends the training after the current epoch, and keeps what it has learned.

    Raises:
        FmaeError: As for `fmae_zoo.train`; or another training is running.
    """
    import keras

    said: queue.Queue[Any] = queue.Queue()
    images = data.test_images[:SHOWN]

    class Teller(keras.callbacks.Callback):
        """Callback that reports each epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.rows: list[dict[str, float]] = []

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.rows.append({"epoch": epoch + 1.0, **(logs or {})})
            labels = data.test_labels
            told = None if self.model.spec.classes is None or labels is None else labels[:SHOWN]
            made = self.model.reconstruct(images, label=told)
            words = (
                f"epoch {epoch + 1} of {epochs}: validation loss {self.rows[-1]['val_loss']:.5g}"
            )
            said.put({"words": words, "rows": [*self.rows], "images": images, "made": made})
            self.model.stop_training = stop.is_set()

    def progress(epoch: int, count: int, batch: int, batches: int, loss: float) -> None:
        said.put({"words": f"epoch {epoch + 1} of {count}, step {batch} of {batches}: {loss:.5g}"})

    def work() -> None:
        ended: Exception | None = None
        try:
            fmae_zoo.train(
                name,
                output=folder,
                data=data,
                progress=progress,
                callbacks=[Teller()],
                epochs=epochs,
            )
        except Exception as error:
            ended = error
        finally:
            _busy.release()
            said.put(ended)

    if not _busy.acquire(blocking=False):
        raise ArgumentError("Another training is running on this page; stop it, or wait for it.")
    stop.clear()
    threading.Thread(target=work, daemon=True).start()
    try:
        while (news := said.get()) is not None:
            if isinstance(news, Exception):
                raise news
            yield news
    finally:
        # If the page was closed, the training ends after the epoch. Nobody waits for it here, since
        # Gradio closes this generator in the loop that serves all pages.
        stop.set()


def data_named(name: str) -> Dataset:
    """Return the data set of a choice: the sample, a name of the table, or a path."""
    return load_sample() if name == SAMPLE else dataset(name)


def free_folder(name: str, parent: Path = FOLDER) -> Path:
    """Return a folder for a model of this name that does not exist yet."""
    taken = [parent / name, *(parent / f"{name}-{number}" for number in range(2, 10_000))]
    return next(each for each in taken if not each.exists())


def tab(page: gr.Blocks, models: list[gr.Dropdown]) -> None:
    """Build the tab; a trained model becomes a choice of `models`, the dropdowns of other tabs."""
    specs = [short_name(each) for each in entries() if not each.is_classifier]
    added = gr.State([])
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            name = gr.Dropdown(specs, value=FIRST, label="Spec")
            data = gr.Dropdown(
                [SAMPLE, *TABLE],
                value=DEFAULT,
                label="Data",
                info="or a path, or hf://NAMESPACE/NAME" if IS_PRIVATE else None,
                allow_custom_value=IS_PRIVATE,
            )
            epochs = gr.Slider(1, 50, 3, step=1, label="Epochs")
            with gr.Row():
                start = gr.Button("Train", variant="primary", min_width=100)
                stop = gr.Button("Stop", min_width=100, interactive=False)
            words = gr.Markdown(
                "The model is saved in a new folder. To stop waits for the end of the epoch."
            )
        with gr.Column(scale=5, min_width=320):
            lines = gr.HTML(elem_id="losses", elem_classes="fmae-plain")
            shown = gr.HTML(elem_id="learning", elem_classes="fmae-plain")

    def run(spec: str, source: str, count: int, request: gr.Request) -> Iterator[list[Any]]:
        folder = free_folder(spec)
        try:
            yield ["Reading the data.", gr.skip(), gr.skip()]
            for news in training(spec, int(count), data_named(source), folder):
                _owner[:] = [request.session_hash]
                pictures = [_curves(news["rows"]), _pairs(news)] if "rows" in news else []
                yield [news["words"], *(pictures or [gr.skip(), gr.skip()])]
        except FmaeError as error:
            yield ["Nothing was saved.", gr.skip(), gr.skip()]
            raise gr.Error(str(error), print_exception=False) from error
        saved = f"Saved as `{LOCAL_PREFIX}{folder}`"
        more = OFFERED if find_entry(folder).spec.data in TABLE else "."
        yield [saved + more, gr.skip(), gr.skip()]

    def halt(request: gr.Request) -> None:
        if _owner == [request.session_hash]:
            _stop.set()

    def offer(before: list[str], sentence: str) -> list[Any]:
        found = [*before, sentence.split("`")[1]] if sentence.endswith(OFFERED) else before
        return [found, *[gr.Dropdown(choices=[*names(), *found]) for _ in models]]

    switch = [start, stop]
    done = start.click(lambda: _switched(True), None, switch, show_progress="hidden").then(
        run, [name, data, epochs], [words, lines, shown], show_progress="hidden"
    )
    done.then(lambda: _switched(False), None, switch, show_progress="hidden")
    done.success(offer, [added, words], [added, *models], show_progress="hidden")
    stop.click(halt, None, None)


def _switched(is_running: bool) -> list[Any]:
    return [gr.Button(interactive=not is_running), gr.Button(interactive=is_running)]


def _curves(rows: list[dict[str, float]]) -> str:
    """Return the HTML of a picture of training and validation loss."""
    with TemporaryDirectory() as folder:
        picture = plot_curves(rows, Path(folder, "curves.png")).read_bytes()
    return f'<img class="chart" src="{data_address(picture)}" alt="loss curves">'


def _pairs(news: dict[str, Any]) -> str:
    """Return the HTML of images above their reconstructions."""
    images = as_images(news["images"], news["made"].shape[1:])
    words = "test images above their reconstructions"
    picture = tiled([images, news["made"]], words, words)
    return f'<div class="fmae-grid">{picture.html}</div>'
