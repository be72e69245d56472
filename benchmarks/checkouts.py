"""Speed of this checkout beside another one, which take turns block by block.

The command is `python -m benchmarks against FOLDER`, where FOLDER is a checkout or a `git
worktree`. Each checkout is measured by its own benchmark worker.
"""

import json
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.case import Case
from benchmarks.machine import host
from benchmarks.markdown import described, table
from benchmarks.results import RESULTS
from benchmarks.runner import COMMAND, ROOT, Report, Worker, block, start

FILE = RESULTS / "against.json"


def run(other: Path, cases: Sequence[Case], rounds: int, seconds: float, report: Report) -> None:
    """Measure cases in both checkouts, and write `against.json` and `against.md`.

    Raises:
        WorkerError: A checkout cannot measure a case.
    """
    rows = []
    for case in cases:
        report(f"{case.task} {case.entry} on {case.backend} in {case.precision}")
        rows.append(case.to_dict() | _measured(case, other, rounds, seconds))
        content = {"other": _commit_of(other), "machine": host(), "rows": rows}
        FILE.write_text(json.dumps(content, indent=1) + "\n")
    FILE.with_suffix(".md").write_text(markdown(json.loads(FILE.read_text())))


def _measured(case: Case, other: Path, rounds: int, seconds: float) -> dict[str, Any]:
    workers = [Worker(case, COMMAND, root) for root in (ROOT, other)]
    try:
        for worker in workers:
            start(worker, seconds)
        for number in range(rounds):
            for worker in workers if number % 2 else reversed(workers):
                block(worker)
    finally:
        for worker in workers:
            worker.close()
    ratios = sorted(one / two for one, two in zip(*(worker.runs for worker in workers)))
    here, there = (statistics.median(worker.runs) for worker in workers)
    return {
        "images_per_second": here,
        "other_images_per_second": there,
        "ratio": statistics.median(ratios),
        "lowest": ratios[0],
        "highest": ratios[-1],
    }


def _commit_of(folder: Path) -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout.strip()


def markdown(content: dict[str, Any]) -> str:
    """Return the results and the machine as Markdown."""
    rows = [
        [
            f"{row['task']} {row['entry']}",
            row["backend"],
            row["precision"],
            f"{row['images_per_second']:,.0f}",
            f"{row['other_images_per_second']:,.0f}",
            f"{row['ratio']:.2f} ({row['lowest']:.2f} to {row['highest']:.2f})",
        ]
        for row in content["rows"]
    ]
    columns = ("task", "backend", "precision", "here", content["other"], "ratio (range)")
    return "\n".join(
        [
            "# This checkout beside another",
            "",
            "Written by `python -m benchmarks against FOLDER`. Images a second: the median of "
            "several blocks, which the two checkouts ran in turns; the ratio is the median of that "
            f"of each pair of blocks. The other one is commit `{content['other']}`.",
            "",
            *table(columns, rows, numbers_from=3),
            "",
            f"Machine: {described(content['machine'])}",
            "",
        ]
    )
