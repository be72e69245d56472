"""Build the wheel, install it into an empty environment, and load all pretrained models from it."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
USE = """
import fmae_zoo, numpy as np
from fmae_zoo.card import card_of
from fmae_zoo.registry import BUNDLED, find_entry
assert "site-packages" in str(BUNDLED), BUNDLED
assert {"RESULTS.md", "results.csv"} <= {path.name for path in BUNDLED.iterdir()}
names = fmae_zoo.list_models(pretrained=True)
assert names, "no pretrained entry in the wheel"
for name in names:
    model, images = fmae_zoo.load(name, pretrained=True), np.zeros((2, 28, 28), np.uint8)
    outputs = getattr(model, "encode", model.predict)(images)
    assert np.isfinite(outputs).all()
    card = card_of(find_entry(name), "me/mine")
    assert name.split(".")[0] in card
    print("loaded from the wheel:", name, outputs.shape)
from fmae_zoo.datasets import load_sample
sample = load_sample()
trained = fmae_zoo.train("dense-ae", epochs=1, data=sample).model
figures = fmae_zoo.evaluate(trained, ["reconstruction", "linear_probe", "elbo"], data=sample)
assert figures["reconstruction"]["ssim"] > 0, figures
try:
    fmae_zoo.load_data("hf://nobody/nothing")
except fmae_zoo.FmaeError as error:
    print(error)
"""
PICTURE = """
import numpy, sys
numpy.save(sys.argv[1], numpy.zeros((3, 28, 28), "uint8"))
"""


def main() -> None:
    """Run the check; exit with an error if it fails."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT)
        wheel = next(folder.glob("*.whl"))
        run(sys.executable, "-m", "venv", folder / "empty")
        python = folder / "empty" / "bin" / "python"
        constraints = ROOT / "constraints.txt"
        run(python, "-m", "pip", "install", "-q", "-c", constraints, f"{wheel}[jax]")
        run(python, "-c", USE)
        fmae = folder / "empty" / "bin" / "fmae"
        run(fmae, "list", "--pretrained")
        run(python, "-c", PICTURE, folder / "picture.npy")
        run(fmae, "embed", "dense-ae", folder / "picture.npy", "-o", folder / "codes.npz")


def run(*command: object) -> None:
    """Run a command outside the source tree, in a clean environment."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "KERAS_BACKEND")}
    subprocess.run([str(word) for word in command], check=True, cwd="/", env=environment)


if __name__ == "__main__":
    main()
