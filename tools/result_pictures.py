"""The README's pictures: the results of the entries, and examples of reconstructions.

The description in each picture holds what it was drawn from, to recognise an old picture.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from fmae_zoo.entry import Entry
from fmae_zoo.evaluation import columns
from fmae_zoo.registry import bundled, short_name
from fmae_zoo.summary import summary_of

BEST = 3
"""Maximum number of entries marked in a panel; at most a third of its entries are marked."""

PANELS = (
    ("mse", "Reconstruction", "MSE, less is better"),
    ("frechet", "Generation", "Frechet distance, less is better"),
    ("linear_probe", "Linear probe", "accuracy, more is better"),
    ("frozen_head", "Frozen head", "accuracy, more is better"),
)
"""For each panel the key of its column, its title, and the label of its axis."""


def plotted() -> list[dict[str, Any]]:
    """Return name, latent size and figures of each entry with a figure, sorted by MSE."""
    keys = [key for key, _, _ in PANELS]
    rows = [
        {key: row[key] for key in ("name", "latent", *keys)}
        for row in map(summary_of, bundled())
        if any(row[key] is not None for key in keys)
    ]
    return sorted(rows, key=lambda row: (row["mse"] is None, row["mse"]))


def plot_results(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot a panel for each task, with one row for each entry.

    The best entries of a panel are marked and labelled with their number.

    Args:
        rows: Rows from `plotted`.
        path: Path of the PNG.
    """
    import matplotlib
    from matplotlib.figure import Figure

    from fmae_zoo.plots import INK, MUTED, STYLE, TRAIN_COLOUR, VALIDATION_COLOUR

    panels = [each for each in PANELS if any(row[each[0]] is not None for row in rows)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 1.2 + 0.24 * len(rows)), layout="constrained")
        found = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (key, title, label) in zip(found, panels):
            measure = columns()[key]
            values = {place: row[key] for place, row in enumerate(rows) if row[key] is not None}
            order = sorted(
                values, key=lambda place: values[place], reverse=not measure.less_is_better
            )
            for rank, place in enumerate(order):
                best = rank < min(BEST, len(values) // 3)
                colour = VALIDATION_COLOUR if best else TRAIN_COLOUR
                axes.plot(values[place], place, "o", color=colour, markersize=6)
                if best:
                    axes.annotate(
                        measure.shown(values[place]),
                        (values[place], place),
                        xytext=(7 if measure.less_is_better else -7, 0),
                        textcoords="offset points",
                        ha="left" if measure.less_is_better else "right",
                        va="center",
                        fontsize=8.5,
                        fontweight="bold",
                    )
            if measure.less_is_better:
                axes.set_xscale("log")
                for set_formatter in (
                    axes.xaxis.set_major_formatter,
                    axes.xaxis.set_minor_formatter,
                ):
                    set_formatter(_ticks_of(values.values()))
            axes.set_title(title)
            axes.set_xlabel(label, color=MUTED, fontsize=9)
            axes.tick_params(length=0, which="both")
            axes.margins(x=0.1)
            axes.spines[:].set_visible(False)
        names = [f"{row['name']}  {row['latent']:,}" for row in rows]
        found[0].set_yticks(range(len(rows)), names)
        found[0].tick_params(axis="y", labelcolor=INK)
        found[0].annotate(
            "entry, values of its code",
            (0, 1),
            xycoords="axes fraction",
            xytext=(-4, 6),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=MUTED,
        )
        found[0].set_ylim(len(rows) - 0.4, -0.6)
        save_figure(figure, path, described(rows))


def _ticks_of(values: Iterable[float]) -> Callable[[float, int], str]:
    """Return a formatter for the ticks of a log axis, which labels only some so that they fit."""
    values = list(values)
    digits = "125" if max(values) < 10 * min(values) else "13"
    return lambda value, _: f"{value:g}" if f"{value:e}"[0] in digits else ""


def drawn() -> list[Entry]:
    """Return the entry with the lowest MSE for each type of latent, sorted by MSE."""
    best: dict[str, tuple[float, Entry]] = {}
    for entry in bundled():
        mse = summary_of(entry)["mse"]
        kind = entry.spec.latent.type
        if mse is not None and (kind not in best or mse < best[kind][0]):
            best[kind] = (mse, entry)
    return [entry for _, entry in sorted(best.values(), key=lambda each: each[0])]


def draw_reconstructions(entries: Sequence[Entry], path: Path) -> None:
    """Draw ten test images, one of each class, and below them each entry's reconstructions."""
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    import fmae_zoo
    from fmae_zoo.plots import STYLE

    data = fmae_zoo.load_data()
    firsts = np.concatenate([np.flatnonzero(data.test_labels == c)[:1] for c in range(10)])
    images, labels = data.test_images[firsts], data.test_labels[firsts]
    rows = {"original": images / 255.0}
    for entry in entries:
        told = None if entry.spec.classes is None else labels
        model = entry.build(pretrained=True)
        name = f"{short_name(entry)}  {entry.spec.latent.size:,}"
        rows[name] = model.reconstruct(images, label=told)
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(8.4, 0.62 * len(rows)))
        axes = figure.subplots(len(rows), 10, gridspec_kw={"wspace": 0.05, "hspace": 0.05})
        for axis_row, (label, pictures) in zip(axes, rows.items()):
            for axis, picture in zip(axis_row, pictures):
                axis.imshow(np.squeeze(picture), cmap="gray_r", vmin=0, vmax=1)
                axis.set_xticks([])
                axis.set_yticks([])
                axis.spines[:].set_visible(False)
            axis_row[0].set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
        save_figure(figure, path, described(weights_of(entries)))


