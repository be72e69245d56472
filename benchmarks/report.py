"""Tables and a picture from `results/speed.json` and the other result files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.case import BACKENDS, CONTESTANTS
from benchmarks.groups import Group, grouped, ratio, title_of
from benchmarks.markdown import described, table
from benchmarks.results import RESULTS, Row, read_rows, write_csv
from benchmarks.targets import OTHERS, Target, targets
from fmae_zoo.files import write_text


def write_report(folder: Path = RESULTS) -> list[Path]:
    """Write `speed.csv`, `speed.md` and, if there are rows to draw, `speed.png`; return the paths.

    Raises:
        ValueError: `speed.json` in the folder is missing or cannot be read.
    """
    from benchmarks.picture import draw

    rows = read_rows(folder / "speed.json")
    write_csv(rows, folder / "speed.csv")
    paths = {name: folder / f"{name}.json" for name in OTHERS}
    others = {name: json.loads(path.read_text()) for name, path in paths.items() if path.is_file()}
    write_text(folder / "speed.md", markdown(rows, others))
    picture = draw(grouped(rows), folder / "speed.png")
    return [folder / "speed.csv", folder / "speed.md", *([picture] if picture else [])]


def markdown(rows: Sequence[Row], others: dict[str, Any]) -> str:
    """Return targets, groups and the ratios between contestants as Markdown.

    Args:
        rows: Rows of `speed.json`.
        others: Contents of the other result files, as `targets` takes them.
    """
    groups = grouped(rows)
    lines = [
        "# Speed",
        "",
        "Written by `python -m benchmarks report` from `speed.json`. Images per second are the "
        "median of several blocks, and half their interquartile range; the contestants of a "
        "backend took turns, block by block. First step: with what is compiled in it. Memory: of "
        "the process when all is imported, and at its peak; and of the GPU where there is one. "
        "Share of peak: of the fastest matrix product or convolution in any process of the table, "
        "in its precision. "
        "The hand-written loops compute every layer as it stands; the zoo folds BatchNorm for "
        "inference, computes upsampling and the convolution after it with 4/9 of the products, "
        "and on PyTorch lets the C library keep the memory that activations free.",
        "",
    ]
    lines += _aims(targets(groups, others))
    for group in groups:
        lines += [f"## {title_of(group)}", "", *_group_table(group), ""]
    lines += ["## Ratios", "", *_ratio_table(groups), "", "## Machines", ""]
    lines += _machines(rows)
    return "\n".join(lines) + "\n"


def _aims(found: Sequence[Target]) -> list[str]:
    """Return the Markdown lines of the missed targets, then of the reached ones."""
    if not found:
        return []
    reached = [target for target in found if target.reached]
    lines = ["## Aims", "", f"{len(reached)} of {len(found)} are reached.", ""]
    missed = [target for target in found if not target.reached]
    for title, those in (("Missed", missed), ("Reached", reached)):
        if those:
            rows = table(("figure", "aim", "obtained"), [each.cells() for each in those], 1)
            lines += [f"### {title}", "", *rows, ""]
    return lines


def _group_table(group: Group) -> list[str]:
    columns = (
        "backend",
        "contestant",
        "images/s",
        "first step, s",
        "memory, MiB",
        "share of peak",
        "to handwritten",
    )
    return table(columns, [_cells(group, key) for key in group], numbers_from=2)


def _cells(group: Group, key: tuple[str, str]) -> list[str]:
    row = group[key]
    if "error" in row:
        return [*key, f"failed: {' '.join(row['error'].split())[:120]}", "", "", "", ""]
    speed = row["images_per_second"]
    half = (speed["upper_quartile"] - speed["lower_quartile"]) / 2
    memory = f"{row['imported_memory_mib']:,.0f} to {row['peak_memory_mib']:,.0f}"
    if row.get("peak_gpu_memory_mib") is not None:
        memory += f" + {row['peak_gpu_memory_mib']:,.0f} GPU"
    return [
        *key,
        f"{speed['median']:,.0f} ± {half:,.0f}",
        f"{row['first_step_seconds']:.2f}",
        memory,
        f"{row['share_of_peak']:.0%}",
        _ratio_cell(ratio(group, key, (key[0], "handwritten"))),
    ]


def _ratio_table(groups: Sequence[Group]) -> list[str]:
    """Return a table of the zoo's speed relative to others on its backend, and pythae on torch."""
    rivals = [name for name in CONTESTANTS if name != "fmae_zoo"]
    rows = []
    for group in groups:
        for backend in BACKENDS:
            zoo = (backend, "fmae_zoo")
            found = [
                ratio(group, zoo, ("torch" if rival == "pythae" else backend, rival))
                for rival in rivals
            ]
            if any(value is not None for value in found):
                rows.append([title_of(group), backend, *map(_ratio_cell, found)])
    columns = ("measured", "backend", *(f"fmae_zoo to {rival}" for rival in rivals))
    return table(columns, rows, numbers_from=2)


def _ratio_cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _machines(rows: Sequence[Row]) -> list[str]:
    """Return a line for each machine and set of versions, with the dates of its rows."""
    dates: dict[str, list[str]] = {}
    for row in rows:
        if "machine" in row:
            dates.setdefault(described(row["machine"]), []).append(row["date"][:10])
    return [f"- {text}; {' to '.join(sorted({min(d), max(d)}))}" for text, d in dates.items()]
