"""The figures of a model as a table for people, in `fmae info` and `fmae evaluate`."""

from collections.abc import Iterator
from typing import Any

from rich.padding import Padding
from rich.table import Table

from fmae_zoo.cli.output import cell, flat_figures, grid, said
from fmae_zoo.evaluation import FIGURES, protocols

WIDTH = 64
"""Largest width of the names, so that the values stay beside them."""


def figure_table(results: dict[str, Any]) -> Table:
    """Return a table of the results of `evaluate`, by protocol: its measures, then its settings."""
    table = grid("left", "right")
    table.columns[0].max_width = WIDTH
    for name, measures, settings in _measured(results):
        table.add_row(cell(name))
        for title, value in measures:
            table.add_row(Padding.indent(cell(title), 2), cell(value))
        if settings:
            table.add_row(Padding.indent(cell(settings), 2), style="dim")
    return table


def nested_in(results: dict[str, Any]) -> list[str]:
    """Return the names of figures that have more than single numbers, which no table shows."""
    tables = {
        protocol.path[0]: values
        for protocol in protocols()
        if (values := _at(results, protocol.path)) is not None
    }
    return [
        name
        for name, values in tables.items()
        if any(isinstance(value, (dict, list)) for value in values.values())
    ]


def _measured(
    results: dict[str, Any],
) -> Iterator[tuple[str, list[tuple[str, str]], str]]:
    """Yield the name of each protocol, titles and values of its measures, and its settings."""
    for protocol in protocols():
        values = _at(results, protocol.path)
        if values is None:
            continue
        known = {each.key: each for each in (*protocol.results, *protocol.baselines)}
        measures = [
            (measure.full_title, measure.shown(values[key]))
            for key, measure in known.items()
            if isinstance(values.get(key), (int, float))
        ]
        settings = {
            key: value
            for key, value in values.items()
            if key not in (*known, "latent_size") and not isinstance(value, (dict, list))
        }
        yield protocol.name, measures, said(settings)
    others = {name: values for name, values in results.items() if name not in FIGURES}
    for figure, key, value in flat_figures(others):
        yield figure, [(key, said(value))], ""


def _at(results: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the table at a path of keys, or None if there is none."""
    values: Any = results
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else None
