"""One trial of a sweep: a training in a folder of its own, and the value of the objective."""

import csv
import json
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fmae_zoo.datasets import Dataset
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.files import atomic_write, write_text
from fmae_zoo.layout import HISTORY_FILE, VALUE_FILE
from fmae_zoo.saving import spec_toml
from fmae_zoo.spec import SPEC_FILE
from fmae_zoo.sweeping.criterion import CRITERIA
from fmae_zoo.training.many import Job, Launch
from fmae_zoo.training.run import train


class Pruned(Exception):
    """A trial in this process is stopped because others were better after as many epochs."""


@dataclass
class Trial(Job):
    """A training whose epochs are reported to Optuna, which may prune it.

    Attributes:
        objective: Name of the criterion to measure.
        asked: Optuna's trial, which has the values of the swept keys.
        data: Data to train on in this process; None trains in a process of its own.
    """

    objective: str = ""
    asked: Any = None
    data: Dataset | None = None
    program: ClassVar[tuple[str, ...]] = ("fmae_zoo.sweeping",)

    def start(self, words: Iterable[str], launch: Launch) -> None:
        """Start or resume the training, in its own process or, to its end, in this one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / SPEC_FILE, spec_toml(self.spec))
        if self.data is None:
            super().start(words, launch)
            return
        self.state = "training"
        try:
            run(self.folder, self.folder, self.seed, self.data, self.objective, True, self._watch)
        except Pruned:
            self.state = "pruned"
        except Exception as error:
            # A crash of any kind ends this trial only.
            self.state, self.error = "failed", f"{type(error).__name__}: {error}"
        else:
            self.state = "done"

    def look(self) -> bool:
        """Return whether the trial has ended; end it if Optuna prunes it."""
        if self.process is None or super().look():
            return True
        if self._is_pruned():
            self.stop()
            self.state = "pruned"
        return self.state == "pruned"

    def value(self) -> float:
        """Return the value of the objective, which a finished trial has written."""
        return float(json.loads((self.folder / VALUE_FILE).read_text("utf-8"))[self.objective])

    def _watch(self, *_: Any) -> None:
        if self._is_pruned():
            raise Pruned

    def _is_pruned(self) -> bool:
        """Report the epochs that Optuna does not know yet; return whether it prunes the trial."""
        losses = [float(row["val_loss"]) for row in history_of(self.folder)]
        study = self.asked.study
        known = len(study.get_trials(deepcopy=False)[self.asked.number].intermediate_values)
        sign = -1.0 if study.direction.name == "MAXIMIZE" else 1.0  # Optuna prunes what is worse.
        for epoch in range(known, len(losses)):
            self.asked.report(sign * losses[epoch], epoch + 1)
        whole = len(losses) >= self.spec.recipe.epochs
        return bool(losses) and not whole and self.asked.should_prune()


def history_of(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a training's history; none if there is none yet."""
    try:
        text = (folder / HISTORY_FILE).read_text("utf-8")
    except OSError:
        return []
    return list(csv.DictReader(text.splitlines()))


def run(
    source: Path,
    output: Path,
    seed: int,
    data: Dataset,
    objective: str,
    resume: bool,
    progress: Any,
) -> None:
    """Train the spec in a folder, or resume that, and write the value of the objective.

    Raises:
        FmaeError: As for `train`; or the objective cannot be measured.
    """
    history = train(source, seed=seed, output=output, resume=resume, data=data, progress=progress)
    subject = Subject(history.model, data, seed)
    value = CRITERIA[objective].measure(history, subject)
    write_text(output / VALUE_FILE, json.dumps({objective: value}) + "\n")


def write_data(path: Path, data: Dataset) -> None:
    """Write a data set for the processes of trials, which read it faster than from its source."""
    with atomic_write(path) as file:
        pickle.dump(data, file)


def read_data(path: Path) -> Dataset:
    """Return the data set that `write_data` wrote; read no file from elsewhere."""
    with path.open("rb") as file:
        data: Dataset = pickle.load(file)
    return data
