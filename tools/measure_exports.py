"""Measure exported encoders in float32 and in 8-bit integers: `python tools/measure_exports.py`.

For each model and file: its size, the images it encodes per second on this machine (median of five
runs over the test images), and the test accuracy of a linear probe, fitted to the codes that Keras
gives for the training images. Results are written to `registry/exports.json`.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import fmae_zoo
from fmae_zoo.datasets import FASHION_MNIST_DIGEST
from fmae_zoo.evaluation.linear_probe import probe
from fmae_zoo.exporting import FORMATS
from fmae_zoo.files import write_text
from fmae_zoo.images import as_images
from fmae_zoo.registry import find_entry

TARGET = Path(__file__).parent.parent / "registry" / "exports.json"
BATCH, RUNS = 250, 5


def measured(name: str, int8: bool, fitted: Any, data: fmae_zoo.Dataset) -> dict[str, Any]:
    """Return size, speed and accuracy of one ONNX file."""
    images = as_images(data.test_images, find_entry(name).spec.shape)
    with tempfile.TemporaryDirectory() as folder:
        done = fmae_zoo.export(name, Path(folder, "encoder.onnx"), int8=int8)
        run = FORMATS["onnx"].runner(done.path)
        batches = np.split(images, len(images) // BATCH)
        codes = np.concatenate([run(batch) for batch in batches])
        rates = []
        for _ in range(RUNS):
            began = time.perf_counter()
            for batch in batches:
                run(batch)
            rates.append(len(images) / (time.perf_counter() - began))
    return {
        "bytes": done.size,
        "images_per_second": round(statistics.median(rates)),
        "spread": [round(min(rates)), round(max(rates))],
        "accuracy": float(fitted.score(codes, data.labels[1])),
        "difference": done.difference,
    }


def main() -> None:
    """Measure the models that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["conv-ae-bn", "conv-vae-bn", "dense-ae"])
    parser.add_argument("--output", type=Path, default=TARGET)
    told = parser.parse_args()
    data = fmae_zoo.load_data()
    if data.digest != FASHION_MNIST_DIGEST:
        raise SystemExit("no source has Fashion-MNIST")
    found = json.loads(told.output.read_text()) if told.output.exists() else {}
    for name in told.names:
        strength = find_entry(name).manifest.results["linear_probe"]["C"]
        model = fmae_zoo.load(name, pretrained=True)
        fitted = probe(strength, model.encode(data.train_images), data.labels[0])
        found[name] = {"cores": os.cpu_count()}
        for kind, int8 in (("float32", False), ("int8", True)):
            found[name][kind] = measured(name, int8, fitted, data)
            print(name, kind, found[name][kind], flush=True)
        write_text(told.output, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
