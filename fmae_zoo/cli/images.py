"""`fmae embed`, `fmae reconstruct`, `fmae generate`, `fmae show`."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from fmae_zoo.cli.engine import Engine, engine_options
from fmae_zoo.cli.output import (
    UserPath,
    about,
    data_for,
    data_option,
    emit_json,
    emit_table,
    json_option,
    note,
    seed_option,
)
from fmae_zoo.errors import ArgumentError, ImagesError
from fmae_zoo.files import write_text
from fmae_zoo.images import ImageFiles, as_images
from fmae_zoo.precision import PRECISIONS
from fmae_zoo.samplers import PRIOR, SAMPLERS

MAX_PICTURES = 12


class Output(UserPath):
    """The path of an output file with one of the given suffixes."""

    def __init__(self, *suffixes: str, dir_okay: bool = False) -> None:
        super().__init__(dir_okay=dir_okay, path_type=Path)
        self.suffixes = suffixes

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the path, or fail if it has another suffix."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix not in self.suffixes:
            self.fail(f"{value}: expected a file named *{' or *'.join(self.suffixes)}", param, ctx)
        return path


files_argument = click.argument("files", nargs=-1, type=UserPath(path_type=Path))


@click.command("embed")
@click.argument("name")
@files_argument
@click.option(
    "--output",
    "-o",
    required=True,
    type=Output(".npz", ".parquet", dir_okay=True),
    help=".npz or .parquet; on Ray, .parquet is a folder of such files.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=500, show_default=True)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="auto is the machine's fastest",
)
@data_option
@engine_options
@click.option("--workers", type=click.IntRange(min=1), help="On Ray. [as many as it has CPUs for]")
@json_option
def embed_command(
    name: str,
    files: tuple[Path, ...],
    output: Path,
    batch_size: int,
    precision: str,
    data_source: str | None,
    engine: Engine,
    workers: int | None,
    as_json: bool,
) -> None:
    """Write the latent means of images: pictures, folders, .npy, .npz or IDX files.

    With --data instead of files, write those of all images of a data set, named `train[0]` and so
    on, then `test[0]` and so on.

    With --engine ray, the machines of a cluster encode 10,000 files at a time, each to a file in
    the folder OUTPUT; the same command goes on where a stopped one was. The files, OUTPUT and NAME,
    if it is a path, must be in folders that all machines share.

    \b
    Example: fmae embed conv-ae-bn photos/ more.npy -o codes.parquet
             fmae embed conv-ae-bn --data fashion-mnist -o codes.npz
             fmae embed conv-ae-bn /shared/photos -o /shared/codes.parquet --engine ray
    """
    import fmae_zoo

    check_source(files, data_source)
    if engine.is_ray and (data_source or output.suffix != ".parquet"):
        raise click.UsageError("--engine ray reads files, and writes -o FOLDER.parquet.")
    if not engine.is_ray and (workers or output.is_dir()):
        raise click.UsageError("--workers, and a folder as --output, are for --engine ray.")
    encoder = fmae_zoo.load(name, pretrained=True, part="encoder", precision=precision)
    # This imports Keras, so it comes after `load`, which explains a missing backend.
    from fmae_zoo.embedding import embed_files

    source = ImageFiles(list(files), encoder.spec.shape, batch_size)
    try:
        if engine.is_ray:
            count = engine.embed(name, source, output, precision, workers)
        else:
            images = of_data(data_source, batch_size) if data_source else source
            count = embed_files(encoder, images, output)
    finally:
        report(source)
    size = encoder.output_shape[-1]
    facts = {"images": count, "latent_size": size, "unreadable": source.unreadable}
    _finish(output, facts, as_json)


label_option = click.option(
    "--label",
    help="For a model whose decoder is told the class of an image: its name or number.",
)


@click.command("reconstruct")
@click.argument("name")
@files_argument
@click.option("--output", "-o", required=True, type=Output(".png"), help=".png")
@label_option
@data_option
@json_option
def reconstruct_command(
    name: str,
    files: tuple[Path, ...],
    output: Path,
    label: str | None,
    data_source: str | None,
    as_json: bool,
) -> None:
    """Draw the first 12 images of files, or of the test set of --data, over their reconstructions.

    \b
    Example: fmae reconstruct conv-ae-bn photos/ -o pairs.png
             fmae reconstruct conv-ae-bn --data fashion-mnist -o pairs.png
    """
    import fmae_zoo
    from fmae_zoo.plots import plot_reconstructions

    check_source(files, data_source)
    model = autoencoder(name)
    source = ImageFiles(list(files), model.spec.shape, MAX_PICTURES)
    told: Any = _class_of(name, model, label)
    if model.spec.classes is not None and told is None and not data_source:
        raise click.UsageError(f"{name} has to be told the class of the images: --label")
    if data_source:
        data = fmae_zoo.load_data(data_source)
        images = as_images(data.test_images[:MAX_PICTURES], model.spec.shape)
        if model.spec.classes is not None and told is None:
            told = data.labels[1][: len(images)]
    else:
        images = _first(source)
    pairs = model.reconstruct(images, label=told)
    mse = float(np.mean((images - pairs) ** 2))
    plot_reconstructions(images, pairs, output, title=f"{name}: MSE {mse:.4f}")
    _finish(output, {"images": len(images), "mse": mse, "unreadable": source.unreadable}, as_json)


@click.command("generate")
@click.argument("name")
@click.option("--count", "-n", type=click.IntRange(1, 10_000), default=64, show_default=True)
@click.option(
    "--sampler",
    type=click.Choice((PRIOR, *SAMPLERS)),
    help="prior: a VAE's own; the others are fitted to codes by fmae samplers. "
    "[the one that was chosen for the model]",
)
@label_option
@seed_option
@click.option("--output", "-o", required=True, type=Output(".png"), help=".png")
@json_option
def generate_command(
    name: str,
    count: int,
    sampler: str | None,
    label: str | None,
    seed: int,
    output: Path,
    as_json: bool,
) -> None:
    """Draw new images, decoded from codes that a sampler draws.

    \b
    Example: fmae generate conv-vae-bn -n 64 -o samples.png
    """
    from fmae_zoo.plots import plot_grid

    model = autoencoder(name)
    told = _class_of(name, model, label)
    sampler = sampler or model.sampler
    images = model.generate(count, seed, sampler=sampler, label=told)
    plot_grid(images, output, title=f"{name}: {sampler}, seed {seed}")
    _finish(output, {"images": count, "sampler": sampler, "seed": seed}, as_json)


@click.command("show")
@click.argument("name")
@click.option("--output", "-o", type=Output(".html"), help=".html  [NAME.html]")
@seed_option
@data_option
@json_option
def show_command(
    name: str, output: Path | None, seed: int, data_source: str | None, as_json: bool
) -> None:
    """Write a page of pictures: draws, reconstructions, and what the values of the code do.

    The page is one file, which loads nothing else.

    \b
    Example: fmae show conv-vae-bn -o conv-vae-bn.html
    """
    from fmae_zoo.registry import find_entry, short_name

    model = autoencoder(name)
    from fmae_zoo.show import page_of

    entry = find_entry(name)
    data = data_for(data_source, name, entry)
    page, shown, left_out = page_of(model, entry, data, seed)
    output = output or Path(f"{short_name(entry)}.html")
    write_text(output, page)
    for title, reason in left_out.items():
        note(f"left out {title}: {reason}")
    facts = {**about(name, data), "seed": seed, "sections": shown, "left_out": left_out}
    if not as_json:
        facts = {"seed": seed, "sections": ", ".join(shown)}
    _finish(output, facts, as_json)


def check_source(files: tuple[Path, ...], data_source: str | None) -> None:
    """Raise unless images come either from files or from a data set."""
    if bool(files) == bool(data_source):
        raise click.UsageError("Expected files, or --data; not both, and not neither.")


def of_data(data_source: str, batch_size: int) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield names and images of a data set in batches."""
    import fmae_zoo

    data = fmae_zoo.load_data(data_source)
    for split, images in (("train", data.train_images), ("test", data.test_images)):
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            yield [f"{split}[{start + offset}]" for offset in range(len(batch))], batch


