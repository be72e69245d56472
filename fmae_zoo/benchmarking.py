"""Which backend is the fastest on this machine: a short measurement of each that is installed."""

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
"""Of a block: those of Fashion-MNIST."""
LIMIT = 600
"""Seconds after which a backend is given up."""


class Row(BaseModel):
    """How fast one backend is at one precision; images a second are medians of 5 blocks.

    Attributes:
        backend: `tensorflow`, `torch` or `jax`.
        precision: a Keras dtype policy.
        train: images a second of `fit` with Adam, in batches of 128.
        encode: images a second of `encode`.
        first_step: seconds of the first training step, compilation included.
        peak_memory: of the process, in MiB; None where the system does not say.
        error: why there are no figures, or empty.
    """

    backend: str
    precision: str
    train: float = 0.0
    encode: float = 0.0
    first_step: float = 0.0
    peak_memory: int | None = None
    error: str = ""


class Benchmark(BaseModel):
    """What was measured, and which backend it speaks for.

    Attributes:
        model: the name of the spec.
        rows: one for each backend and precision.
    """

    model: str
    rows: list[Row]

    def fastest(self, task: str) -> Row:
        """Return the row with the most images a second in `train` or `encode`."""
        return max(self.rows, key=lambda row: getattr(row, task))


def benchmark(
    source: str | Path | ModelSpec = "conv-ae-bn",
    *,
    seconds: float = 1.0,
    batch_size: int = BATCH,
    progress: Callable[[str, str], None] | None = None,
) -> Benchmark:
    """Measure training and encoding on every backend that is installed, one after another.

    Each backend and precision has a process of its own, and random images: what they show does
    not change the speed. The machine should have nothing else to do.

    Args:
        source: a registered name, a folder with a spec.toml, or a spec.
        seconds: of a block, about; there are five for each figure.
        batch_size: images in a training step.
        progress: called with backend and precision before they are measured.

    Raises:
        BackendError: no backend is installed, or none could be measured.
        UnknownModelError, SpecError, ArgumentError: the source, or a number, is none.
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
    """Return the figures of this process's backend."""
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
    """Return the median rate of some blocks, each long enough for its seconds."""
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
    except ImportError:  # Windows has none.
        return None
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) // scale


if __name__ == "__main__":
    print(json.dumps(_measure(json.load(sys.stdin))))
