"""Encoding of a folder of any size on a Ray cluster, part by part.

Each part is a fixed run of files, and its codes are one Parquet file, which appears whole or not at
all. So a part that is encoded again, because a machine was lost, replaces itself.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fmae_zoo.cluster.joining import places
from fmae_zoo.errors import ArgumentError, FmaeError, ImagesError
from fmae_zoo.files import write_text
from fmae_zoo.images import ImageFiles
from fmae_zoo.registry import find_entry

PART = 10_000
"""Number of files in a part."""

ABOUT_FILE = "_about.json"
DONE_FILE = "_SUCCESS"
"""Written when all parts are there. Readers of Parquet pass over names that begin with `_`."""


@dataclass(frozen=True)
class Encoding:
    """How images are encoded, on every machine.

    Attributes:
        name: Name of the model.
        weights: SHA-256 of its encoder's weights.
        precision: Precision of the encoder.
        batch_size: Number of images encoded at a time.
        backend: Keras backend.
        folder: Working folder, which relative paths belong to.
        output: Folder of the parts.
    """

    name: str
    weights: str
    precision: str
    batch_size: int
    backend: str
    folder: str
    output: str


def embed_on_ray(
    ray: Any,
    how: Encoding,
    source: ImageFiles,
    *,
    workers: int | None = None,
    cpus: int = 1,
    gpus: float = 0,
    part: int = PART,
    advance: Callable[[int, int], None] = lambda done, count: None,
) -> int:
    """Encode files on a cluster into a folder of Parquet parts, and return the number of images.

    The parts together have the rows, in the order of their names, that `embed_files` writes to one
    file. The same call goes on where a stopped one was. Model, files and output folder must be at
    the same paths on all machines.

    Args:
        ray: Ray's module, of a process that has joined a cluster.
        how: What encodes the images, and where codes are written.
        source: Files; their `unreadable` and `on_white` are filled.
        workers: Number of processes that encode; by default as many as the cluster has places for.
        cpus: CPUs, and threads, of each.
        gpus: GPUs of each, or a part of one.
        part: Number of files in a part. A file of many images is in one part.
        advance: Function called with the numbers of files that are done, and of all.

    Raises:
        ImagesError: There is no readable image.
        ArgumentError: The output holds something else; or a machine has not the model or the files.
    """
    files = [os.fsencode(path) for path in source.files()]
    output = Path(how.output)
    _check_output(output, how, files, part)
    parts = [files[start : start + part] for start in range(0, len(files), part)]
    paths = [_path_of(output, number) for number in range(len(parts))]
    waiting = [number for number, path in enumerate(paths) if not path.exists()]
    done = sum(len(each) for each, path in zip(parts, paths) if path.exists())
    if waiting:
        rows = [{"number": number, "files": b"\0".join(parts[number])} for number in waiting]
        most = places(ray, cpus, gpus)
        advance(done, len(files))
        encoded = (
            _quiet(ray)
            .from_items(rows, override_num_blocks=len(waiting))
            .map_batches(
                encode_part,
                batch_size=1,
                batch_format="numpy",
                fn_kwargs={"how": how, "shape": source.shape, "threads": cpus},
                compute=ray.data.TaskPoolStrategy(min(workers or most, most)),
                num_cpus=cpus,
                num_gpus=gpus,
            )
        )
        try:
            for row in encoded.iter_rows():
                if row["error"]:
                    raise ArgumentError(f"A machine of the cluster cannot encode: {row['error']}")
                source.unreadable.update(json.loads(row["unreadable"]))
                source.on_white += int(row["on_white"])
                done += int(row["files"])
                advance(done, len(files))
        except ray.exceptions.RayError as error:
            reason = str(getattr(error, "cause", None) or error).strip().splitlines()[-1]
            raise ArgumentError(f"The cluster could not encode all images: {reason}") from error
    count = sum(map(_images_in, paths))
    if not count:
        raise ImagesError("None of the files holds a readable image.")
    write_text(output / DONE_FILE, "")
    return count


def encode_part(batch: dict[str, Any], how: Encoding, shape: Any, threads: int) -> dict[str, Any]:
    """Encode the files of one part on a machine of the cluster, and write its Parquet file.

    Args:
        batch: Number of the part, and its files; both as arrays of one value.
        how: What encodes the images, and where codes are written.
        shape: Height, width and channels of the images.
        threads: Number of threads to encode with.

    Returns:
        Number of files, what could not be read, and why the part could not be encoded, if so.
    """
    names = bytes(batch["files"][0]).split(b"\0")
    told: dict[str, Any] = {"files": len(names), "unreadable": "{}", "on_white": 0, "error": ""}
    try:
        os.chdir(how.folder)
        encoder = _encoder(replace(how, output=""), threads)
        from fmae_zoo.embedding import embed_files

        source = ImageFiles([Path(os.fsdecode(name)) for name in names], shape, how.batch_size)
        absent = next((name for name in names if not os.path.exists(name)), None)
        if absent is not None:
            raise ArgumentError(f"{os.fsdecode(absent)}: no such file there")
        try:
            embed_files(encoder, source, _path_of(Path(how.output), int(batch["number"][0])))
        except ImagesError:
            if not source.unreadable:
                raise
        told |= {"unreadable": json.dumps(source.unreadable), "on_white": source.on_white}
    except (FmaeError, OSError) as error:
        told["error"] = str(error)
    return {key: np.array([value]) for key, value in told.items()}


@cache
def _encoder(how: Encoding, threads: int) -> Any:
    """Return the encoder, which each process loads once."""
    os.environ["KERAS_BACKEND"] = how.backend
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(threads)
    if weights_of(how.name) != how.weights:
        raise ArgumentError(f"{how.name} has other weights there")
    import fmae_zoo

    return fmae_zoo.load(how.name, pretrained=True, part="encoder", precision=how.precision)


def weights_of(name: str) -> str:
    """Return the SHA-256 of the weights of a model's encoder."""
    from fmae_zoo.layout import CLASSIFIER_FILE, ENCODER_FILE

    files = find_entry(name).manifest.files
    record = files.get(ENCODER_FILE) or files[CLASSIFIER_FILE]
    return str(record.sha256)


def _path_of(output: Path, number: int) -> Path:
    return output / f"part-{number:06d}.parquet"


def _images_in(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows) if path.exists() else 0


def _check_output(output: Path, how: Encoding, files: list[bytes], part: int) -> None:
    """Write what the output folder holds; raise if it holds something else."""
    now = {key: asdict(how)[key] for key in ("name", "weights", "precision", "backend", "folder")}
    now |= {"files": hashlib.sha256(b"\0".join(files)).hexdigest(), "part": part}
    if output.is_file():
        raise ArgumentError(f"{output} is a file; on a cluster, codes are written to a folder")
    about = output / ABOUT_FILE
    if about.is_file():
        before = json.loads(about.read_text("utf-8"))
        if before != now:
            others = ", ".join(key for key in now if before.get(key) != now[key])
            raise ArgumentError(f"{output}: there are codes here with another {others}")
    elif output.is_dir() and any(output.iterdir()):
        raise ArgumentError(f"{output}: there are other files here; expected a new folder")
    else:
        write_text(about, json.dumps(now, indent=1) + "\n")


def _quiet(ray: Any) -> Any:
    """Return Ray's module of data sets, without its log and its progress bars."""
    import logging

    from fmae_zoo.extras import needed

    data = needed("ray.data", "ray")
    data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    return data
