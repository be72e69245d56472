"""The running trials of a sweep, between Optuna's study and the trainings."""

import csv
import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fmae_zoo.datasets import Dataset
from fmae_zoo.errors import FmaeError
from fmae_zoo.files import write_text
from fmae_zoo.sweeping.criterion import CRITERIA
from fmae_zoo.sweeping.space import Space
from fmae_zoo.sweeping.trial import Trial, history_of
from fmae_zoo.training.checkpoint import alone_in

TRIALS = 30
"""Default number of trials."""

TABLE_FILE = "trials.csv"


@dataclass
class Running:
    """The trials of a sweep: from Optuna's study to trainings, and their results back to it.

    Attributes:
        optuna: Optuna's module.
        storage: Optuna's storage of the study.
        study: Optuna's study.
        space: Keys and values around the spec.
        folder: Folder of the sweep.
        objective: Name of the criterion.
        seed: Seed of every training and of the sampler.
        data: Data set.
        in_process: Whether trials are trained in this process.
        progress: Function called with the row of each trial that has ended.
        open: Trials that have begun and not ended.
    """

    optuna: Any
    storage: Any
    study: Any
    space: Space
    folder: Path
    objective: str
    seed: int
    data: Dataset
    in_process: bool
    progress: Callable[[dict[str, Any]], None]
    open: list[Trial] = field(default_factory=list)

    def trials(self, count: int | None, sampler: Any) -> Iterator[Trial]:
        """Yield the trials that were stopped, then new ones until there are `count`."""
        module = self.optuna.trial
        study = self.storage.get_study_id_from_name(self.study.study_name)
        for stopped in self.study.get_trials(states=(module.TrialState.RUNNING,)):
            with alone_in(self._folder_of(stopped.number), resume=False):
                pass  # Raises if a process of the stopped sweep is still training there.
            trial = self.storage.get_trial_id_from_study_id_trial_number(study, stopped.number)
            yield from self._begun(module.Trial(self.study, trial))
        if sampler == "grid":
            count = self._enqueue(count)
        while len(self._rows()) < (count or TRIALS):
            self.study.sampler = self._sampler(sampler)
            yield from self._begun(self.study.ask())

    def _folder_of(self, number: int) -> Path:
        return self.folder / "trials" / f"{number:04d}"

    def _sampler(self, sampler: Any) -> Any:
        """Return the sampler of the next trial, the same whether the sweep was stopped or not."""
        if not isinstance(sampler, str):
            return sampler
        [seed] = np.random.SeedSequence([self.seed, len(self._rows())]).generate_state(1)
        if sampler == "tpe":
            return self.optuna.samplers.TPESampler(seed=int(seed), constant_liar=True)
        return self.optuna.samplers.RandomSampler(seed=int(seed))

    def _enqueue(self, count: int | None) -> int:
        """Queue the combinations of the grid that the study does not have; return their number."""
        grid = list(self.space.grid())
        random.Random(self.seed).shuffle(grid)
        for labels in grid[len(self.study.get_trials()) : count]:
            self.study.enqueue_trial(labels)
        return min(count or len(grid), len(grid))

    def _begun(self, asked: Any) -> Iterator[Trial]:
        """Yield the training of an Optuna trial; none if the spec refuses the values together."""
        values = {axis.key: axis.suggest(asked) for axis in self.space.axes}
        folder = self._folder_of(asked.number)
        try:
            spec = self.space.spec(values)
            CRITERIA[self.objective].check(spec)
        except FmaeError as error:
            self._failed(asked, str(error))
            return
        job = Trial(str(folder), self.seed, folder, spec, self.data.digest)
        job.objective, job.asked = self.objective, asked
        job.data = self.data if self.in_process else None
        self.open.append(job)
        yield job

    def look(self) -> None:
        """Tell the study of the trials that have ended."""
        for job in list(self.open):
            if job.state not in ("done", "failed", "pruned"):
                continue
            self.open.remove(job)
            if job.state == "failed":
                self._failed(job.asked, job.last_words())
                continue
            value = job.value() if job.state == "done" else None
            self._told(job.asked, value, "complete" if job.state == "done" else "pruned")

    def _failed(self, asked: Any, message: str) -> None:
        asked.set_user_attr("message", message)
        self._told(asked, None, "fail")

    def _told(self, asked: Any, value: float | None, state: str) -> None:
        states = self.optuna.trial.TrialState
        self.study.tell(asked.number, value, state=states[state.upper()])
        self.write_table()
        self.progress(self.rows()[asked.number])

    def _rows(self) -> list[Any]:
        """Return Optuna's trials without those that wait in a grid's queue."""
        return [each for each in self.study.get_trials() if each.state.name != "WAITING"]

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each trial that has begun."""
        table = []
        for each in self._rows():
            history = history_of(self._folder_of(each.number))
            # Optuna gives a pruned trial its last loss as its value.
            value = each.value if each.state.name == "COMPLETE" else None
            row = {"trial": each.number, "state": each.state.name.lower(), "value": value}
            row |= {axis.key: each.params.get(axis.key) for axis in self.space.axes}
            row["epochs"] = len(history)
            row["seconds"] = round(sum(float(epoch["seconds"]) for epoch in history), 1)
            table.append(row | {"message": each.user_attrs.get("message", "")})
        return table

    def write_table(self) -> None:
        """Write the rows as CSV."""
        rows, text = self.rows(), io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.folder / TABLE_FILE, text.getvalue())
