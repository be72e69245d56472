"""Progress bars on stderr with the remaining time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from fmae_zoo.training.many import Job


class RichProgress(Progress):
    """Bar over all steps of a training run: `train(..., progress=bar)` inside `with`."""

    def __init__(self, title: str) -> None:
        super().__init__(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            TextColumn("epoch {task.fields[epoch]}"),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=Console(stderr=True),
        )
        # What comes before the first step, such as a clustering of the images, may take a minute.
        self._bar = self.add_task(title, total=None, epoch="-, preparing", loss="-")
        self._is_begun = False

    def __exit__(self, *error: Any) -> None:
        """Stop, and remove the bar if there was no step."""
        if not self._is_begun:
            self.remove_task(self._bar)
        super().__exit__(*error)

    def __call__(self, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        """Report `step` of `steps` in `epoch` (from 0) of `epochs`."""
        if not self._is_begun:
            # A new start of the clock, so that the time left does not depend on the preparation.
            self.reset(self._bar, total=epochs * steps, completed=epoch * steps)
            self._is_begun = True
        self.update(
            self._bar,
            completed=epoch * steps + step,
            epoch=f"{min(epoch + 1, epochs)}/{epochs}",
            loss=f"{loss:.4g}",
        )


class StepsProgress(Progress):
    """Bars over the steps of tasks: `bar.begin("knn")`, then `bar(done, count)`, inside `with`.

    A task whose number of steps is not known shows that it runs, and for how long. If stderr is no
    terminal, it receives one line for each task.

    Args:
        console: Where to show them; one on stderr by default. Other lines that are printed while
            there are bars have to go through it too.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True, highlight=False)
        super().__init__(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            TextColumn("{task.fields[steps]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._bar: TaskID | None = None
        self._done = 0

    def __exit__(self, kind: Any, *error: Any) -> None:
        """Stop, and mark the last task as finished unless there was an error."""
        if kind is None:
            self._end()
        super().__exit__(kind, *error)

    def begin(self, title: str) -> None:
        """Begin the next task; the one before is finished."""
        self._end()
        if self.disable:
            self.console.print(title, markup=False, soft_wrap=True)
        self._bar, self._done = self.add_task(title, total=None, steps=""), 0

    def __call__(self, done: int, count: int | None) -> None:
        """Report that `done` of `count` steps are done, or of an unknown number.

        Fewer than before are those of a new part of the task, whose time is measured anew.
        """
        assert self._bar is not None
        if done < self._done:
            self.reset(self._bar)
        self._done = done
        steps = f"{done:,}" if count is None else f"{done:,}/{count:,}"
        self.update(self._bar, total=count, completed=done, steps=steps)

    def _end(self) -> None:
        if self._bar is not None:
            self.update(self._bar, total=1, completed=1, steps="")


class JobsProgress(Progress):
    """Bar for each of many trainings, and one over all: `train_all(..., report=view)`."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TextColumn("{task.fields[state]}", style="dim"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._bars: dict[str, TaskID] = {}

    def __call__(self, jobs: Sequence["Job"]) -> None:
        """Report the state of all jobs; waiting jobs have no bar yet."""
        whole = sum(job.spec.recipe.epochs for job in jobs)
        self._show("all", sum(map(_finished, jobs)), whole, "")
        for job in jobs:
            title = f"{job.name}, seed {job.seed}"
            if job.state == "waiting" or (job.state == "done" and title not in self._bars):
                continue
            self._show(title, _finished(job), job.spec.recipe.epochs, job.state)

    def _show(self, title: str, completed: int, total: int, state: str) -> None:
        if title not in self._bars:
            self._bars[title] = self.add_task(title, total=total, state=state)
        self.update(self._bars[title], completed=completed, state=state)
        if state in ("done", "failed"):
            self.stop_task(self._bars[title])


def _finished(job: "Job") -> int:
    return job.spec.recipe.epochs if job.state == "done" else job.epochs
