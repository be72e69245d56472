"""Time of loading pretrained weights and of importing the package.

In one process for each backend, loading a pretrained model and building it without weights
alternate after a warm-up of each. `import fmae_zoo` and an empty program alternate in fresh
processes. Results are the median, lowest and highest of 15 runs.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.child import ROOT, answer, measured
from benchmarks.machine import host
from benchmarks.markdown import described, table
from benchmarks.results import RESULTS, write_json
from fmae_zoo.files import write_text

REPEATS = 15


def run(entries: Sequence[str], backends: Sequence[str], folder: Path = RESULTS) -> None:
    """Measure, and write `loading.json` and `loading.md`."""
    found = {backend: measured("benchmarks.loading", backend, *entries) for backend in backends}
    results = {"machine": host(), "import": import_cost(), "backends": found}
    write_json(results, folder / "loading.json")
    write_text(folder / "loading.md", markdown(results))


def import_cost() -> dict[str, Any]:
    """Return the seconds of a process that imports the package and of an empty one, compared."""

    def starting(code: str) -> Callable[[], Any]:
        command = [sys.executable, "-c", code]
        return lambda: subprocess.run(command, cwd=ROOT, check=True)

    imported, empty = alternated(starting("import fmae_zoo"), starting("pass"))
    milliseconds = 1e3 * (imported["median"] - empty["median"])
    return {"imported": imported, "empty": empty, "difference_ms": milliseconds}


def measure(*entries: str) -> dict[str, Any]:
    """Return the seconds to load and to build each entry on this process's backend."""
    import fmae_zoo
    from fmae_zoo.manifest import environment

    rows = []
    for entry in entries:
        load, build = alternated(
            lambda name=entry: fmae_zoo.load(name, pretrained=True),
            lambda name=entry: fmae_zoo.load(name),
        )
        ratio = load["median"] / build["median"]
        rows.append({"entry": entry, "load": load, "build": build, "ratio": ratio})
    return {"environment": environment(), "rows": rows}


def alternated(*functions: Callable[[], Any]) -> list[dict[str, float]]:
    """Call functions in turns; return median, lowest and highest seconds of each."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(REPEATS + 1):
        for taken, function in zip(seconds, functions):
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    kept = [taken[1:] for taken in seconds]
    return [
        {"median": statistics.median(each), "lowest": min(each), "highest": max(each)}
        for each in kept
    ]


def markdown(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    rows = [
        [
            f"`{row['entry']}`",
            backend,
            milliseconds(row["load"]),
            milliseconds(row["build"]),
            f"{row['ratio']:.2f}",
        ]
        for backend, content in results["backends"].items()
        for row in content["rows"]
    ]
    cost = results["import"]
    environments = {name: each["environment"] for name, each in results["backends"].items()}
    lines = [
        "# What loading costs",
        "",
        "Written by `python -m benchmarks load`; the first lines of `benchmarks/loading.py` give "
        "the protocol.",
        "",
        *table(
            ("entry", "backend", "load pretrained, ms", "build alone, ms", "ratio"),
            rows,
            numbers_from=2,
        ),
        "",
        f"`import fmae_zoo` takes {cost['difference_ms']:.0f} ms: a process with it "
        f"{milliseconds(cost['imported'])} ms, an empty one {milliseconds(cost['empty'])} ms.",
        "",
        f"Measured on {described(results['machine'])} with {described(environments)}.",
    ]
    return "\n".join(lines) + "\n"


def milliseconds(spread: dict[str, float]) -> str:
    """Return a result of `alternated` in milliseconds, as `median (lowest to highest)`."""
    median, low, high = (1e3 * spread[name] for name in ("median", "lowest", "highest"))
    return f"{median:.0f} ({low:.0f} to {high:.0f})"


if __name__ == "__main__":
    answer(measure)
