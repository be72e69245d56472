"""Progress bars on stderr with the remaining time."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from fmae_zoo.training.many import Job


class _Shown:
    """Base of the progress bars, shown inside a `with` block."""

    _progress: Progress

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._before_stop(has_failed=kind is not None)
        self._progress.stop()

    def _before_stop(self, has_failed: bool) -> None:
        """Leave the bars as they are to be seen after the block."""


class RichProgress(_Shown):
    """Bar over all steps of a training run: `train(..., progress=bar)` inside `with`."""

    def __init__(self, title: str) -> None:
        self._progress = Progress(
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
        self._task = self._progress.add_task(title, total=None, epoch="-, preparing", loss="-")
        self._is_begun = False

    def _before_stop(self, has_failed: bool) -> None:
        """Remove the bar if there was no step."""
        if not self._is_begun:
            self._progress.remove_task(self._task)

    def __call__(self, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        """Report `step` of `steps` in `epoch` (from 0) of `epochs`."""
        if not self._is_begun:
            # A new start of the clock, so that the time left does not depend on the preparation.
            self._progress.reset(self._task, total=epochs * steps, completed=epoch * steps)
            self._is_begun = True
        self._progress.update(
            self._task,
            completed=epoch * steps + step,
            epoch=f"{min(epoch + 1, epochs)}/{epochs}",
            loss=f"{loss:.4g}",
        )


class StepsProgress(_Shown):
    """Bars over the steps of tasks: `bar.begin("knn")`, then `bar(done, count)`, inside `with`.

    A task whose number of steps is not known shows that it runs, and for how long. If stderr is no
    terminal, it receives one line for each task.

    Args:
        console: Where to show them; one on stderr by default. Other lines that are printed while
            there are bars have to go through it too.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            TextColumn("{task.fields[steps]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: Any = None
        self._done = 0

    def _before_stop(self, has_failed: bool) -> None:
        """Mark the last task as finished unless there was an error."""
        if not has_failed:
            self._end()

    def begin(self, title: str) -> None:
        """Begin the next task; the one before is finished."""
        self._end()
        if self._progress.disable:
            self._console.print(title, markup=False, soft_wrap=True)
        self._task = self._progress.add_task(title, total=None, steps="")

    def __call__(self, done: int, count: int | None) -> None:
        """Report that `done` of `count` steps are done, or of an unknown number.

        Fewer than before are those of a new part of the task, whose time is measured anew.
        """
        if done < self._done:
            self._progress.reset(self._task)
        self._done = done
        steps = f"{done:,}" if count is None else f"{done:,}/{count:,}"
        self._progress.update(self._task, total=count, completed=done, steps=steps)

    def _end(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, total=1, completed=1, steps="")
        self._task, self._done = None, 0


class JobsProgress(_Shown):
    """Bar for each of many trainings, and one over all: `train_all(..., report=view)`."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TextColumn("{task.fields[state]}", style="dim"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, Any] = {}

    def __call__(self, jobs: Sequence["Job"]) -> None:
        """Report the state of all jobs; waiting jobs have no bar yet."""
        whole = sum(job.spec.recipe.epochs for job in jobs)
        done = sum(self._finished(job) for job in jobs)
        self._update("all", done, whole, "")
        for job in jobs:
            title = f"{job.name}, seed {job.seed}"
            if job.state == "waiting" or (job.state == "done" and title not in self._tasks):
                continue
            self._update(title, self._finished(job), job.spec.recipe.epochs, job.state)

    def _finished(self, job: "Job") -> int:
        return job.spec.recipe.epochs if job.state == "done" else job.epochs

    def _update(self, title: str, completed: int, total: int, state: str) -> None:
        if title not in self._tasks:
            self._tasks[title] = self._progress.add_task(title, total=total, state=state)
        self._progress.update(self._tasks[title], completed=completed, state=state)
        if state in ("done", "failed"):
            self._progress.stop_task(self._tasks[title])
