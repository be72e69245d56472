"""Measure how well the zoo's models find anomalies: `python tools/measure_anomalies.py`.

Two measurements, both of Fashion-MNIST, as areas under the ROC curve (AUROC) of each score:

- One class against the rest: a model is trained on the images of one class, and scores all 10,000
  test images. The best epoch is chosen on a sixth of the class's training images; the detector is
  fitted to these.
- Novelty: a published model scores the test images, and as many other grey images.

Results are written to `registry/anomalies.json` after each class and each model. What is in the
file already, with the same settings, is not measured again.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

import fmae_zoo
from fmae_zoo.anomalies import AnomalyDetector, AnomalyScores
from fmae_zoo.datasets import FASHION_MNIST_DIGEST, Dataset
from fmae_zoo.files import write_text

TARGET = Path(__file__).parent.parent / "registry" / "anomalies.json"
NOVELTY = ("conv-vae-bn", "conv-ae-bn", "dense-ae", "dense-vae", "pca")


def aurocs(normal: AnomalyScores, other: AnomalyScores) -> dict[str, float]:
    """Return for each score the probability that an other image has a higher one."""
    from sklearn.metrics import roc_auc_score

    first, second = asdict(normal), asdict(other)
    return {
        name: float(
            roc_auc_score(
                np.repeat([0, 1], [len(first[name]), len(second[name])]),
                np.concatenate([first[name], second[name]]),
            )
        )
        for name in first
    }


def of_class(data: Dataset, label: int) -> Dataset:
    """Return a data set with the training images of one class, and all test images."""
    own = data.labels[0] == label
    return replace(data, train_images=data.train_images[own], train_labels=data.labels[0][own])


def one_class(name: str, label: int, data: Dataset, seed: int, recipe: dict) -> dict[str, Any]:
    """Train a model on one class, and return the AUROC of the other classes' test images."""
    started = time.perf_counter()
    own = of_class(data, label)
    history = fmae_zoo.train(name, seed=seed, data=own, **recipe)
    rows = history.rows
    detector = AnomalyDetector(history.model).fit(own.train_images[own.split[1]])
    normal = data.labels[1] == label
    scored = [detector.scores(data.test_images[which]) for which in (normal, ~normal)]
    return {
        "class": data.class_names[label] if data.class_names else str(label),
        "auroc": aurocs(*scored),
        "epochs": len(rows),
        "best_epoch": min(rows, key=lambda row: row["val_loss"])["epoch"],
        "components": int(detector.density.n_components),
        "seconds": round(time.perf_counter() - started, 1),
    }


def other_images(data: Dataset) -> dict[str, np.ndarray]:
    """Return images that are no pieces of clothing, or not as in Fashion-MNIST, by their kind."""
    from PIL import Image
    from sklearn.datasets import load_digits

    images = data.test_images
    digits = [
        Image.fromarray(np.uint8(digit * 255 / 16)).resize((28, 28), Image.Resampling.BILINEAR)
        for digit in load_digits().images
    ]
    flat = images.reshape(len(images), -1)
    return {
        "digits of scikit-learn, resized": np.stack([np.asarray(digit) for digit in digits]),
        "pixels shuffled": np.random.default_rng(0).permuted(flat, axis=1).reshape(images.shape),
        "inverted": 255 - images,
        "rotated by 180 degrees": np.ascontiguousarray(images[:, ::-1, ::-1]),
    }


def novelty(name: str, data: Dataset) -> dict[str, Any]:
    """Return the AUROC of other grey images against the test images, for a published model."""
    detector = AnomalyDetector(fmae_zoo.load(name, pretrained=True))
    detector.fit(data.train_images[data.split[1]])
    normal = detector.scores(data.test_images)
    found = {kind: aurocs(normal, detector.scores(o)) for kind, o in other_images(data).items()}
    return {"auroc": found, "components": int(detector.density.n_components)}


def measure(table: dict, key: str, settings: dict, function: Callable[[], dict]) -> bool:
    """Put a measurement into a table, and return whether it was not there with these settings."""
    if key in table and table[key]["settings"] == settings:
        return False
    table[key] = {**function(), "settings": settings}
    print(key, json.dumps(table[key]), flush=True)
    return True


def means(table: dict[str, Any]) -> dict[str, float]:
    """Return the means of the AUROC over the classes."""
    every = [each["auroc"] for each in table.values()]
    return {score: float(np.mean([each[score] for each in every])) for score in every[0]}


def main() -> None:
    """Measure what the file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", nargs="*", default=["dense-ae", "pca"], help="one class")
    parser.add_argument("--epochs", type=int, help="of the specs but pca; else the recipe's")
    parser.add_argument("--classes", type=int, nargs="*", default=range(10))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--novelty", nargs="*", default=NOVELTY, help="published models")
    parser.add_argument("--output", type=Path, default=TARGET)
    told = parser.parse_args()
    data = fmae_zoo.load_data()
    if data.digest != FASHION_MNIST_DIGEST:
        raise SystemExit("no source has Fashion-MNIST")
    found = json.loads(told.output.read_text()) if told.output.exists() else {}
    backend = {"seed": told.seed, "backend": keras.backend.backend()}
    for name in told.spec:
        recipe = {"epochs": told.epochs} if told.epochs and name != "pca" else {}
        row = found.setdefault("one_class", {}).setdefault(name, {"classes": {}})
        for label in told.classes:
            settings = {**backend, **recipe}
            if measure(
                row["classes"],
                str(label),
                settings,
                lambda: one_class(name, label, data, told.seed, recipe),  # noqa: B023
            ):
                row["mean"] = means(row["classes"])
                write_text(told.output, json.dumps(found, indent=1) + "\n")
    for name in told.novelty:
        if measure(found.setdefault("novelty", {}), name, backend, lambda: novelty(name, data)):  # noqa: B023
            write_text(told.output, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
