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
        self._progress.stop()


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
        self._task: Any = None
        self._title = title

    def __call__(self, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        """Report `step` of `steps` in `epoch` (from 0) of `epochs`."""
        if self._task is None:
            self._task = self._progress.add_task(
                self._title, total=epochs * steps, completed=epoch * steps, epoch="", loss=""
            )
        self._progress.update(
            self._task,
            completed=epoch * steps + step,
            epoch=f"{min(epoch + 1, epochs)}/{epochs}",
            loss=f"{loss:.4g}",
        )


class ImagesProgress(_Shown):
    """Bar over the images of a figure: `evaluate(..., advance=bar)` inside `with`."""

    def __init__(self) -> None:
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("images"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=Console(stderr=True),
        )
        self._task: Any = None

    def __enter__(self) -> Self:
        """Return the bar without showing it, because most figures report no progress."""
        return self

    def __call__(self, done: int, count: int) -> None:
        """Report that `done` of `count` images are done."""
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task("", total=count)
        self._progress.update(self._task, completed=done)
        if done == count:
            self._progress.stop()


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
