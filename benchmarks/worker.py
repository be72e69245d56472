"""One contestant in its own process, `python -m benchmarks.worker`; started by `runner.py`.

The first line of stdin is a `Case` as JSON. Each answer is one line of JSON on stdout: first that
the contestant is ready, then one for each further line of stdin:

- `block N` runs the task on N images and returns `{"seconds": ..., "images": N}`;
- `probe` returns the GFLOP/s of the framework's own operations;
- `end` returns the peak memory and ends the process.

After an error the answer is `{"error": ...}`, and the process ends with exit code 1.
"""

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

# Frameworks and numpy read their settings (threads, for example) when they are imported, so modules
# that import them are imported after `configure`.
if TYPE_CHECKING:
    from benchmarks.case import Case, Contestant

WARM_UP_BATCHES, WARM_UP_SECONDS = (1, 2, 8, 8), 4.0
"""Batches of each warm-up block, and seconds after which no further block starts."""
EPOCH_IMAGES = 60_000
"""Maximum number of images in one call of a contestant, as many as Fashion-MNIST trains on."""
IMPORTS = {
    "fmae_zoo": ("keras", "fmae_zoo.autoencoder"),
    "keras": ("keras",),
    "handwritten": (),
    "pythae": (),
}
"""Modules that a contestant imports besides its framework."""


def configure(fields: dict[str, Any]) -> int:
    """Set backend, threads and device of this process; called before any framework is imported.

    Returns:
        Number of cores available before the limit on threads.
    """
    cores = sorted(os.sched_getaffinity(0))
    os.environ.update(KERAS_BACKEND=fields["backend"], TF_CPP_MIN_LOG_LEVEL="3")
    threads = fields.get("threads", 0)
    if threads:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[name] = str(threads)
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
        os.environ["TF_NUM_INTEROP_THREADS"] = str(threads)
        # JAX has no such setting, but counts the cores that the process may use.
        os.sched_setaffinity(0, cores[:threads])
    if fields.get("device", "cpu") == "cpu":
        os.environ.update(CUDA_VISIBLE_DEVICES="-1", JAX_PLATFORMS="cpu")
    else:
        # Several processes share the GPU, so none may reserve its memory in advance.
        os.environ.update(XLA_PYTHON_CLIENT_PREALLOCATE="false", TF_FORCE_GPU_ALLOW_GROWTH="true")
    return len(cores)


def timed(function: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Call a function; return the seconds it took and its result."""
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


class Server:
    """Server that carries out the commands on stdin for one case."""

    def __init__(self, case: "Case", cores: int) -> None:
        from fmae_zoo.datasets import load_sample

        self.case, self.cores = case, cores
        self.images = load_sample().train_images
        self.contestant: Contestant | None = None
        self.parts: dict[int, Any] = {}

    def start(self) -> dict[str, Any]:
        """Import, build, run the first step and warm up; return the facts about the contestant.

        They are the seconds of import, build and first step, the memory after the imports in MiB,
        the number of parameters and the machine.
        """
        from benchmarks.machine import facts, resident_mib
        from benchmarks.probes import device_name

        modules = (self.case.backend, *IMPORTS.get(self.case.contestant, ()), "benchmarks.peers")
        import_seconds, _ = timed(lambda: [importlib.import_module(name) for name in modules])
        imported = resident_mib()["resident_mib"]
        name = device_name(self.case)
        make = importlib.import_module("benchmarks.peers").make
        build_seconds, self.contestant = timed(make, self.case)
        first_step_seconds = self.block(self.case.batch_size)["seconds"]
        self.warm_up()
        return {
            "ready": True,
            "import_seconds": import_seconds,
            "imported_memory_mib": imported,
            "build_seconds": build_seconds,
            "first_step_seconds": first_step_seconds,
            "parameters": int(self.contestant.parameters),
            "machine": facts(self.case, self.cores, name),
        }

    def warm_up(self) -> None:
        """Run some batches, fewer if they are slow."""
        start = time.perf_counter()
        for count in WARM_UP_BATCHES:
            if time.perf_counter() - start < WARM_UP_SECONDS:
                self.block(count * self.case.batch_size)

    def block(self, count: int) -> dict[str, Any]:
        """Run the task on `count` images, in calls of up to one epoch; return how long it took."""
        import numpy as np

        epoch = max(1, EPOCH_IMAGES // self.case.batch_size) * self.case.batch_size
        if len(self.images) < min(count, epoch):
            self.images = np.resize(self.images, (min(count, epoch), *self.images.shape[1:]))
            self.parts.clear()
        run = getattr(self.contestant, self.case.task)
        parts = [self._part(min(epoch, count - done)) for done in range(0, count, epoch)]
        seconds, _ = timed(lambda: [run(part) is None for part in parts])
        return {"seconds": seconds, "images": count}

    def _part(self, count: int) -> Any:
        """Return the first `count` images, always the same array, so pythae prepares it once."""
        if count not in self.parts:
            self.parts[count] = self.images[:count]
        return self.parts[count]

    def probe(self) -> dict[str, Any]:
        """Return the GFLOP/s of the framework's plain operations."""
        from benchmarks.probes import probe

        return dict(probe(self.case))

    def end(self) -> dict[str, Any]:
        """Return the peak memory of this process in MiB, and of the GPU (None on a CPU)."""
        from benchmarks.machine import peak_mib
        from benchmarks.probes import peak_device_mib

        return {"peak_memory_mib": peak_mib(), "peak_gpu_memory_mib": peak_device_mib(self.case)}


def serve(say: Callable[[dict[str, Any]], None]) -> None:
    """Read a case and then commands, until `end` or the end of stdin."""
    fields = json.loads(sys.stdin.readline())
    cores = configure(fields)
    from benchmarks.case import Case

    server = Server(Case.from_dict(fields), cores)
    say(server.start())
    for line in sys.stdin:
        match line.split():
            case ["block", count]:
                say(server.block(int(count)))
            case ["probe"]:
                say(server.probe())
            case ["end"]:
                say(server.end())
                return
            case _:
                raise ValueError(f"Expected block N, probe or end; received {line!r}")


def main() -> int:
    """Run the server; return the exit code."""
    # Frameworks print to stdout, so their output goes to stderr and answers to the real stdout.
    with os.fdopen(os.dup(1), "w") as protocol:
        os.dup2(2, 1)

        def say(answer: dict[str, Any]) -> None:
            print(json.dumps(answer), file=protocol, flush=True)

        try:
            serve(say)
        except Exception as error:
            traceback.print_exc()
            say({"error": f"{type(error).__name__}: {error}"})
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
