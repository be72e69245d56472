"""Row of figures of an entry, for lists, tables and the README."""

from typing import Any, NoReturn

from fmae_zoo.entry import Entry
from fmae_zoo.errors import SpecError
from fmae_zoo.evaluation import columns, protocols
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.registry import short_name


def summary_of(entry: Entry) -> dict[str, Any]:
    """Return name, sizes and published test figures by column; a missing value is None.

    If several protocols fill one column, the last one with a value counts: `frozen_head` is the
    accuracy on the spatial features of a convolutional encoder, else on the latent.

    Raises:
        SpecError: A figure in the manifest is not a number.
    """
    manifest = entry.manifest if entry.pretrained else None
    row: dict[str, Any] = {
        "name": short_name(entry),
        "latent": entry.spec.latent.size,
        "parameters": sum(manifest.parameters.values()) if manifest else None,
        "epochs": manifest.training.epochs if manifest and manifest.training else None,
        **dict.fromkeys(columns()),
    }
    for protocol in protocols():
        for measure in protocol.results:
            path = (*protocol.path, measure.key)
            if measure.column:
                value = _number(entry, manifest.results if manifest else {}, path)
                row[measure.column_key] = row[measure.column_key] if value is None else value
    return row | {"weights": manifest is not None}


def _number(entry: Entry, results: Any, path: tuple[str, ...]) -> float | None:
    value = results
    for depth, key in enumerate(path):
        if not isinstance(value, dict):
            _refused(entry, path[:depth], value, "a table")
        value = value.get(key)
        if value is None:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refused(entry, path, value, "a number")
    return value


def _refused(entry: Entry, path: tuple[str, ...], value: Any, expected: str) -> NoReturn:
    raise SpecError(
        f"{entry.folder}/{MANIFEST_FILE}: results.{'.'.join(path)}: expected {expected}; "
        f"received {repr(value)[:120]}"
    )
