"""What the zoo aims at, beside what was measured."""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from benchmarks.case import BACKENDS
from benchmarks.groups import Group, ratio, setting_of
from benchmarks.results import Row

TRAINED = ("conv-ae-bn", "conv-ae-bn-spatial")
INF = float("inf")


class Target(NamedTuple):
    """One figure: what it must be at least, or at most, and what it is."""

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
        """Return the figure as a row of a table."""
        bound = f"at least {self.lowest:g}" if self.highest == INF else f"at most {self.highest:g}"
        return [self.figure, bound, f"{self.obtained:.{self.digits}f}"]


def targets(groups: Sequence[Group], others: dict[str, Any]) -> list[Target]:
    """Return every figure that the measurements allow, in the order of the tasks.

    Args:
        groups: rows that compete, by backend and contestant.
        others: the content of the other files of `OTHERS`, by name, as far as there are any.
    """
    of_speed = (_against_handwritten, _against_stock, _against_pythae)
    found = [target for kind in of_speed for target in kind(groups)]
    return found + [target for name, content in others.items() for target in OTHERS[name](content)]


def _measured(group: Group, backend: str, contestant: str) -> Row | None:
    row = group.get((backend, contestant))
    return row if row and "error" not in row else None


def _speed(row: Row) -> float:
    return row["images_per_second"]["median"]


def _against_handwritten(groups: Sequence[Group]) -> Iterator[Target]:
    for group in groups:
        task, entry, precision = _facts(group)
        setting = setting_of(group)
        for backend in BACKENDS:
            zoo, hand = (_measured(group, backend, who) for who in ("fmae_zoo", "handwritten"))
            if not zoo or not hand or entry not in TRAINED:
                continue
            what = f"{entry}, {backend}, {precision}{setting}, to handwritten"
            lowest = 1.0 if task == "train" else 1.2
            faster = ratio(group, (backend, "fmae_zoo"), (backend, "handwritten"))
            assert faster is not None
            yield Target(f"{task} {what}", lowest, INF, faster)
            if task == "train":
                if zoo["device"] != "cpu":
                    continue
                memory = zoo["peak_memory_mib"] / hand["peak_memory_mib"]
                yield Target(f"peak memory of {task} {what}", 0.0, 1.2, memory)
                own, other = (
                    row["peak_memory_mib"] - row["imported_memory_mib"] for row in (zoo, hand)
                )
                yield Target(f"the same, without what imports take, {what}", 0.0, 1.2, own / other)


def _against_stock(groups: Sequence[Group]) -> Iterator[Target]:
    """Compare the zoo's best backend and precision with stock Keras' best in float32."""
    tasks: dict[tuple[str, str, str], list[Group]] = {}
    for group in groups:
        task, entry, _ = _facts(group)
        tasks.setdefault((task, entry, setting_of(group)), []).append(group)
    for (task, entry, setting), of_task in sorted(tasks.items(), key=itemgetter(0)):
        if entry not in TRAINED:
            continue
        best = [
            _speed(row)
            for group in of_task
            for backend in BACKENDS
            if (row := _measured(group, backend, "fmae_zoo"))
        ]
        stock = [
            _speed(row)
            for group in of_task
            for backend in BACKENDS
            if _facts(group)[2] == "float32" and (row := _measured(group, backend, "keras"))
        ]
        if best and stock:
            lowest = 3.0 if task == "train" else 4.0
            what = f"{task} {entry}{setting}, best of fmae_zoo to best of stock Keras in float32"
            yield Target(what, lowest, INF, max(best) / max(stock))


def _against_pythae(groups: Sequence[Group]) -> Iterator[Target]:
    for group in groups:
        task, entry, precision = _facts(group)
        for backend in BACKENDS:
            faster = ratio(group, (backend, "fmae_zoo"), ("torch", "pythae"))
            if task == "train" and faster is not None:
                what = f"train {entry}, {backend}, {precision}{setting_of(group)}, to pythae"
                yield Target(what, 2.0, INF, faster)


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
"""The files beside `speed.json` whose figures have aims."""


def _facts(group: Group) -> tuple[str, str, str]:
    row = next(iter(group.values()))
    return row["task"], row["entry"], row["precision"]
