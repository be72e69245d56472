"""Compare trainings on one and on two devices: `python tools/measure_devices.py`.

Each backend trains some models for three epochs on the images of `load_sample()`, by their own
recipes in float32, on the whole CPU and on two parts of it. The largest relative difference of the
losses, and the seconds of the last epoch, are written to `registry/devices.json`. It takes about
five minutes on two cores.
"""

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "registry" / "devices.json"
BACKENDS = ("jax", "tensorflow", "torch")
MODELS = ("dense-ae", "conv-ae-bn", "conv-vae-bn")
EPOCHS = 3
BATCH_SIZE = 100


def measured(name: str) -> dict[str, object]:
    """Return the differences and the seconds of one model on the backend of this process."""
    import fmae_zoo
    from fmae_zoo.datasets import load_sample

    options = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "precision": "float32"}
    # Two devices come first: a CPU can be divided only before it has computed.
    two, one = (
        fmae_zoo.train(name, data=load_sample(), devices=count, **options).rows for count in (2, 1)
    )

    def difference(key: str) -> float:
        return max(abs(b[key] - a[key]) / abs(a[key]) for a, b in zip(one, two))

    return {
        "training": difference("loss"),
        "validation": difference("val_loss"),
        "seconds": [rows[-1]["seconds"] for rows in (one, two)],
    }


def main() -> None:
    """Measure every model on every backend, each in a process of its own."""
    from benchmarks.machine import host
    from fmae_zoo.files import write_text
    from fmae_zoo.manifest import version_of

    if len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1])))
        return
    found = {}
    for backend in BACKENDS:
        for name in MODELS:
            done = subprocess.run(
                [sys.executable, __file__, name],
                env={**os.environ, "KERAS_BACKEND": backend},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            found.setdefault(name, {})[backend] = json.loads(done.stdout.splitlines()[-1])
            print(name, backend, found[name][backend], file=sys.stderr)
    about = {
        "date": datetime.date.today().isoformat(),
        "machine": host(),
        "versions": {name: version_of(name) for name in ("keras", *BACKENDS)},
        "epochs": EPOCHS,
        "batch_size": BATCH_SIZE,
    }
    write_text(TARGET, json.dumps({**about, "models": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
