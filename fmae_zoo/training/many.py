"""Many trainings, a process each: resumed, skipped where done, not ended by another's crash."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fmae_zoo.entry import HISTORY_FILE, Entry
from fmae_zoo.errors import FmaeError
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.registry import find_entry, short_name
from fmae_zoo.spec import ModelSpec

LOG_FILE = "training.log"
COMPARED = ("name", "latent", "objective", "recipe")
"""What of two specs must be the same for a training to be done."""

POLL = 0.5
"""Seconds between looks at the processes."""


@dataclass
class Job:
    """One training of a model with a seed.

    Attributes:
        name: of the model, or the folder of its spec.
        seed: of the training.
        folder: of its checkpoints, and at the end of the model.
        spec: of the model.
        state: `waiting`, `training`, `done`, or `failed`.
    """

    name: str
    seed: int
    folder: Path
    spec: ModelSpec
    state: str = "waiting"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def epochs(self) -> int:
        """Epochs that are finished: the lines of the history, less its head."""
        try:
            return max(0, (self.folder / HISTORY_FILE).read_bytes().count(b"\n") - 1)
        except OSError:
            return 0

    @property
    def is_done(self) -> bool:
        """Whether the folder has a model that was trained by this spec with this seed.

        What depends on the data, for which a spec is adapted, is not compared.
        """
        if not (self.folder / MANIFEST_FILE).is_file():
            return False
        trained = Entry.read(self.folder)
        record = trained.manifest.training
        same = all(getattr(trained.spec, key) == getattr(self.spec, key) for key in COMPARED)
        return same and record is not None and record.seed == self.seed

    def start(self, words: Iterable[str]) -> None:
        """Begin the training, or go on with it, in a process of its own that writes a log."""
        resume = ["--resume"] if self.folder.is_dir() else []
        self.folder.mkdir(parents=True, exist_ok=True)
        options = ["--seed", str(self.seed), "-o", str(self.folder), *resume, *words]
        with (self.folder / LOG_FILE).open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fmae_zoo", "train", self.name, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.state = "training"

    def look(self) -> bool:
        """Say whether the process has ended, and note how."""
        assert self.process is not None
        code = self.process.poll()
        if code is None:
            return False
        self.state = "failed" if code else "done"
        return True

    def last_words(self) -> str:
        """Return the last line of the log: of an error, what was wrong."""
        lines = (self.folder / LOG_FILE).read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def jobs_of(
    names: Iterable[str], seeds: Iterable[int], folder: Path, missing: bool = False
) -> list[Job]:
    """Return the trainings of models with seeds, those of few epochs first.

    Args:
        names: of registered models, or folders with a spec.toml.
        seeds: of the trainings.
        folder: under which each training has its own, `NAME-seedN`.
        missing: leave out models that have weights.

    Raises:
        UnknownModelError, SpecError: there is no such model, or its spec is damaged.
    """
    entries = [(name, find_entry(name)) for name in names]
    jobs = [
        Job(name, seed, folder / f"{short_name(entry)}-seed{seed}", entry.spec)
        for name, entry in entries
        for seed in seeds
        if not (missing and entry.pretrained)
    ]
    return sorted(jobs, key=lambda job: (job.seed, job.spec.recipe.epochs, job.name))


def train_all(
    jobs: list[Job],
    at_once: int = 1,
    words: Iterable[str] = (),
    report: Callable[[list[Job]], None] = lambda jobs: None,
) -> None:
    """Run trainings until none is left; the crash of one does not end the others.

    Those that are done are skipped. Stopped by an exception, an interrupt for example, it stops the
    processes, whose checkpoints are resumed the next time.

    Args:
        jobs: their state tells, at the end, which failed.
        at_once: processes at a time.
        words: further options of `fmae train`.
        report: called with the jobs again and again.
    """
    running: list[Job] = []
    waiting = [job for job in jobs if not _done(job)]
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(waiting.pop(0))
                running[-1].start(words)
            running = [job for job in running if not job.look()]
            report(jobs)
            time.sleep(POLL)
    finally:
        for job in running:
            assert job.process is not None
            job.process.terminate()
            job.process.wait()
            job.state = "waiting"
        report(jobs)


def _done(job: Job) -> bool:
    try:
        job.state = "done" if job.is_done else "waiting"
    except FmaeError:
        job.state = "waiting"
    return job.state == "done"
