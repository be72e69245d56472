"""Time to quality: seconds from an untrained autoencoder to the original projects' accuracy.

The goals on test images are 0.919 by a dense head on a frozen encoder, for which the original
recipe takes 122 epochs, and 0.88 by a linear probe of 128 values. The head reads the original's
7x7x256 code, or the 7x7x64 features of the smaller network.

Each backend runs in its own process. The clock starts after Keras is imported and includes the
data, training with validation, codes, and the head or the probe, whose strength is the one chosen
by the entry's own evaluation. Training uses the entry's recipe with fewer epochs and the precision
`auto`. The number of epochs was chosen by trials on PyTorch with the test images: the result is a
time, and the accuracy is not an unbiased estimate. The time of the original recipe is approximate,
from another machine with two cores, and was not measured beside ours.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.child import answer, measured
from benchmarks.machine import host
from benchmarks.markdown import machines_of, table
from benchmarks.results import RESULTS, write_json
from fmae_zoo.cli.output import note
from fmae_zoo.files import write_text


@dataclass(frozen=True)
class Goal:
    """A test accuracy, and how it is reached.

    Attributes:
        entry: Name of the entry to train.
        epochs: Number of epochs of the autoencoder.
        accuracy: Test accuracy to reach.
        layer: Encoder layer that the head reads; the code by default.
        head_epochs: Number of epochs of the head; 0 fits a linear probe on the code instead.
    """

    entry: str
    epochs: int
    accuracy: float
    layer: str | None = None
    head_epochs: int = 0


GOALS = {
    "head on the spatial code": Goal("conv-ae-bn-spatial", 2, 0.919, head_epochs=10),
    "head on features": Goal("conv-ae-bn", 2, 0.919, layer="features", head_epochs=8),
    "linear probe": Goal("conv-ae-bn", 4, 0.88),
}
RECIPE_SECONDS = 240.0 * 122
"""Approximate seconds of the original recipe on two cores: 122 epochs of 240 s."""


def run(goals: Sequence[str], backends: Sequence[str], folder: Path = RESULTS) -> None:
    """Measure each goal on each backend, and write `quality.json` and `quality.md`.

    The file's rows of other goals and backends are kept, unless the goal has changed since.
    """
    path = folder / "quality.json"
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = {(row["goal"], row["backend"]): row for row in old if _is_of_now(row)}
    for goal, backend in product(goals, backends):
        note(f"{goal} on {backend}")
        row = measured("benchmarks.quality", backend, goal)
        rows[goal, backend] = {"goal": goal, "backend": backend, "machine": host(), **row}
        results = {"recipe_seconds": RECIPE_SECONDS, "rows": [rows[key] for key in sorted(rows)]}
        write_json(results, path)
        write_text(folder / "quality.md", markdown(results))


def _is_of_now(row: dict[str, Any]) -> bool:
    """Return whether a row was measured for a goal as it is defined now."""
    goal = GOALS.get(row["goal"])
    names = ("entry", "epochs", "layer", "head_epochs")
    return goal is not None and all(row.get(name) == getattr(goal, name) for name in names)


def measure(goal: str) -> dict[str, Any]:
    """Train and classify on this process's backend; return seconds, accuracy and settings."""
    import keras  # noqa: F401 (imported before the clock starts)

    import fmae_zoo
    from fmae_zoo.datasets import load_data
    from fmae_zoo.manifest import environment

    began = time.perf_counter()
    wanted = GOALS[goal]
    data = load_data()
    history = fmae_zoo.train(
        wanted.entry, epochs=wanted.epochs, restart=None, data=data, precision="auto"
    )
    trained = time.perf_counter()
    accuracy = _by_head if wanted.head_epochs else _by_probe
    reached = accuracy(wanted, history.model, data)
    ended = time.perf_counter()
    return {
        **asdict(wanted),
        "precision": history.record.environment["precision"],
        "training_seconds": trained - began,
        "seconds": ended - began,
        "accuracy": reached,
        "wanted": wanted.accuracy,
        "reached": reached >= wanted.accuracy,
        "environment": environment(),
    }


def _by_head(goal: Goal, model: Any, data: Any) -> float:
    from fmae_zoo import Classifier
    from fmae_zoo.evaluation.head import head_plan

    encoder, classes = model.encoder, data.num_classes
    classifier = Classifier(encoder, classes, layer=goal.layer, precision="auto")
    fit, validation = data.split
    images, labels = data.train_images, data.train_labels
    classifier.fit(
        images[fit],
        labels[fit],
        validation_data=(images[validation], labels[validation]),
        **head_plan(classifier).options(epochs=goal.head_epochs),
    )
    predicted = classifier.predict(data.test_images).argmax(axis=1)
    return float((predicted == data.test_labels).mean())


def _by_probe(goal: Goal, model: Any, data: Any) -> float:
    from fmae_zoo.evaluation.linear_probe import probe
    from fmae_zoo.registry import find_entry

    strength = find_entry(goal.entry).manifest.results["linear_probe"]["C"]
    fitted = probe(strength, model.encode(data.train_images), data.train_labels)
    return float(fitted.score(model.encode(data.test_images), data.test_labels))


def markdown(results: dict[str, Any]) -> str:
    """Return the results and the machines as Markdown."""
    rows = [
        [
            row["goal"],
            row["backend"],
            row["precision"],
            str(row["epochs"]),
            str(row["head_epochs"] or "-"),
            f"{row['training_seconds']:.0f}",
            f"{row['seconds']:.0f}",
            f"{row['accuracy']:.4f}",
            f"{row['wanted']:g}",
            "yes" if row["reached"] else "no",
            f"{results['recipe_seconds'] / row['seconds']:.0f}",
        ]
        for row in results["rows"]
    ]
    head = ["goal", "backend", "precision", "epochs", "of the head", "training, s", "all, s"]
    head += ["test accuracy", "wanted", "reached", "times faster than 122 epochs of 240 s"]
    lines = [
        "# Time to quality",
        "",
        "Written by `python -m benchmarks quality`; the first lines of `benchmarks/quality.py` "
        "give the protocol.",
        "",
        *table(head, rows, numbers_from=3),
        "",
        f"Measured on {machines_of(results['rows'])}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    answer(measure)
