"""Many trainings, one process each; finished ones are skipped and stopped ones resumed.

A process runs on this machine, or wherever a `Launch` starts it: `cluster/jobs.py` has one for Ray.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

from fmae_zoo.datasets import Dataset, load_named
from fmae_zoo.entry import Entry
from fmae_zoo.errors import FmaeError, TrainingError
from fmae_zoo.layout import HISTORY_FILE, LOG_FILE
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.registry import find_entry, short_name
from fmae_zoo.spec import ModelSpec
from fmae_zoo.training.run import for_data, with_recipe

POLL = 0.5
"""Seconds between checks of the processes."""


class Process(Protocol):
    """A running job, with methods of `subprocess.Popen`."""

    def poll(self) -> int | None:
        """Return the exit code, or None while the job runs."""

    def terminate(self) -> None:
        """End the job."""

    def wait(self) -> object:
        """Wait until the job has ended."""


@dataclass
class Job:
    """One training of a model with a seed.

    Attributes:
        name: Name of the model, or folder of its spec.
        seed: Seed of the training.
        folder: Folder of the checkpoints and of the trained model.
        spec: Spec of the training, adapted to the data.
        data_digest: Digest of the data.
        state: `waiting`, `training`, `done`, or `failed`.
        error: Reason why the training could not begin or go on, if it is not in the log.
        process: Process of the training, or None before it begins.
    """

    program: ClassVar[tuple[str, ...]] = ("fmae_zoo", "train")
    """Module that the process runs, and its first arguments."""

    name: str
    seed: int
    folder: Path
    spec: ModelSpec
    data_digest: str
    state: str = "waiting"
    error: str = ""
    process: Process | None = field(default=None, repr=False)

    @property
    def epochs(self) -> int:
        """Number of finished epochs: the lines of the history without its header."""
        try:
            return max(0, (self.folder / HISTORY_FILE).read_bytes().count(b"\n") - 1)
        except OSError:
            return 0

    @property
    def is_done(self) -> bool:
        """Whether the folder holds a model trained with this spec, data and seed."""
        if not (self.folder / MANIFEST_FILE).is_file():
            return False
        trained = Entry.read(self.folder)
        record = trained.manifest.training
        if record is None or trained.spec != self.spec:
            return False
        return (record.seed, record.data_digest) == (self.seed, self.data_digest)

    def start(self, words: Iterable[str], launch: "Launch") -> None:
        """Start or resume the training in its own process, which writes a log.

        Args:
            words: Further options of the program.
            launch: Function that starts the process.
        """
        resume = ["--resume"] if self.folder.is_dir() else []
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = launch(self, [*resume, *words])
        self.state = "training"

    def look(self) -> bool:
        """Return whether the process has ended, and set `state` to its result."""
        assert self.process is not None
        code = self.process.poll()
        if code is None:
            return False
        self.state = "failed" if code else "done"
        if code < 0:
            self.error = f"the process was ended by signal {-code}"
        return True

    def stop(self) -> None:
        """End the process; the training resumes from its checkpoint the next time."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
        self.state = "waiting"

    def last_words(self) -> str:
        """Return why the training could not begin or go on, or else the last line of its log."""
        if self.error:
            return self.error
        lines = (self.folder / LOG_FILE).read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


Launch: TypeAlias = Callable[[Job, list[str]], Process]
"""Function that starts a job, with further options of its program."""


def launch_here(job: Job, words: list[str]) -> Process:
    """Start a job in a process on this machine."""
    options = ["--seed", str(job.seed), "-o", str(job.folder), *words]
    with (job.folder / LOG_FILE).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *job.program, job.name, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def jobs_of(
    names: Iterable[str],
    seeds: Iterable[int],
    folder: Path,
    missing: bool = False,
    recipe: dict[str, Any] | None = None,
    data: Dataset | None = None,
) -> list[Job]:
    """Return a job for each model and seed, sorted by seed, then number of epochs, then name.

    Args:
        names: Names of registered models, or folders with a spec.toml.
        seeds: Seeds of the trainings.
        folder: Parent folder; each training has its own folder `NAME-seedN` in it.
        missing: Whether to skip models that have pretrained weights.
        recipe: Recipe fields that replace those of each spec.
        data: Data set; by default the one that each spec names.

    Raises:
        UnknownModelError, SpecError: A model does not exist, its spec is damaged, or it does not
            fit the data or the recipe fields.
        DataError: No source has the data.
    """
    jobs = []
    named = cache(load_named)
    for name in names:
        entry = find_entry(name)
        if missing and entry.pretrained:
            continue
        own = data or named(entry.spec.data)
        spec = for_data(with_recipe(entry.spec, recipe or {}), own)
        for seed in seeds:
            target = folder / f"{short_name(entry)}-seed{seed}"
            jobs.append(Job(name, seed, target, spec, own.digest))
    return sorted(jobs, key=lambda job: (job.seed, job.spec.recipe.epochs, job.name))


def train_all(
    jobs: list[Job],
    at_once: int = 1,
    words: Iterable[str] = (),
    report: Callable[[list[Job]], None] = lambda jobs: None,
    launch: Launch = launch_here,
) -> None:
    """Run all trainings that are not done; the crash of one does not stop the others.

    An exception, an interrupt for example, stops the running processes; they resume from their
    checkpoints the next time.

    Args:
        jobs: Trainings; at the end, the `state` of each says whether it failed.
        at_once: Number of processes that run at the same time.
        words: Further options of `fmae train`.
        report: Function called with the jobs every `POLL` seconds and at the end.
        launch: Function that starts a process.
    """
    waiting = [job for job in jobs if not _done(job)]
    run_each(iter(waiting), at_once, words, lambda: report(jobs), launch)


def run_each(
    jobs: Iterator[Job],
    at_once: int = 1,
    words: Iterable[str] = (),
    report: Callable[[], None] = lambda: None,
    launch: Launch = launch_here,
) -> None:
    """Run jobs; each is taken from the iterator when it can start.

    An exception stops the running processes, as for `train_all`.

    Args:
        jobs: Trainings that are not done.
        at_once: Number of processes that run at the same time.
        words: Further options of their program.
        report: Function called every `POLL` seconds and at the end.
        launch: Function that starts a process.
    """
    running: list[Job] = []
    try:
        while True:
            while len(running) < at_once and (job := next(jobs, None)) is not None:
                try:
                    job.start(words, launch)
                except OSError as error:
                    job.state, job.error = "failed", f"{job.folder}: cannot be written: {error}"
                except TrainingError as error:
                    job.state, job.error = "failed", str(error)
                else:
                    running.append(job)
            if not running:
                break
            running = [job for job in running if not job.look()]
            report()
            if running:
                time.sleep(POLL)
    finally:
        for job in running:
            job.stop()
        report()


def _done(job: Job) -> bool:
    try:
        job.state = "done" if job.is_done else "waiting"
    except FmaeError:
        job.state = "waiting"
    return job.state == "done"