def autoencoder(name: str) -> Any:
    """Return a pretrained autoencoder by name, and refuse a classifier."""
    import fmae_zoo

    model = fmae_zoo.load(name, pretrained=True)
    if not isinstance(model, fmae_zoo.Autoencoder):
        raise ArgumentError(f"{name} is a classifier: it has no decoder, and gives no images")
    return model


def _class_of(name: str, model: Any, label: str | None) -> int | None:
    """Return the number of the class that `label` gives by name or number; None for no label.

    Raises:
        ArgumentError: If the decoder is not told a class, or there is no such class.
    """
    from fmae_zoo.registry import find_entry

    if label is None:
        return None
    classes = model.spec.classes
    if classes is None:
        raise ArgumentError(f"--label: the decoder of {name} is told no class")
    training = find_entry(name).manifest.training
    known = [*((training and training.class_names) or ())]
    if label in known:
        return known.index(label)
    if label.isdecimal() and int(label) < classes:
        return int(label)
    names = f", or one of {', '.join(known)}" if known else ""
    raise ArgumentError(f"--label is {label!r}; expected a number in 0..{classes - 1}{names}")


def _first(source: ImageFiles) -> np.ndarray:
    each = (image for _, images in source for image in as_images(images, source.shape))
    found = list(islice(each, MAX_PICTURES))
    report(source)
    if not found:
        raise ImagesError("None of the files holds a readable image.")
    return np.stack(found)


def report(source: ImageFiles) -> None:
    """Print which files were left out, and whether images have a bright background."""
    for path, reason in source.unreadable.items():
        note(f"left out {path}: {reason}")
    if source.on_white:
        has = "image has" if source.on_white == 1 else "images have"
        note(
            f"{source.on_white:,} {has} a bright background. The zoo's models know "
            "images that are bright on black, as Fashion-MNIST's are. Invert these first: "
            "PIL.ImageOps.invert(picture.convert('L')), or 255 - images"
        )


def _finish(output: Path, facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json({"output": str(output), **facts})
        return
    if "unreadable" in facts:
        facts["unreadable"] = len(facts["unreadable"])
    emit_table(("", ""), [("written to", output), *facts.items()])
