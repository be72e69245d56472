"""Markdown for tables and facts."""

from collections.abc import Sequence
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], numbers_from: int) -> list[str]:
    """Return the lines of a table; the columns from `numbers_from` on are right-aligned."""
    rules = ["---" if index < numbers_from else "---:" for index in range(len(columns))]
    return [_line(columns), _line(rules), *(_line(row) for row in rows)]


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def described(facts: dict[str, Any]) -> str:
    """Return facts, which may be nested, on one line; empty values are left out."""
    return ", ".join(f"{name} {_text(value)}" for name, value in facts.items() if value)


def machines_of(rows: Sequence[dict[str, Any]]) -> str:
    """Return the machines on which rows were measured, each described once."""
    return "; ".join(dict.fromkeys(described(row["machine"]) for row in rows))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return f"({described(value)})"
    return "/".join(value) if isinstance(value, list) else str(value)
