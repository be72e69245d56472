"""The section of RESULTS.md on exported encoders, from what `measure_exports.py` wrote."""

import json
from pathlib import Path

from fmae_zoo.card.markup import table

MEASURED = Path(__file__).parent.parent / "registry" / "exports.json"

WORDS = """## Exported encoders

Encoders in ONNX, in float32 and in 8-bit integers, run by ONNX Runtime. `tools/measure_exports.py`
measures them: the linear probe was fitted to the codes that Keras gives, and images per second are
medians of five runs on the CPU named by its number of cores."""


def exports_section(path: Path = MEASURED) -> list[str]:
    """Return the paragraphs of the section; none if nothing was measured."""
    if not path.is_file():
        return []
    rows = [
        [
            name,
            kind,
            f"{row[kind]['bytes']:,}",
            f"{row[kind]['images_per_second']:,}",
            f"{row['cores']}",
            f"{row[kind]['accuracy']:.4f}",
        ]
        for name, row in json.loads(path.read_text(encoding="utf-8")).items()
        for kind in ("float32", "int8")
    ]
    titles = ["model", "numbers", "bytes", "images per second", "cores", "linear probe"]
    return [WORDS, table(titles, rows, right=range(2, len(titles)))]
