"""The README's table of speed on each backend."""

from collections.abc import Sequence

from benchmarks.case import BACKENDS, PRECISIONS
from benchmarks.groups import Group, grouped, ratio, setting_of
from benchmarks.markdown import table
from benchmarks.results import Row

ENTRY = "conv-ae-bn"
TASKS = ("train", "encode", "reconstruct")
NAMES = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}


def backend_table(rows: Sequence[Row]) -> str:
    """Return images per second of `conv-ae-bn` for each backend and precision, as Markdown.

    The number in brackets is the ratio to the hand-written loop of that backend.
    """
    groups = {
        (first["task"], first["precision"]): group
        for group in grouped(rows)
        for first in [next(iter(group.values()))]
        if first["entry"] == ENTRY and not setting_of(group)
    }
    cells = [
        [
            NAMES[backend],
            precision,
            *(_cell(groups.get((task, precision)), backend) for task in TASKS),
        ]
        for backend in BACKENDS
        for precision in PRECISIONS
    ]
    return "\n".join(table(("backend", "precision", *TASKS), cells, numbers_from=2))


def _cell(group: Group | None, backend: str) -> str:
    row = (group or {}).get((backend, "fmae_zoo"))
    if not group or not row or "error" in row:
        return "-"
    speed = f"{row['images_per_second']['median']:,.0f}"
    against = ratio(group, (backend, "fmae_zoo"), (backend, "handwritten"))
    return speed if against is None else f"{speed} ({against:.2f})"
