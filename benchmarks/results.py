"""Reading, writing, merging and comparing files of benchmark rows."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.case import Case
from fmae_zoo.files import write_text

RESULTS = Path(__file__).parent / "results"
SPEED = RESULTS / "speed.json"
FORMAT = 1
CASE_FIELDS = tuple(field.name for field in fields(Case))

Row = dict[str, Any]


def case_of(row: Row) -> Case:
    """Return the case that a row measured."""
    return Case.from_dict({name: row[name] for name in CASE_FIELDS})


def read_rows(path: str | Path) -> list[Row]:
    """Return the rows of a file.

    Raises:
        ValueError: The file cannot be read, or `python -m benchmarks` did not write it.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: expected a file that `python -m benchmarks` wrote")
    return list(content["rows"])


def write_rows(rows: Sequence[Row], path: str | Path) -> None:
    """Write rows to a file."""
    written = datetime.now(UTC).isoformat(timespec="seconds")
    write_json({"format": FORMAT, "written": written, "rows": list(rows)}, path)


def write_json(content: Any, path: str | Path) -> None:
    """Write a value to a file as JSON."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def merge_rows(rows: Sequence[Row], path: str | Path) -> list[Row]:
    """Write rows to a file, replacing the rows that they compete with; return all rows.

    Only rows measured in turns compare fairly, so measuring one contestant of a group again removes
    the old rows of the whole group.
    """
    old = read_rows(path) if Path(path).exists() else []
    measured = {group_of(row) for row in rows}
    merged = [row for row in old if group_of(row) not in measured] + list(rows)
    write_rows(merged, path)
    return merged


def group_of(row: Row) -> tuple[Any, ...]:
    """Return the key of a row's group: the settings that competing cases share."""
    keys = ("task", "entry", "precision", "batch_size", "threads", "device")
    return tuple(row[key] for key in keys)


def write_csv(rows: Sequence[Row], path: str | Path) -> None:
    """Write rows as CSV; nested values get dotted columns such as `images_per_second.median`."""
    flat = [dict(_flat(row)) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    write_text(path, table.getvalue())


def compare(old: Sequence[Row], new: Sequence[Row]) -> list[Row]:
    """Compare the speed of each case that is in both lists of rows.

    Returns:
        A row for each case: the fields of the case, the medians `old` and `new` in images per
        second, `ratio` (above 1 is faster), and `verdict`: `faster`, `slower`, or `within noise` if
        the interquartile ranges overlap.
    """
    before = {case_of(row): row["images_per_second"] for row in old if "error" not in row}
    compared = []
    for row in new:
        case = case_of(row)
        if "error" in row or case not in before:
            continue
        one, other = before[case], row["images_per_second"]
        compared.append(
            case.to_dict()
            | {
                "old": one["median"],
                "new": other["median"],
                "ratio": other["median"] / one["median"],
                "verdict": _verdict(one, other),
            }
        )
    return compared


def print_comparison(compared: Sequence[Row]) -> None:
    """Print the rows of `compare` as a table."""
    from fmae_zoo.cli.output import emit_table

    columns = (*CASE_FIELDS, "old", "new", "ratio", "verdict")
    rows = [
        [round(row[name]) if name in ("old", "new") else row[name] for name in columns]
        for row in compared
    ]
    emit_table(columns, rows, title="images a second")


def _verdict(old: dict[str, float], new: dict[str, float]) -> str:
    if new["lower_quartile"] > old["upper_quartile"]:
        return "faster"
    if new["upper_quartile"] < old["lower_quartile"]:
        return "slower"
    return "within noise"


def _flat(row: Row, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", " ".join(map(str, value))
        else:
            yield f"{prefix}{name}", value
