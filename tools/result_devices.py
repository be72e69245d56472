"""The table in docs/DEVICES.md of one and two devices: registry/devices.json."""

import json
from pathlib import Path

from fmae_zoo.card.markup import table

MEASURED = Path(__file__).parent.parent / "registry" / "devices.json"
BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}


def devices_table() -> str:
    """Return how it was measured, and the table, as Markdown."""
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    rows = []
    for name, each in found["models"].items():
        for key in ("training", "validation"):
            rows.append([f"`{name}`, {key}", *(f"{each[b][key]:.1e}" for b in BACKENDS)])
        seconds = ("{:.2f}, {:.2f}".format(*each[b]["seconds"]) for b in BACKENDS)
        rows.append([f"`{name}`, seconds of an epoch on one device and on two", *seconds])
    machine = found["machine"]
    versions = ", ".join(
        f"{BACKENDS.get(name, 'Keras')} {version}" for name, version in found["versions"].items()
    )
    about = (
        "The largest relative difference of the losses of one and two devices over "
        f"{found['epochs']} epochs\nof the recipe (batches of {found['batch_size']}, float32), on "
        "the 1,000 training and 200 validation images\nof `load_sample()`. "
        f"`tools/measure_devices.py` measured it on {found['date']} on two parts of a CPU with\n"
        f"{machine['cores']} cores ({machine['cpu']}): {versions}."
    )
    titles = ["", *BACKENDS.values()]
    return f"{about}\n\n{table(titles, rows, right=range(1, len(titles)))}"
