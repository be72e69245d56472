"""Demonstration of the main functions: `python -m fmae_zoo.demo`.

It finds Fashion-MNIST, loads `conv-ae-bn` with its weights, computes its figures and prints them
beside the published ones, trains a classifier on the frozen encoder and a `dense-ae` from
scratch, and writes pictures into `demo/`. `--data NAME_OR_PATH` runs it on other grey images of
28x28 pixels.
"""

import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

import fmae_zoo
from fmae_zoo import plots
from fmae_zoo.arguments import check_folder
from fmae_zoo.cli.output import data_option
from fmae_zoo.datasets import Dataset, load_data
from fmae_zoo.errors import FmaeError
from fmae_zoo.registry import find_entry

MODEL, SCRATCH = "conv-ae-bn", "dense-ae"
FIGURES = ("reconstruction", "linear_probe", "knn")
HEAD_EPOCHS, SCRATCH_EPOCHS, MAP_IMAGES = 10, 3, 2000

console = Console(stderr=True, highlight=False)


def main(folder: str | Path = "demo", data_source: str | None = None) -> None:
    """Run the demo and write its pictures into a folder."""
    began = time.perf_counter()
    folder = check_folder("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    data = load_data(data_source)
    console.print(f"[bold]1.[/] data: {data.source}, {len(data.train_images):,} training images")
    model = fmae_zoo.load(MODEL, pretrained=True)
    console.print(f"[bold]2.[/] {MODEL} is loaded, its checksums hold")
    codes = _compare_figures(model, data)
    report = _classify(model, data)
    history = _train_from_scratch(data, folder)
    console.print("[bold]6.[/] drawing pictures")
    _draw(model, codes, report, history, data, folder)
    console.print(
        f"Done in {time.perf_counter() - began:.0f} s. Pictures: "
        + ", ".join(str(path) for path in sorted(folder.glob("*.png"))),
        soft_wrap=True,
    )


def _compare_figures(model: Any, data: Dataset) -> np.ndarray:
    console.print("[bold]3.[/] measuring it again: " + ", ".join(FIGURES))
    found = fmae_zoo.evaluate(model, FIGURES, data=data)
    published = find_entry(MODEL).manifest.results
    here = "of the sample" if data.is_sample else f"on {data.name}"
    table = Table("figure", "published", here, box=None, header_style="bold")
    for figure, key in (
        ("reconstruction", "mse"),
        ("reconstruction", "psnr"),
        ("reconstruction", "ssim"),
        ("linear_probe", "accuracy"),
        ("knn", "accuracy"),
    ):
        values = published[figure][key], found[figure][key]
        table.add_row(f"{figure} {key}".replace("_", " "), *[f"{value:.5f}" for value in values])
    Console(highlight=False).print(table)
    return model.encode(data.test_images[:MAP_IMAGES])


def _classify(model: Any, data: Dataset) -> dict[str, Any]:
    fit, validation = data.split
    labels, test_labels = data.labels
    classifier = fmae_zoo.Classifier(
        model.encoder, data.num_classes, trainable=False, labels=data.class_names
    )
    console.print("[bold]4.[/] training a classifier on the frozen encoder")
    classifier.fit(
        data.train_images[fit],
        labels[fit],
        validation_data=(data.train_images[validation], labels[validation]),
        epochs=HEAD_EPOCHS,
        batch_size=256,
    )
    report = classifier.report(data.test_images, test_labels)
    console.print(f"   test accuracy {report['accuracy']:.4f}")
    return report


def _train_from_scratch(data: Dataset, folder: Path) -> Any:
    from fmae_zoo.progress import RichProgress

    console.print(f"[bold]5.[/] training {SCRATCH} from scratch, {SCRATCH_EPOCHS} epochs")
    with RichProgress(SCRATCH) as bar:
        return fmae_zoo.train(SCRATCH, epochs=SCRATCH_EPOCHS, data=data, progress=bar)


def _draw(
    model: Any,
    codes: np.ndarray,
    report: dict[str, Any],
    history: Any,
    data: Dataset,
    folder: Path,
) -> None:
    from sklearn.manifold import TSNE

    labels = data.labels[1][: len(codes)]
    firsts = np.concatenate([np.flatnonzero(labels == c)[:1] for c in np.unique(labels)])
    images = data.test_images[firsts]
    plots.plot_reconstructions(
        images, model.reconstruct(images), folder / "reconstructions.png", f"{MODEL}: test images"
    )
    plots.plot_curves(
        history.rows,
        folder / "curves.png",
        f"{SCRATCH}: squared error from scratch",
        label=history.model.spec.objective.loss_label,
        kept=history.record.best_epoch,
    )
    plots.plot_confusion(
        report["confusion"],
        folder / "confusion.png",
        f"Frozen {MODEL}: accuracy {report['accuracy']:.3f}",
        data.class_names,
    )
    points = TSNE(perplexity=min(30.0, len(codes) / 4), random_state=0).fit_transform(codes)
    plots.plot_latent_map(
        points,
        labels,
        folder / "latent-map.png",
        f"{MODEL}: t-SNE of {len(codes):,} test codes",
        data.class_names,
    )


@click.command()
@click.argument("folder", default="demo")
@data_option
def _command(folder: str, data_source: str | None) -> None:
    """Load, measure, classify, train and draw; leave the pictures in a folder."""
    main(folder, data_source)


if __name__ == "__main__":
    try:
        _command()
    except (FmaeError, OSError) as error:
        console.print("[bold red]error:[/]", end=" ")
        console.print(error, markup=False, soft_wrap=True)
        sys.exit(1)
