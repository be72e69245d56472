"""The figures of a manifest, each with the protocol by which it was measured."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fmae_zoo.card.markup import label
from fmae_zoo.errors import SpecError
from fmae_zoo.evaluation import Measure, Protocol, protocols
from fmae_zoo.manifest import MANIFEST_FILE, Manifest

CHOSEN = ("C", "k", "likelihood", "sigma", "noise", "amount")
"""Settings that are shown beside a protocol's name, because the name alone says too little."""

Setting = bool | int | float | str


@dataclass(frozen=True)
class Published:
    """The result of one protocol for one model.

    Attributes:
        protocol: How it was measured.
        values: Numbers of the model by key, as in the manifest.
        baselines: Numbers of baselines by key.
        settings: Everything else that the manifest records beside the numbers.
        seed: Seed of the measurement, if it is recorded.
        data_digest: Digest of the data it was measured on, if it is recorded.
        repeated: The same numbers for this model and for its trainings with other seeds, by key.
    """

    protocol: Protocol
    values: dict[str, int | float]
    baselines: dict[str, int | float]
    settings: dict[str, Setting]
    seed: int | None
    data_digest: str | None
    repeated: dict[str, list[int | float]] = field(default_factory=dict)

    def metric_name(self, measure: Measure) -> str:
        """Return a name for a number, different from that of any other number of the model."""
        return f"{measure.full_title} ({self.protocol.name})"


def figures_of(manifest: Manifest) -> list[Published]:
    """Return the figures of a manifest that have a protocol, in the order of `FIGURES`.

    Raises:
        SpecError: A figure is not a finite number.
    """
    return list(_figures(manifest))


def unpublished(manifest: Manifest) -> list[str]:
    """Return the names of results for which no protocol is known, sorted."""
    known = {protocol.path[0] for protocol in protocols()}
    return sorted(set(manifest.results) - known)


def _figures(manifest: Manifest) -> Iterator[Published]:
    runs = [manifest.results, *(record.results for record in manifest.seeds.values())]
    for protocol in protocols():
        found = _table(manifest.results, protocol.path)
        values = _numbers(found, protocol.results, protocol.path)
        if not values:
            continue
        how = manifest.evaluations.get(protocol.path[0])
        tables = [_table(run, protocol.path) for run in runs]
        numbers = [_numbers(each, protocol.results, protocol.path) for each in tables]
        own = {measure.key for measure in protocol.results + protocol.baselines}
        yield Published(
            protocol=protocol,
            values=values,
            baselines=_numbers(found, protocol.baselines, protocol.path),
            settings=dict(_settings({key: found[key] for key in found if key not in own})),
            seed=how.seed if how else None,
            data_digest=how.data_digest if how else None,
            repeated={key: [run[key] for run in numbers if key in run] for key in values},
        )


def _settings(found: Mapping[str, Any]) -> Iterator[tuple[str, Setting]]:
    for key, value in found.items():
        if isinstance(value, Setting) and _is_finite(value):
            yield label(key), label(value) if isinstance(value, str) else value


def _table(results: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    found: Any = results
    for depth, key in enumerate(path, 1):
        found = found.get(key, {})
        if not isinstance(found, dict):
            _refuse(path[:depth], found, "a table")
    return found


def _numbers(
    found: Mapping[str, Any], measures: tuple[Measure, ...], path: tuple[str, ...]
) -> dict[str, int | float]:
    numbers = {}
    for measure in measures:
        value = found.get(measure.key)
        if value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not _is_finite(value):
            _refuse((*path, measure.key), value, "a finite number")
        numbers[measure.key] = value
    return numbers


def _is_finite(value: Setting) -> bool:
    try:
        return isinstance(value, str) or math.isfinite(value)
    except OverflowError:
        return False


def _refuse(path: tuple[str, ...], value: Any, expected: str) -> None:
    raise SpecError(
        f"{MANIFEST_FILE}: results.{'.'.join(path)}: expected {expected}; "
        f"received {repr(value)[:120]}"
    )
