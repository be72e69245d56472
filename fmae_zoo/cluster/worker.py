"""What a machine of the cluster does for a job: it trains, and sends back the files."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import fmae_zoo
from fmae_zoo.errors import TrainingError
from fmae_zoo.files import atomic_write
from fmae_zoo.layout import CHECKPOINT_FILE, LOG_FILE
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.spec import SPEC_FILE

LAST_WRITTEN = (CHECKPOINT_FILE, MANIFEST_FILE)
"""Files that a training writes after those that they belong to."""

Files: TypeAlias = dict[str, bytes]


@dataclass
class Order:
    """A training that a machine of the cluster is asked to run.

    Attributes:
        program: Module to run, and its first arguments.
        words: Further options of the program.
        spec: Text of the spec.
        files: Content of the job's folder, by name; a checkpoint among them is resumed.
        backend: Keras backend to train with.
        cpus: Number of threads of the training.
        every: Seconds between looks at its files.
        version: Version of this package that asks.
    """

    program: tuple[str, ...]
    words: list[str]
    spec: str
    files: Files = field(repr=False)
    backend: str
    cpus: int
    every: float
    version: str = fmae_zoo.__version__


def run_there(order: Order, data: Files) -> Iterator[tuple[Files, int | None]]:
    """Run a training in a temporary folder, and yield its changed files every few seconds.

    Args:
        order: What to train.
        data: Files of the data set by their path, below the folder that the program runs in.

    Yields:
        Changed files, and the exit code of the program; None while it runs.

    Raises:
        TrainingError: This machine has another version of the package.
    """
    if order.version != fmae_zoo.__version__:
        raise TrainingError(
            f"A machine of the cluster has fmae-zoo {fmae_zoo.__version__}; "
            f"expected {order.version}, as where the command runs"
        )
    with TemporaryDirectory(prefix="fmae-") as temporary:
        spec, folder, below = (Path(temporary, name) for name in ("spec", "run", "data"))
        for target, files in ((spec, {SPEC_FILE: order.spec.encode()}), (folder, order.files)):
            write_files(target, files)
        below.mkdir()
        write_files(below, data)
        known = _states(folder)
        with (folder / LOG_FILE).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "fmae_zoo.cluster.program", *order.program]
                + [str(spec), "-o", str(folder), *order.words],
                cwd=below,
                env=_environment(order),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        try:
            code = None
            while code is None:
                with suppress(subprocess.TimeoutExpired):
                    code = process.wait(order.every)
                before, known = known, _states(folder)
                changed = [name for name in known if known[name] != before.get(name)]
                if changed or code is not None:
                    # What a checkpoint or manifest belongs to may be newer than the look at it.
                    is_whole = not set(LAST_WRITTEN).isdisjoint(changed)
                    yield read_files(folder, None if is_whole else changed), code
        finally:
            process.kill()
            process.wait()


def _environment(order: Order) -> dict[str, str]:
    threads = str(order.cpus)
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {**os.environ, **dict.fromkeys(names, threads), "KERAS_BACKEND": order.backend}


def _states(folder: Path) -> dict[str, tuple[int, int]]:
    """Return when each file was written last, and its size, by name."""
    states = {}
    for path in _paths(folder):
        with suppress(FileNotFoundError):
            found = path.stat()
            states[path.name] = (found.st_mtime_ns, found.st_size)
    return states


def _paths(folder: Path) -> list[Path]:
    """Return the files of a job's folder, without locks and files that are being written."""
    return [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]


def read_files(folder: Path, names: list[str] | None = None) -> Files:
    """Return files of a job's folder, by default all, in the order in which to write them.

    Files that a training writes last are read first. So each of them comes with files that are at
    least as new, also if the training writes meanwhile.
    """
    names = [path.name for path in _paths(folder)] if names is None else names
    files: Files = {}
    for name in sorted(names, key=_rank, reverse=True):
        with suppress(FileNotFoundError):
            files[name] = (folder / name).read_bytes()
    return dict(reversed(files.items()))


def _rank(name: str) -> int:
    return LAST_WRITTEN.index(name) if name in LAST_WRITTEN else -1


def write_files(folder: Path, files: Files) -> None:
    """Write files below a folder, each atomically, in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        with atomic_write(folder / name) as file:
            file.write(content)
