"""Progress on stderr: a bar with time left."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class RichProgress:
    """Shows one bar over all steps of a training run: `train(..., progress=bar)` inside `with`."""

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
