"""Measure what installations take on disk: `python tools/measure_install.py [NAMES]`.

Each package is installed with its backend into an empty environment, with the versions of
constraints.txt. Megabytes (10^6 bytes) of its own files, of the backend, and of everything else are
written to `registry/install.json`. pip and setuptools are not counted.
"""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from fmae_zoo.files import write_text

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "registry" / "install.json"
INSTALLED = {
    "fmae-zoo[jax]": f"{ROOT}[jax]",
    "fmae-zoo[torch]": f"{ROOT}[torch]",
    "fmae-zoo[tensorflow]": f"{ROOT}[tensorflow]",
    "timm": "timm",
    "keras-hub": "keras-hub",
    "pythae": "pythae",
}
BACKENDS = ("jax", "jaxlib", "torch", "torchvision", "tensorflow", "tensorflow-text", "triton")
LARGEST = 8
"""Number of further packages whose sizes are written."""

TOOLS = ("pip", "setuptools", "wheel")


def size(distribution: Distribution) -> int:
    """Return the bytes of a distribution's files."""
    found = (Path(str(distribution.locate_file(each))) for each in distribution.files or ())
    return sum(path.stat().st_size for path in found if path.is_file())


def is_of_backend(name: str) -> bool:
    """Return whether a distribution is a backend or comes only with one."""
    return name in BACKENDS or name.startswith("nvidia-")


def measured(requirement: str) -> dict[str, Any]:
    """Install a requirement into an empty environment and return its sizes in megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder, "bin", "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
        versions = ["--constraint", ROOT / "constraints.txt"]
        subprocess.run([*pip, *versions, requirement], check=True)
        [site] = Path(folder, "lib").glob("python*/site-packages")
        sizes = {
            each.name.lower().replace("_", "-"): (size(each), each.version)
            for each in distributions(path=[str(site)])
            if each.name not in TOOLS
        }
    own = "fmae-zoo" if "[" in requirement else requirement
    backend = sum(each for name, (each, _) in sizes.items() if is_of_backend(name))
    others = [(name, each) for name, (each, _) in sizes.items() if not is_of_backend(name)]
    others = sorted((each for each in others if each[0] != own), key=lambda each: -each[1])
    total = sum(each for each, _ in sizes.values())
    return {
        "version": sizes[own][1],
        "packages": len(sizes),
        "own": round(sizes[own][0] / 1e6, 1),
        "backend": round(backend / 1e6, 1),
        "rest": round((total - backend - sizes[own][0]) / 1e6, 1),
        "largest": {name: round(each / 1e6, 1) for name, each in others[:LARGEST]},
    }


def main() -> None:
    """Measure all packages, or those that are named."""
    found = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.is_file() else {}
    for name in sys.argv[1:] or INSTALLED:
        found[name] = measured(INSTALLED[name])
        print(name, found[name], flush=True)
        write_text(TARGET, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
