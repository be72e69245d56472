"""Targets of the zoo, compared with the measurements."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.case import BACKENDS
from benchmarks.groups import Group, ratio, setting_of
from benchmarks.results import Row

CONVOLUTIONAL = ("conv-ae-bn", "conv-ae-bn-spatial")
DENSE = ("dense-ae", "dense-vae")
INF = float("inf")


class Target(NamedTuple):
    """One figure: its name, its lower and upper bound, and the measured value."""

    figure: str
    lowest: float
    highest: float
    obtained: float
    digits: int = 2

    @property
    def reached(self) -> bool:
        """Whether the figure is within its bounds."""
        return self.lowest <= self.obtained <= self.highest

    def cells(self) -> list[str]:
        """Return the table cells: figure, bound and measured value."""
        bound = f"at least {self.lowest:g}" if self.highest == INF else f"at most {self.highest:g}"
        return [self.figure, bound, f"{self.obtained:.{self.digits}f}"]


def targets(groups: Sequence[Group], others: dict[str, Any]) -> list[Target]:
    """Return every target for which there are measurements.

    Args:
        groups: Groups of competing rows.
        others: Contents of the files named in `OTHERS`, by name; files may be missing.
    """
    found = [*_against_handwritten(groups), *_against_stock(groups)]
    return found + [target for name, content in others.items() for target in OTHERS[name](content)]


def _measured(group: Group, backend: str, contestant: str) -> Row | None:
    row = group.get((backend, contestant))
    return row if row and "error" not in row else None


def _against_handwritten(groups: Sequence[Group]) -> Iterator[Target]:
    for group in groups:
        task, entry, precision = _facts(group)
        for backend in BACKENDS:
            zoo, hand = (_measured(group, backend, who) for who in ("fmae_zoo", "handwritten"))
            if not zoo or not hand or entry not in CONVOLUTIONAL or task == "reconstruct":
                continue
            what = f"{task} {entry}, {backend}, {precision}{setting_of(group)}, to handwritten"
            faster = ratio(group, (backend, "fmae_zoo"), (backend, "handwritten"))
            assert faster is not None
            yield Target(what, 1.0, INF, faster)
            if task == "train" and zoo["device"] == "cpu":
                own, other = (
                    row["peak_memory_mib"] - row["imported_memory_mib"] for row in (zoo, hand)
                )
                yield Target(f"peak memory beside imports, {what}", 0.0, 1.2, own / other)


def _against_stock(groups: Sequence[Group]) -> Iterator[Target]:
    for group in groups:
        task, entry, precision = _facts(group)
        for backend in BACKENDS:
            faster = ratio(group, (backend, "fmae_zoo"), (backend, "keras"))
            if task == "train" and entry in DENSE and faster is not None:
                what = f"train {entry}, {backend}, {precision}{setting_of(group)}, to stock Keras"
                yield Target(what, 1.5, INF, faster)


def _of_loading(loading: dict[str, Any]) -> Iterator[Target]:
    for backend, measured in loading["backends"].items():
        for row in measured["rows"]:
            what = f"load(pretrained=True) of {row['entry']}, {backend}, to building it"
            yield Target(what, 0.0, 1.3, row["ratio"])
    yield Target("import fmae_zoo, ms", 0.0, 100.0, loading["import"]["difference_ms"])


def _of_embedding(embedding: dict[str, Any]) -> Iterator[Target]:
    for row in embedding["rows"]:
        what = f"{embedding['images']:,} images, {row['entry']}, {row['environment']['backend']}"
        yield Target(f"embed {what}, to encode on an array", 0.9, INF, row["ratio"])
        early, late = (row["memory"][share]["anonymous_mib"] for share in ("10%", "100%"))
        yield Target(f"memory, embed {what}, all to a tenth", 0.0, 1.1, late / early)


def _of_quality(quality: dict[str, Any]) -> Iterator[Target]:
    for row in quality["rows"]:
        what = f"test accuracy, {row['goal']}, {row['backend']}, {row['seconds']:.0f} s"
        yield Target(what, row["wanted"], INF, row["accuracy"], digits=4)


OTHERS = {"loading": _of_loading, "embedding": _of_embedding, "quality": _of_quality}
"""Result files besides `speed.json` that have targets, with the function that yields them."""


def _facts(group: Group) -> tuple[str, str, str]:
    row = next(iter(group.values()))
    return row["task"], row["entry"], row["precision"]
