"""Running contestants in turns, each in its own process, block by block.

All contestants of a group are ready before the first block, and each round runs one block of each.
If the machine slows down, it slows all of them equally.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case
from benchmarks.flops import flops_per_image
from benchmarks.results import group_of
from fmae_zoo.registry import find_spec

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "benchmarks.worker")
ANSWER_SECONDS = 900.0
"""Seconds without an answer after which a worker is killed."""

Report = Callable[[str], None]


class WorkerError(RuntimeError):
    """Error of a worker that failed, ended, or did not answer in time."""


class Worker:
    """The process of one case, and its answers so far.

    Attributes:
        block_images: Number of images in a block.
        runs: Images per second of each block.
        facts: Answers of the worker, by key.
        error: Message of the first failure; empty if there is none.
    """

    def __init__(self, case: Case, command: Sequence[str], root: Path = ROOT) -> None:
        self.case = case
        self.block_images = 0
        self.runs: list[float] = []
        self.facts: dict[str, Any] = {}
        self.error = ""
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (see close)
        self._process = subprocess.Popen(
            command,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line and return the worker's answer.

        Raises:
            WorkerError: The worker answers with an error, not at all, or not in time.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(ANSWER_SECONDS, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline() or "{}")
        except (OSError, ValueError) as error:
            raise WorkerError(f"{error}; {self._last_words()}") from error
        finally:
            timer.cancel()
        if not answer or "error" in answer:
            raise WorkerError(answer.get("error") or self._last_words())
        return answer

    def close(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _last_words(self) -> str:
        self._process.kill()
        code = self._process.wait()
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        return f"the worker ended with exit code {code}: {' | '.join(lines[-3:])}"


def run(
    cases: Sequence[Case],
    rounds: int,
    seconds_per_block: float,
    command: Sequence[str] = COMMAND,
    report: Report = lambda message: None,
) -> list[dict[str, Any]]:
    """Measure cases; competing cases run in turns.

    Args:
        cases: Cases to measure. Cases with the same task, entry, precision, batch size, threads and
            device are a group, and compete.
        rounds: Number of blocks of each case.
        seconds_per_block: Approximate duration of a block.
        command: Command that starts a worker.
        report: Function called with progress messages.

    Returns:
        A row for each case, in the order of the groups; the row of a failed case has an `error`.
    """
    groups: dict[tuple[Any, ...], list[Case]] = {}
    for case in cases:
        groups.setdefault(group_of(case.to_dict()), []).append(case)
    return [
        row
        for group in groups.values()
        for row in _run_group(group, rounds, seconds_per_block, command, report)
    ]


def _run_group(
    cases: list[Case], rounds: int, seconds: float, command: Sequence[str], report: Report
) -> list[dict[str, Any]]:
    workers: list[Worker] = []
    try:
        for case in cases:
            report(f"{_label(case)}: starting")
            worker = Worker(case, command)
            workers.append(worker)
            _attempt(worker, report, start, seconds)
        for number in range(rounds):
            report(f"{cases[0].task} {cases[0].entry}: round {number + 1} of {rounds}")
            for worker in workers:
                _attempt(worker, report, block)
        # All are probed before the first one ends, because a process that ends disturbs the others.
        for worker in workers:
            _attempt(worker, report, _probe)
        for worker in workers:
            _attempt(worker, report, _end)
        return with_shares([_row(worker) for worker in workers])
    finally:
        for worker in workers:
            worker.close()


def _attempt(worker: Worker, report: Report, step: Callable[..., None], *args: Any) -> None:
    """Run a step of a worker unless it has failed; record and report a failure."""
    if worker.error:
        return
    try:
        step(worker, *args)
    except WorkerError as error:
        worker.error = str(error)
        report(f"{_label(worker.case)}: {error}")


def start(worker: Worker, seconds: float) -> None:
    """Prepare a worker, and choose the number of images whose block takes about `seconds`."""
    worker.facts |= worker.ask(json.dumps(worker.case.to_dict()))
    del worker.facts["ready"]
    worker.block_images = _calibrated(worker, seconds)


def _calibrated(worker: Worker, seconds: float) -> int:
    """Return the number of images, in whole batches, that take about `seconds`."""
    size = worker.case.batch_size
    batches, took = 1, 0.0
    # The overhead of a call dominates short blocks, so they do not predict long ones.
    while took < seconds / 4:
        batches *= 2
        # The first block of a size may include compilation.
        took = min(worker.ask(f"block {batches * size}")["seconds"] for _ in range(2))
    return max(1, round(batches * seconds / took)) * size


def block(worker: Worker) -> None:
    """Run a block on a worker, and record its images per second."""
    answer = worker.ask(f"block {worker.block_images}")
    worker.runs.append(answer["images"] / answer["seconds"])


def _probe(worker: Worker) -> None:
    worker.facts["probe"] = worker.ask("probe")


def _end(worker: Worker) -> None:
    worker.facts |= worker.ask("end")


def _row(worker: Worker) -> dict[str, Any]:
    case = worker.case
    row = case.to_dict() | {"date": datetime.now(UTC).isoformat(timespec="seconds")}
    if worker.error:
        return row | {"error": worker.error}
    speed = statistics.median(worker.runs)
    gflops = speed * flops_per_image(find_spec(case.entry), case.task) / 1e9
    low, high = np.percentile(worker.runs, [25, 75])
    return row | {
        "images_per_second": {
            "median": speed,
            "lowest": min(worker.runs),
            "highest": max(worker.runs),
            "lower_quartile": float(low),
            "upper_quartile": float(high),
        },
        "runs": worker.runs,
        "block_images": worker.block_images,
        "milliseconds_per_step": 1e3 * case.batch_size / speed,
        "gflops": gflops,
        **worker.facts,
    }


def with_shares(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a group, each with its share of the machine's peak speed.

    The peak is the fastest probe of all processes in the group, because a single probe may be
    disturbed.
    """
    measured = [row for row in rows if "error" not in row]
    peak = max((max(row["probe"].values()) for row in measured), default=0.0)
    return [
        row if "error" in row else row | {"share_of_peak": row["gflops"] / peak} for row in rows
    ]


def _label(case: Case) -> str:
    return f"{case.task} {case.entry}, {case.contestant} on {case.backend}"
