"""Copy a finished training run into the registry: `python tools/publish.py runs/NAME-seed0`."""

import shutil
import sys
from pathlib import Path

from fmae_zoo.entry import RECORDED_FILES, Entry, record_files
from fmae_zoo.registry import BUNDLED


def publish(run: Path) -> Path:
    """Copy the weights, goldens, history and manifest of a run beside the spec it was trained by.

    Raises:
        SystemExit: the run was trained by another spec than the one in the registry.
    """
    trained = Entry.read(run)
    folder = BUNDLED / trained.spec.name
    if Entry.read(folder).spec != trained.spec:
        raise SystemExit(f"{run} was trained by another spec than {folder}/spec.toml")
    for name in RECORDED_FILES:
        shutil.copy(run / name, folder / name)
    record_files(folder, trained.manifest).write(folder)
    return folder


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(publish(Path(argument)))
