"""`fmae embed`, `fmae reconstruct`, `fmae generate`."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from fmae_zoo.cli.output import emit_json, json_option, note
from fmae_zoo.errors import ImagesError
from fmae_zoo.images import ImageFiles

MAX_PICTURES = 12

files_argument = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.command("embed")
@click.argument("name")
@files_argument
@click.option(
    "--output", "-o", required=True, type=click.Path(path_type=Path), help=".npz or .parquet"
)
@click.option("--batch-size", type=click.IntRange(min=1), default=500, show_default=True)
@json_option
def embed_command(
    name: str, files: tuple[Path, ...], output: Path, batch_size: int, as_json: bool
) -> None:
    """Write the latent means of images: pictures, folders, .npy, .npz or IDX files.

    \b
    Example: fmae embed conv-ae-bn photos/ more.npy -o codes.parquet
    """
    from fmae_zoo.embedding import embed_files, writer_for

    write = writer_for(output)
    import fmae_zoo

    encoder = fmae_zoo.load(name, pretrained=True, part="encoder")
    source = ImageFiles(list(files), batch_size)
    count = embed_files(encoder, source, write, output)
    _report_unreadable(source)
    if as_json:
        emit_json({"output": str(output), "images": count, "unreadable": source.unreadable})
    else:
        note(f"{count:,} codes written to {output}")


@click.command("reconstruct")
@click.argument("name")
@files_argument
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help=".png")
@json_option
def reconstruct_command(name: str, files: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """Draw the first 12 images over their reconstructions.

    \b
    Example: fmae reconstruct conv-ae-bn photos/ -o pairs.png
    """
    import fmae_zoo
    from fmae_zoo.plots import plot_reconstructions

    source = ImageFiles(list(files), MAX_PICTURES)
    images = _first(source)
    model = fmae_zoo.load(name, pretrained=True)
    pairs = model.reconstruct(images)
    mse = float(np.mean((images[..., None] / 255.0 - pairs) ** 2))
    plot_reconstructions(images, pairs, output, title=f"{name}: MSE {mse:.4f}")
    _finish(output, {"images": len(images), "mse": mse, "unreadable": source.unreadable}, as_json)


@click.command("generate")
@click.argument("name")
@click.option("--count", "-n", type=click.IntRange(1, 10_000), default=64, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help=".png")
@json_option
def generate_command(name: str, count: int, seed: int, output: Path, as_json: bool) -> None:
    """Draw images decoded from draws of the prior of a variational model.

    \b
    Example: fmae generate conv-vae-bn -n 64 -o samples.png
    """
    import fmae_zoo
    from fmae_zoo.plots import plot_grid

    model = fmae_zoo.load(name, pretrained=True)
    plot_grid(model.generate(count, seed), output, title=f"{name}, seed {seed}")
    _finish(output, {"images": count, "seed": seed}, as_json)


def _first(source: ImageFiles) -> np.ndarray:
    batches = []
    count = 0
    for _, images in source:
        batches.append(images)
        count += len(images)
        if count >= MAX_PICTURES:
            break
    _report_unreadable(source)
    if not batches:
        raise ImagesError("None of the files holds a readable image.")
    return np.concatenate(batches)[:MAX_PICTURES]


def _report_unreadable(source: ImageFiles) -> None:
    for path, reason in source.unreadable.items():
        note(f"left out {path}: {reason}")


def _finish(output: Path, facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json({"output": str(output), **facts})
    else:
        note(f"written to {output}")
