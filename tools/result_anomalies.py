"""The section of RESULTS.md on anomalies, from what `measure_anomalies.py` wrote."""

import json
from pathlib import Path
from statistics import mean
from typing import Any

from fmae_zoo.card.markup import table

MEASURED = Path(__file__).parent.parent / "registry" / "anomalies.json"
SCORES = ("reconstruction", "density", "both")

ONE_CLASS = """## Anomalies

Areas under the ROC curve. `tools/measure_anomalies.py` measures them; `registry/anomalies.json` has
the values of each class. The score is the error of the reconstruction, the negative log-density of
the code, or the sum of both in standard deviations.

**One class against the rest.** The model is trained on the training images of one class, and scores
all test images. Means over the ten classes."""

NOVELTY = """**Novelty.** The published model scores the test images and other grey images."""


def anomalies_section(path: Path = MEASURED) -> list[str]:
    """Return the paragraphs of the section; none if nothing was measured."""
    if not path.is_file():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    parts = []
    whole = {k: v for k, v in found.get("one_class", {}).items() if len(v["classes"]) == 10}
    if whole:
        rows = [[name, *_cells(row["mean"])] for name, row in whole.items()]
        parts += [ONE_CLASS, table(["model", *SCORES], rows, right=(1, 2, 3))]
    kinds = list(dict.fromkeys(k for v in found.get("novelty", {}).values() for k in v["auroc"]))
    if kinds:
        rows = [
            [name, *(f"{row['auroc'][kind]['both']:.4f}" for kind in kinds)]
            + [f"{mean(row['auroc'][kind]['both'] for kind in kinds):.4f}"]
            for name, row in found["novelty"].items()
        ]
        words = NOVELTY if whole else f"## Anomalies\n\n{NOVELTY}"
        titles = ["model", *kinds, "mean"]
        parts += [f"{words} By the sum of both scores.", table(titles, rows, range(1, len(titles)))]
    return parts


def _cells(scores: dict[str, Any]) -> list[str]:
    return [f"{scores[name]:.4f}" for name in SCORES]
