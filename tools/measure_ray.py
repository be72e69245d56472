"""Measure Ray's throughput with one worker and with two: `python tools/measure_ray.py`.

On a Ray of this machine alone, with a thread for each worker:

- images that `fmae embed --engine ray` encodes per second, from PNG files to Parquet files. Loading
  the model is not counted: another folder is encoded before.
- trainings per hour, from the submission of the first to the end of the last, with all that each
  does once: starting a process, importing the framework, and loading the data.

Results are written to `registry/ray.json`. It takes about five minutes on two cores.
"""

import argparse
import datetime
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
from PIL import Image

import fmae_zoo
from benchmarks.machine import host
from fmae_zoo.cluster.embedding import Encoding, embed_on_ray, weights_of
from fmae_zoo.cluster.jobs import RayJobs
from fmae_zoo.cluster.joining import joined
from fmae_zoo.files import write_text
from fmae_zoo.images import ImageFiles
from fmae_zoo.manifest import version_of
from fmae_zoo.training.many import jobs_of, train_all

TARGET = Path(__file__).parent.parent / "registry" / "ray.json"
PARTS = 8
"""Number of parts of the encoded folder, so that two workers end at nearly the same time."""


def write_pictures(folder: Path, images: np.ndarray) -> None:
    """Write images as PNG files."""
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:06d}.png")


def encoded_per_second(ray: Any, name: str, folder: Path, warm: Path, workers: int) -> float:
    """Return the images per second from files to codes."""
    shape = fmae_zoo.load(name, pretrained=True, part="encoder").spec.shape
    with tempfile.TemporaryDirectory() as output:
        rates = []
        for source, target in ((warm, "warm"), (folder, "codes")):
            target = str(Path(output, target))
            how = Encoding(name, weights_of(name), "float32", 500, "torch", output, target)
            files = ImageFiles([source], shape)
            part = len(list(source.iterdir())) // PARTS
            began = time.perf_counter()
            count = embed_on_ray(ray, how, files, workers=workers, part=part)
            rates.append(count / (time.perf_counter() - began))
    return rates[-1]


def trained_per_hour(ray: Any, name: str, epochs: int, at_once: int) -> float:
    """Return the trainings per hour, of two for each that runs at once."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = jobs_of([name], range(2 * at_once), Path(folder), recipe={"epochs": epochs})
        began = time.perf_counter()
        train_all(jobs, at_once, ["--epochs", str(epochs)], launch=RayJobs(ray))
        seconds = time.perf_counter() - began
    failed = [job.last_words() for job in jobs if job.state != "done"]
    if failed:
        raise SystemExit(f"a training has failed: {failed[0]}")
    return len(jobs) * 3600 / seconds


def main() -> None:
    """Measure one model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="conv-ae-bn")
    parser.add_argument("--images", type=int, default=40_000)
    parser.add_argument("--trained", default="dense-ae")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--output", type=Path, default=TARGET)
    told = parser.parse_args()
    data = fmae_zoo.load_data()
    found: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": host(),
        "versions": {each: version_of(each) for each in ("fmae_zoo", "keras", "torch", "ray")},
        "encoder": told.encoder,
        "images": told.images,
        "trained": told.trained,
        "epochs": told.epochs,
        "images_per_second": {},
        "trainings_per_hour": {},
    }
    with tempfile.TemporaryDirectory() as temporary:
        photos, warm = Path(temporary, "photos"), Path(temporary, "warm")
        write_pictures(photos, data.train_images[: told.images])
        write_pictures(warm, data.test_images[: 20 * PARTS])
        for workers in told.workers:
            with joined() as ray:
                rate = encoded_per_second(ray, told.encoder, photos, warm, workers)
                found["images_per_second"][str(workers)] = round(rate, 1)
                rate = trained_per_hour(ray, told.trained, told.epochs, workers)
                found["trainings_per_hour"][str(workers)] = round(rate, 1)
            print(workers, found["images_per_second"], found["trainings_per_hour"], flush=True)
    write_text(told.output, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
