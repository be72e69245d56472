"""The figures in a manifest, each with the protocol by which it was measured."""

import sys
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from fmae_zoo.errors import SpecError
from fmae_zoo.evaluation import Measure, Protocol, protocols
from fmae_zoo.manifest import MANIFEST_FILE, Manifest

CHOSEN = ("C", "k", "likelihood", "sigma", "noise", "amount")
"""Settings that are shown beside a protocol's name, because the name alone says too little."""


@dataclass(frozen=True)
class Published:
    """The result of one protocol for one model.

    Attributes:
        protocol: How it was measured.
        values: Numbers of the model and of baselines by key, as in the manifest.
        settings: Everything else that the manifest records beside the numbers, and the seed.
        repeated: Numbers of this model and of its trainings with other seeds, by key.
        data_digest: Digest of the data it was measured on, if it is recorded.
    """

    protocol: Protocol
    values: dict[str, int | float]
    settings: dict[str, bool | int | float | str]
    repeated: dict[str, list[int | float]]
    data_digest: str | None

    def spread(self, measure: Measure) -> str:
        """Return mean, standard deviation and number of the trainings; empty if there is one."""
        runs = self.repeated.get(measure.key, [])
        if len(runs) < 2:
            return ""
        return f"{measure.shown(mean(runs))} ± {measure.shown(stdev(runs))} ({len(runs)})"


def figures_of(manifest: Manifest) -> list[Published]:
    """Return the figures of a manifest that have a protocol, in the order of `FIGURES`.

    Raises:
        SpecError: A figure is not a finite number.
    """
    found = []
    for protocol in protocols():
        table = _table(manifest.results, protocol)
        runs = [table, *(_table(each.results, protocol) for each in manifest.seeds.values())]
        keys = [each.key for each in protocol.results + protocol.baselines if each.key in table]
        if not keys:
            continue
        settings = {
            key: value
            for key, value in table.items()
            if key not in keys and isinstance(value, bool | int | float | str)
        }
        how = manifest.evaluations.get(protocol.path[0])
        found.append(
            Published(
                protocol=protocol,
                values={key: table[key] for key in keys},
                settings=settings | ({"seed": how.seed} if how else {}),
                repeated={
                    each.key: [run[each.key] for run in runs if each.key in run]
                    for each in protocol.results
                },
                data_digest=how.data_digest if how else None,
            )
        )
    return found


def _table(results: dict[str, Any], protocol: Protocol) -> dict[str, Any]:
    """Return the table of a protocol, of which all measures are finite numbers."""
    table: Any = results
    for key in protocol.path:
        table = table.get(key, {})
        if not isinstance(table, dict):
            raise _refused(protocol.path, "a table", table)
    table = {key: value for key, value in table.items() if value is not None}
    for measure in protocol.results + protocol.baselines:
        value = table.get(measure.key, 0)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not abs(value) <= sys.float_info.max:
            raise _refused((*protocol.path, measure.key), "a finite number", value)
    return table


def _refused(path: tuple[str, ...], expected: str, value: Any) -> SpecError:
    return SpecError(
        f"{MANIFEST_FILE}: results.{'.'.join(path)}: expected {expected}; "
        f"received {repr(value)[:120]}"
    )
