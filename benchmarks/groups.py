"""Groups of rows that compete: same task, entry, precision, batch size, threads and device."""

from collections.abc import Sequence
from typing import Any

from benchmarks.case import BACKENDS, CONTESTANTS
from benchmarks.results import Row, group_of

Group = dict[tuple[str, str], Row]
"""Competing rows, keyed by backend and contestant."""


def grouped(rows: Sequence[Row]) -> list[Group]:
    """Return the rows in groups, each sorted by backend and contestant."""
    order = {name: index for index, name in enumerate((*BACKENDS, *CONTESTANTS))}
    groups: dict[tuple[Any, ...], Group] = {}
    for row in sorted(rows, key=lambda row: (order[row["backend"]], order[row["contestant"]])):
        groups.setdefault(group_of(row), {})[row["backend"], row["contestant"]] = row
    return [groups[key] for key in sorted(groups)]


def title_of(group: Group) -> str:
    """Return a title with the settings that the rows of a group have in common."""
    row = next(iter(group.values()))
    threads = f"{row['threads']} threads" if row["threads"] else "all threads"
    return (
        f"{row['task']} {row['entry']}, {row['precision']}, batch {row['batch_size']}, "
        f"{row['device']}" + (f", {threads}" if row["device"] == "cpu" else "")
    )


def setting_of(group: Group) -> str:
    """Return the settings of a group that are not the defaults, as text; empty if all are."""
    row = next(iter(group.values()))
    usual = {"device": "cpu", "batch_size": 128, "threads": 0}
    words = {name.replace("_", " "): row[name] for name in usual if row[name] != usual[name]}
    return "".join(f", {name} {value}" for name, value in words.items())


def ratio(group: Group, one: tuple[str, str], other: tuple[str, str]) -> float | None:
    """Return the speed of `one` divided by the speed of `other`; None if either is missing."""
    speeds = [group.get(key, {}).get("images_per_second") for key in (one, other)]
    if None in speeds:
        return None
    return speeds[0]["median"] / speeds[1]["median"]
