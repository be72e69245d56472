"""Add runs with other seeds to their entry's manifest: `python tools/add_seed.py RUN ...`.

Each run is evaluated; RESULTS.md then shows the mean and standard deviation over all seeds.
"""

import sys
from pathlib import Path

import fmae_zoo
from fmae_zoo.entry import Entry
from fmae_zoo.errors import FmaeError
from fmae_zoo.evaluation.record import record_seed
from fmae_zoo.registry import find_entry

FIGURES = ("reconstruction", "linear_probe", "knn")


def add_seed(run: Path) -> str:
    """Evaluate a finished run and write its figures to the manifest; return the entry's name.

    Raises:
        SystemExit: The run was trained with another spec, on other data, or with the entry's own
            seed.
    """
    trained = Entry.read(run)
    entry = find_entry(trained.spec.full_name)
    training, own = trained.manifest.training, entry.manifest.training
    if entry.spec != trained.spec:
        raise SystemExit(f"{run} was trained by another spec than {entry.folder}/spec.toml")
    if training is None or own is None or training.seed == own.seed:
        raise SystemExit(f"{run} is no training of {entry.spec.name} with another seed")
    if training.data_digest != own.data_digest:
        raise SystemExit(f"{run} was trained on other data than {entry.spec.name}")
    data = fmae_zoo.load_data(trained.spec.data)
    results = fmae_zoo.evaluate(trained.build(pretrained=True), FIGURES, data=data)
    record_seed(entry.spec.full_name, training, results, data)
    return entry.spec.full_name


if __name__ == "__main__":
    try:
        for argument in sys.argv[1:]:
            print(add_seed(Path(argument)))
    except (FmaeError, OSError) as error:
        raise SystemExit(str(error)) from error
