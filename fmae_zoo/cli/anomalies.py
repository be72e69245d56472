"""`fmae anomalies`, `fmae similar`."""

from heapq import nlargest
from pathlib import Path
from typing import Any

import click
import numpy as np

from fmae_zoo.cli.images import (
    Output,
    autoencoder,
    check_source,
    files_argument,
    of_data,
    report,
)
from fmae_zoo.cli.output import (
    UserPath,
    about,
    data_for,
    data_option,
    emit_json,
    emit_table,
    json_option,
    note,
    steps_shown,
)
from fmae_zoo.errors import ImagesError
from fmae_zoo.images import ImageFiles, as_images

BATCH = 500
SCORES = ("both", "reconstruction", "density")
WORDS = {
    "both": "standard deviations of error and density, summed",
    "reconstruction": "squared error, summed over the pixels",
    "density": "negative log-density of the code, in nats",
}
picture_option = click.option("--output", "-o", type=Output(".png"), help=".png of the pictures")


@click.command("anomalies")
@click.argument("name")
@click.argument("files", nargs=-1, required=True, type=UserPath(path_type=Path))
@picture_option
@click.option(
    "--top", type=click.IntRange(1, 200), default=16, show_default=True, help="How many to show."
)
@click.option(
    "--by",
    type=click.Choice(SCORES),
    default="both",
    show_default=True,
    help="Squared error of the reconstruction, density of the code, or their sum.",
)
@data_option
@json_option
def anomalies_command(
    name: str,
    files: tuple[Path, ...],
    output: Path | None,
    top: int,
    by: str,
    data_source: str | None,
    as_json: bool,
) -> None:
    """Rank images, the most unusual first: pictures, folders, .npy, .npz or IDX files.

    What is normal are the validation images of --data. The percentage is of its test images: so
    many of them are less unusual. --json has the scores of all images.

    \b
    Example: fmae anomalies conv-vae-bn photos/ -o unusual.png
    """
    from fmae_zoo.registry import find_entry

    model = autoencoder(name)
    # This imports scikit-learn, which takes a second.
    from fmae_zoo.anomalies import AnomalyDetector

    detector = AnomalyDetector(model)
    data = data_for(data_source, name, find_entry(name))
    source = ImageFiles(list(files), model.spec.shape, BATCH)
    ranking: list[dict[str, Any]] = []
    worst: list[tuple[float, np.ndarray]] = []
    with steps_shown("fitting to the validation images") as bar:
        detector.fit(data.train_images[data.split[1]])
        bar.begin("scoring the test images")
        normal = np.sort(getattr(detector.scores(data.test_images), by))
        bar.begin("scoring the images")
        for names, images in source:
            images = as_images(images, source.shape)
            found = detector.scores(images)
            below = np.searchsorted(normal, getattr(found, by)) * 100 / max(len(normal), 1)
            columns = [getattr(found, each).tolist() for each in SCORES]
            for one, percent, *scores in zip(names, below.tolist(), *columns):
                ranking.append({"image": one, **dict(zip(SCORES, scores)), "percentile": percent})
            scored = zip(getattr(found, by).tolist(), images)
            worst = nlargest(top, [*worst, *scored], key=lambda each: each[0])
            bar(len(ranking), None)
    report(source)
    if not ranking:
        raise ImagesError("None of the files holds a readable image.")
    ranking.sort(key=lambda each: -each[by])
    shown = ranking[:top]
    if output:
        from fmae_zoo.plots_ranked import Column, plot_ranked

        pictures = np.stack([image for _, image in worst])
        made = model.reconstruct(pictures)
        residuals = (pictures - made).mean(axis=3) * (1.0 if pictures.shape[3] == 1 else -1.0)
        columns = [
            Column(f"{each[by]:,.1f}", each["image"], pair, residual)
            for each, pair, residual in zip(shown, zip(pictures, made), residuals)
        ]
        plot_ranked(
            columns,
            output,
            f"{name}: the most unusual images",
            f"Score: {WORDS[by]}. Red is darker in the image, blue in the reconstruction.",
            ("image", "reconstruction", "residual"),
        )
        note(f"written to {output}")
    if as_json:
        facts = {"by": by, "images": ranking, "unreadable": source.unreadable}
        emit_json({**about(name, data), **facts, "output": output and str(output)})
    else:
        rows = [(each["image"], each[by], f"{each['percentile']:.2f}%") for each in shown]
        title = f"{name}: {len(ranking):,} images"
        emit_table(("image", by, "test images below"), rows, title=title)


@click.command("similar")
@click.argument("name")
@click.argument("image", type=UserPath(path_type=Path))
@files_argument
@click.option(
    "-k", "count", type=click.IntRange(1, 1000), default=8, show_default=True, help="How many."
)
@picture_option
@data_option
@json_option
def similar_command(
    name: str,
    image: Path,
    files: tuple[Path, ...],
    count: int,
    output: Path | None,
    data_source: str | None,
    as_json: bool,
) -> None:
    """Find the images whose codes are nearest to the code of an image: pictures, folders, arrays.

    With --data instead of files, search all images of a data set, named `train[0]` and so on, then
    `test[0]` and so on. The distance of codes is Euclidean.

    \b
    Example: fmae similar conv-ae-bn boot.png photos/ -o similar.png
             fmae similar conv-ae-bn boot.png --data fashion-mnist
    """
    import fmae_zoo

    check_source(files, data_source)
    encoder = fmae_zoo.load(name, pretrained=True, part="encoder")
    from fmae_zoo.inference import predicted
    from fmae_zoo.neighbours import nearest

    shape = encoder.spec.shape
    asked, source = ImageFiles([image], shape), ImageFiles(list(files), shape, BATCH)
    queries = [each for _, images in asked for each in as_images(images, shape)]
    if len(queries) != 1:
        reason = "; ".join(asked.unreadable.values()) or f"{len(queries):,} images in it"
        raise ImagesError(f"{image}: expected a file of one image: {reason}")
    names: list[str] = []
    pictures: list[np.ndarray] = []
    codes: list[np.ndarray] = []
    with steps_shown("encoding the images") as bar:
        for some, images in of_data(data_source, BATCH) if data_source else source:
            names += some
            pictures += list(images) if output else []
            codes.append(predicted(encoder, as_images(images, shape), len(images)))
            bar(len(names), None)
    report(source)
    if not names:
        raise ImagesError("None of the files holds a readable image.")
    [code] = predicted(encoder, queries[0][np.newaxis], 1)
    [found], [distances] = nearest(np.concatenate(codes), code[np.newaxis], count)
    near = list(zip([names[number] for number in found], distances.tolist()))
    if output:
        from fmae_zoo.plots_ranked import Column, plot_ranked

        columns = [Column("query", image.name, (queries[0],))]
        for number, (each, distance) in zip(found, near):
            columns.append(Column(f"{distance:.2f}", each, (pictures[number],)))
        words = "The number is the Euclidean distance of the codes."
        plot_ranked(columns, output, f"{name}: nearest images", words, per_row=9)
        note(f"written to {output}")
    if as_json:
        rows = [{"image": each, "distance": distance} for each, distance in near]
        facts = {"name": name, "query": str(image), "searched": len(names), "images": rows}
        emit_json({**facts, "unreadable": source.unreadable, "output": output and str(output)})
    else:
        emit_table(("image", "distance"), near, title=f"{name}: {len(names):,} images")
