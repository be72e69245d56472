"""Many trainings, a process each: resumed, skipped where done, not ended by another's crash."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fmae_zoo.datasets import Dataset, load_named
from fmae_zoo.entry import Entry
from fmae_zoo.errors import FmaeError
from fmae_zoo.layout import HISTORY_FILE
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.registry import find_entry, short_name
from fmae_zoo.spec import ModelSpec
from fmae_zoo.training.run import for_data, with_recipe

LOG_FILE = "training.log"
POLL = 0.5
"""Seconds between looks at the processes."""


@dataclass
class Job:
    """One training of a model with a seed.

    Attributes:
        name: of the model, or the folder of its spec.
        seed: of the training.
        folder: of its checkpoints, and at the end of the model.
        spec: that it is trained by, made for the data.
        data_digest: of the data.
        state: `waiting`, `training`, `done`, or `failed`.
        error: why it could not begin.
    """

    name: str
    seed: int
    folder: Path
    spec: ModelSpec
    data_digest: str
    state: str = "waiting"
    error: str = ""
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
        """Whether the folder has a model of this spec that was trained on the data by the seed."""
        if not (self.folder / MANIFEST_FILE).is_file():
            return False
        trained = Entry.read(self.folder)
        record = trained.manifest.training
        if record is None or trained.spec != self.spec:
            return False
        return (record.seed, record.data_digest) == (self.seed, self.data_digest)

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
        """Return why it could not begin, or the last line of the log: what was wrong."""
        if self.error:
            return self.error
        lines = (self.folder / LOG_FILE).read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no message")


def jobs_of(
    names: Iterable[str],
    seeds: Iterable[int],
    folder: Path,
    missing: bool = False,
    recipe: dict[str, Any] | None = None,
    data: Dataset | None = None,
) -> list[Job]:
    """Return the trainings of models with seeds, those of few epochs first.

    Args:
        names: of registered models, or folders with a spec.toml.
        seeds: of the trainings.
        folder: under which each training has its own, `NAME-seedN`.
        missing: leave out models that have weights.
        recipe: fields that replace those of each spec.
        data: what each spec names by default.

    Raises:
        UnknownModelError, SpecError: there is no such model, or its spec is damaged; or it is not
            for such data or recipe fields.
        DataError: no source has the data.
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
                job = waiting.pop(0)
                try:
                    job.start(words)
                except OSError as error:
                    job.state, job.error = "failed", f"{job.folder}: cannot be written: {error}"
                else:
                    running.append(job)
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
