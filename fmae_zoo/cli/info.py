"""`fmae info`."""

from collections.abc import Iterable, Iterator
from typing import Any

import click
from rich.console import JustifyMethod
from rich.table import Table

from fmae_zoo import registry
from fmae_zoo.cli.output import cell, emit_json, grid, hub_options, said, section
from fmae_zoo.entry import Entry
from fmae_zoo.hub.options import HubOptions

DIGITS = 16
"""Number of digits of a file's SHA-256 that are shown; `--json` has all 64."""


@click.command("info")
@click.argument("name")
@hub_options
def info_command(name: str, as_json: bool, **options: Any) -> None:
    """Show what is known of a model: what it is, how good, how it was trained, and its files.

    \b
    Example: fmae info conv-ae-bn
    """
    entry = registry.find_entry(name, HubOptions(**options))
    if as_json:
        emit_json(_everything(entry))
        return
    section(entry.title, _grid(_parts(entry), "left", "left"))
    if not entry.pretrained:
        section(f"No weights; train it with: fmae train {registry.short_name(entry)}")
        return
    manifest = entry.manifest
    if manifest.results:
        # This imports every figure, and a model without results needs none.
        from fmae_zoo.cli.figures import figure_table

        section("How good, on the test images", figure_table(manifest.results))
    section("How it was trained", _grid(_training(entry), "left", "left"))
    files = (
        (file, f"{record.size:,} bytes", f"sha256 {record.sha256[:DIGITS]}...")
        for file, record in manifest.files.items()
    )
    section(f"Files, in {entry.folder}", _grid(files, "left", "right", "left"))


def _everything(entry: Entry) -> dict[str, Any]:
    head = entry.head
    return {
        "spec": entry.spec.model_dump(mode="json"),
        "head": head.model_dump(mode="json") if head else None,
        "folder": str(entry.folder) if entry.folder else None,
        "manifest": entry.manifest.model_dump(mode="json") if entry.pretrained else None,
    }


def _parts(entry: Entry) -> Iterator[tuple[str, Any]]:
    """Yield key and value of what the model is."""
    spec = entry.spec
    yield "summary", spec.summary
    yield "images", f"{' x '.join(map(str, spec.shape))}, as in {spec.data}"
    if spec.classes is not None:
        yield "classes", f"{spec.classes}, told to the decoder"
    for name in ("network", "latent", "objective"):
        content = getattr(spec, name).model_dump(mode="json", exclude_none=True)
        yield name, content.pop("type")
        yield from ((f"  {key.replace('_', ' ')}", said(value)) for key, value in content.items())
    head = entry.head
    if head is not None:
        yield "head", said(head.model_dump(mode="json", exclude_none=True, exclude={"labels"}))
        yield "labels", ", ".join(head.labels or ["without names"])
    if entry.pretrained:
        counts = entry.manifest.parameters
        parts = ", ".join(f"{part} {count:,}" for part, count in counts.items())
        yield "weights", f"{sum(counts.values()):,}: {parts}"
    yield "licence", spec.licence
    for index, reference in enumerate(spec.references):
        yield "" if index else "sources", reference


def _training(entry: Entry) -> Iterator[tuple[str, Any]]:
    """Yield key and value of the training and its recipe."""
    training = entry.manifest.training
    if training is not None:
        yield (
            "trained",
            f"{training.epochs} epochs, seed {training.seed}, {training.seconds:,.0f} s",
        )
        yield "data", training.data_source
        yield "with", said(training.environment)
    for key, value in entry.spec.recipe.model_dump(mode="json", exclude_none=True).items():
        yield key.replace("_", " "), said(value)


def _grid(rows: Iterable[tuple[Any, ...]], *justify: JustifyMethod) -> Table:
    table = grid(*justify)
    for row in rows:
        table.add_row(*map(cell, row))
    return table
