"""Time to quality: from an untrained autoencoder to what the original projects reached.

Two goals, on test images: 0.919 by a dense head on the frozen 7x7x256 code, for which the original
recipe takes 122 epochs, and 0.88 by a linear probe of 128 values. Each backend has a process of its
own. The seconds run from when Keras is imported: data, training with its validation, codes, and the
head or the probe with the strength that the entry's own evaluation had chosen.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.child import answer, measured
from benchmarks.machine import host
from benchmarks.markdown import described, table
from benchmarks.results import RESULTS, write_json
from fmae_zoo.cli.output import note
from fmae_zoo.files import write_text

GOALS = {
    "frozen head": {"entry": "conv-ae-bn-spatial", "accuracy": 0.919, "epochs": 1},
    "linear probe": {"entry": "conv-ae-bn", "accuracy": 0.88, "epochs": 2},
}
HEAD_EPOCHS = 4
RECIPE_SECONDS = 240.0 * 122
"""Of the original recipe on two cores, about: 122 epochs of 240 s."""


def run(goals: Sequence[str], backends: Sequence[str], folder: Path = RESULTS) -> None:
    """Measure each goal on each backend, and write `quality.json` and `quality.md`."""
    rows = []
    for goal in goals:
        for backend in backends:
            note(f"{goal} on {backend}")
            row = measured("benchmarks.quality", backend, goal)
            rows.append({"goal": goal, "backend": backend, **row})
            results = {"machine": host(), "recipe_seconds": RECIPE_SECONDS, "rows": rows}
            write_json(results, folder / "quality.json")
            write_text(folder / "quality.md", markdown(results))


def measure(goal: str) -> dict[str, Any]:
    """Train and classify on this process's backend; return seconds and accuracy."""
    import keras  # noqa: F401 (imported before the clock starts)

    import fmae_zoo
    from fmae_zoo.data import load_data
    from fmae_zoo.manifest import environment

    began = time.perf_counter()
    wanted = GOALS[goal]
    data = load_data()
    history = fmae_zoo.train(
        wanted["entry"], epochs=wanted["epochs"], restart=None, data=data, precision="auto"
    )
    trained = time.perf_counter()
    accuracy = _head if goal == "frozen head" else _probe
    reached = accuracy(history.model, data)
    ended = time.perf_counter()
    return {
        "entry": wanted["entry"],
        "epochs": wanted["epochs"],
        "precision": history.record.environment["precision"],
        "training_seconds": trained - began,
        "seconds": ended - began,
        "accuracy": reached,
        "wanted": wanted["accuracy"],
        "reached": reached >= wanted["accuracy"],
        "environment": environment(),
    }


def _head(model: Any, data: Any) -> float:
    from fmae_zoo import Classifier
    from fmae_zoo.evaluation.head import head_plan

    classifier = Classifier(model.encoder, data.num_classes, precision="auto")
    fit, validation = data.split
    images, labels = data.train_images, data.train_labels
    classifier.fit(
        images[fit],
        labels[fit],
        validation_data=(images[validation], labels[validation]),
        **head_plan(classifier).options(epochs=HEAD_EPOCHS),
    )
    predicted = classifier.predict(data.test_images).argmax(axis=1)
    return float((predicted == data.test_labels).mean())


def _probe(model: Any, data: Any) -> float:
    from fmae_zoo.evaluation.linear_probe import probe
    from fmae_zoo.registry import find_entry

    strength = find_entry("conv-ae-bn").manifest.results["linear_probe"]["C"]
    fitted = probe(strength, model.encode(data.train_images), data.train_labels)
    return float(fitted.score(model.encode(data.test_images), data.test_labels))


def markdown(results: dict[str, Any]) -> str:
    """Return the rows as a table, and what they were measured on."""
    rows = [
        [
            row["goal"],
            row["backend"],
            row["precision"],
            str(row["epochs"]),
            f"{row['training_seconds']:.0f}",
            f"{row['seconds']:.0f}",
            f"{row['accuracy']:.4f}",
            f"{row['wanted']:g}",
            "yes" if row["reached"] else "no",
            f"{results['recipe_seconds'] / row['seconds']:.0f}",
        ]
        for row in results["rows"]
    ]
    head = ["goal", "backend", "precision", "epochs", "training, s", "all, s", "test accuracy"]
    head += ["wanted", "reached", "times faster than 122 epochs of 240 s"]
    lines = [
        "# Time to quality",
        "",
        "Written by `python -m benchmarks quality`; the first lines of `benchmarks/quality.py` "
        "give the protocol.",
        "",
        *table(head, rows, numbers_from=3),
        "",
        f"Measured on {described(results['machine'])}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    answer(measure)
