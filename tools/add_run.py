"""Copy a finished training run into the registry: `python tools/add_run.py runs/NAME-seed0`."""

import shutil
import sys
from pathlib import Path

from fmae_zoo.datasets import FASHION_MNIST_DIGEST
from fmae_zoo.entry import Entry, prepared, record_files
from fmae_zoo.errors import FmaeError
from fmae_zoo.registry import find_entry


def add_run(run: Path) -> Path:
    """Copy the weights, goldens, history and manifest of a run beside the spec it was trained by.

    Raises:
        SystemExit: the run was trained by another spec than the one in the registry, or on other
            data than Fashion-MNIST.
    """
    trained = Entry.read(run)
    folder = find_entry(trained.spec.full_name).folder
    assert folder is not None
    if Entry.read(folder).spec != trained.spec:
        raise SystemExit(f"{run} was trained by another spec than {folder}/spec.toml")
    manifest = trained.manifest
    if manifest.training is None or manifest.training.data_digest != FASHION_MNIST_DIGEST:
        raise SystemExit(f"{run} was not trained on Fashion-MNIST")
    with prepared(folder) as new:
        for name in manifest.files:
            shutil.copy(run / name, new / name)
        manifest = manifest.model_copy(update={"spec_sha256": trained.spec.digest})
        record_files(new, manifest).write(new)
    return folder


if __name__ == "__main__":
    try:
        for argument in sys.argv[1:]:
            print(add_run(Path(argument)))
    except (FmaeError, OSError) as error:
        raise SystemExit(str(error)) from error
