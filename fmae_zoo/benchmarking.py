"""Benchmark of training and encoding speed on each installed backend."""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fmae_zoo._backend import BACKENDS, is_installed
from fmae_zoo.arguments import check_integer, check_number
from fmae_zoo.errors import BackendError
from fmae_zoo.registry import find_spec
from fmae_zoo.spec import ModelSpec

PRECISIONS = ("float32", "mixed_bfloat16")
BATCH = 128
BLOCKS = 5
MOST_IMAGES = 60_000
"""Largest number of images in a block: the size of Fashion-MNIST's training set."""
LIMIT = 600
"""Seconds after which the measurement of a backend is stopped."""


class Row(BaseModel):
    """Speed of one backend at one precision; images per second are medians of 5 blocks.

    Attributes:
        backend: `tensorflow`, `torch` or `jax`.
        precision: Keras dtype policy.
        train: Images per second of `fit` with Adam.
        encode: Images per second of `encode`.
        first_step: Seconds of the first training step, including compilation.
        peak_memory: Peak memory of the process in MiB; None if the system does not report it.
        error: Reason why there are no figures, or empty.
    """

    backend: str
    precision: str
    train: float = 0.0
    encode: float = 0.0
    first_step: float = 0.0
    peak_memory: int | None = None
    error: str = ""


class Benchmark(BaseModel):
    """Speeds of one model on all installed backends.

    Attributes:
        model: Name of the spec.
        rows: Measurements, one for each backend and precision.
    """

    model: str
    rows: list[Row]

    def fastest(self, task: str) -> Row:
        """Return the row with the most images per second; `task` is `train` or `encode`."""
        return max(self.rows, key=lambda row: getattr(row, task))


def benchmark(
    source: str | Path | ModelSpec = "conv-ae-bn",
    *,
    seconds: float = 1.0,
    batch_size: int = BATCH,
    progress: Callable[[str, str], None] | None = None,
) -> Benchmark:
    """Measure training and encoding on every installed backend, one after another.

    Each backend and precision runs in its own process, on random images. The machine should be
    otherwise idle.

    Args:
        source: Registered name, folder with a spec.toml, or spec.
        seconds: Approximate duration of a block; each figure has five blocks.
        batch_size: Number of images in a training step.
        progress: Function called with backend and precision before each measurement.

    Raises:
        BackendError: No backend is installed, or none could be measured.
        UnknownModelError: There is no such model.
        SpecError: The spec is not valid.
        ArgumentError: The source has the wrong type, or a number is out of range.
    """
    check_number("seconds", seconds, zero=False)
    check_integer("batch_size", batch_size, 1)
    spec = find_spec(source)
    installed = [backend for backend in BACKENDS if is_installed(backend)]
    if not installed:
        raise BackendError('No Keras backend is installed: pip install "fmae-zoo[jax]"')
    rows = []
    for backend in installed:
        for precision in PRECISIONS:
            if progress is not None:
                progress(backend, precision)
            rows.append(_row(spec, backend, precision, seconds, batch_size))
    if all(row.error for row in rows):
        raise BackendError("No backend could be measured: " + rows[0].error)
    return Benchmark(model=spec.name, rows=rows)


def _row(spec: ModelSpec, backend: str, precision: str, seconds: float, batch_size: int) -> Row:
    job = {
        "spec": spec.model_dump(mode="json", exclude_none=True),
        "precision": precision,
        "seconds": seconds,
        "batch_size": batch_size,
    }
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    row = Row(backend=backend, precision=precision)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fmae_zoo.benchmarking"],
            input=json.dumps(job),
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
        )
        return row.model_copy(update=json.loads(done.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        row.error = f"not finished after {LIMIT} s"
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"it ended with {error.returncode}"]
        row.error = lines[-1][:200]
    return row


def _measure(job: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the backend of this process."""
    import keras
    import numpy as np

    from fmae_zoo.autoencoder import Autoencoder

    size, seconds = job["batch_size"], job["seconds"]
    model = Autoencoder(ModelSpec.from_dict(job["spec"]), dtype=job["precision"])
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    images = np.random.default_rng(0).integers(0, 256, (size, *model.spec.shape)).astype(np.uint8)

    def train(some: Any) -> None:
        model.fit(some, batch_size=size, shuffle=False, verbose=0)

    began = time.perf_counter()
    train(images)
    first_step = time.perf_counter() - began
    return {
        "first_step": round(first_step, 2),
        "train": _images_a_second(train, images, seconds),
        "encode": _images_a_second(model.encode, images, seconds),
        "peak_memory": _peak_memory(),
    }


def _images_a_second(function: Callable[[Any], Any], images: Any, seconds: float) -> float:
    """Return the median images per second of `BLOCKS` blocks of about `seconds` each."""
    function(images)
    rate = _rate(function, images)
    while len(images) / rate < seconds / 2 and len(images) < MOST_IMAGES:
        images = images.repeat(math.ceil(rate * seconds / len(images)), axis=0)[:MOST_IMAGES]
        rate = _rate(function, images)
    rates = [rate, *(_rate(function, images) for _ in range(BLOCKS - 1))]
    return round(statistics.median(rates), 1)


def _rate(function: Callable[[Any], Any], images: Any) -> float:
    began = time.perf_counter()
    function(images)
    return len(images) / (time.perf_counter() - began)


def _peak_memory() -> int | None:
    try:
        import resource
    except ImportError:  # Windows has no such module.
        return None
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) // scale


if __name__ == "__main__":
    print(json.dumps(_measure(json.load(sys.stdin))))