def weights_of(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the names of entries and the digests of their encoder and decoder weights."""
    return [
        {"name": short_name(entry)}
        | {
            file: record.sha256
            for file, record in entry.manifest.files.items()
            if file in ("encoder.safetensors", "decoder.safetensors")
        }
        for entry in entries
    ]


def described(rows: Sequence[dict[str, Any]]) -> str:
    """Return the description of a picture that shows these rows, as JSON."""
    return json.dumps(rows)


WALKER = "conv-vae-bn"
"""Entry that decodes the walk."""


def draw_walk(entry: Entry, path: Path) -> None:
    """Draw a moving picture: in each cell, a walk between codes of test images, decoded.

    Args:
        entry: Autoencoder whose decoder does not read classes.
        path: Path of the GIF, which repeats.
    """
    import numpy as np
    from PIL import Image

    import fmae_zoo

    rows, columns, stops, steps, scale = 2, 9, 4, 9, 2
    images = fmae_zoo.load_data().test_images[: rows * columns * stops]
    model = entry.build(pretrained=True)
    codes = model.encode(images).reshape(rows * columns, stops, -1)
    ease = (1 - np.cos(np.pi * np.arange(steps) / steps))[:, None, None] / 2
    frames = []
    for stop in range(stops):
        begin, end = codes[:, stop], codes[:, (stop + 1) % stops]
        for step in begin + ease * (end - begin):
            cells = 1.0 - model.decode(step.astype("float32"))[..., 0]
            height, width = cells.shape[1:]
            grid = cells.reshape(rows, columns, height, width).swapaxes(1, 2)
            picture = Image.fromarray(
                np.round(255 * grid.reshape(rows * height, columns * width)).astype(np.uint8)
            )
            size = (picture.width * scale, picture.height * scale)
            frames.append(picture.resize(size, Image.Resampling.BICUBIC))
    frames = [frame.point(lambda grey: grey // 12 * 12 + 3 * (grey > 251)) for frame in frames]
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=90,
        loop=0,
        optimize=True,
        comment=described(weights_of([entry])).encode(),
    )


def description_of(path: Path) -> str:
    """Return the description of a picture; empty if there is no file or no description."""
    from PIL import Image

    if not path.is_file():
        return ""
    with Image.open(path) as image:
        comment = image.info.get("comment", b"").decode()
        return str(image.info.get("Description", comment))


def save_figure(figure: Any, path: Path, description: str) -> None:
    """Write a figure as PNG with a description in its metadata."""
    path.parent.mkdir(exist_ok=True)
    metadata = {"Description": description}
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata=metadata)
