"""`load_data`: a name, a path or a repo on the Hub becomes a data set."""

import logging
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np

from fmae_zoo.arguments import check_folder
from fmae_zoo.datasets.dataset import Dataset
from fmae_zoo.datasets.readers import read_path
from fmae_zoo.datasets.sources import cache_folder, read_hub, sources_of
from fmae_zoo.datasets.table import DEFAULT, TABLE, Listed, unknown
from fmae_zoo.errors import DataError

logger = logging.getLogger(__name__)

Report = Callable[[str, Exception], None]


def load_data(name_or_path: str | Path | None = None) -> Dataset:
    """Return a data set, checked by its digests where they are known. Fashion-MNIST by default.

    Fashion-MNIST comes from the first source that has it: the Keras cache; Debian's package,
    installed; Keras' download; the Hub data set; Debian's package, downloaded; and at last a small
    sample that ships with the package and says so. The others of the table come from the cache
    beside Keras', or else from their publishers.

    Args:
        name_or_path: a name of the table (`fmae data` lists it); `hf://NAMESPACE/NAME`, a data
            set on the Hub with Parquet files of images; or a path. A folder holds the four IDX
            files, gzipped or not; or `.npy` or `.parquet` files; or pictures, with a folder
            for each class or without classes, in `train` and `test` or together. A file is an
            `.npz`, `.npy`, `.parquet` or IDX file or CIFAR-10's binary archive.

    Raises:
        DataError: there is no such name or path; no source has the data set; a file is missing
            or damaged; or the images are of different sizes.
        ArgumentError: it is neither text nor a path, or no address on the Hub.
        HubError: the Hub does not give the data set.
    """
    if name_or_path is None or name_or_path == DEFAULT:
        dataset = find_data()
        if dataset is None:
            logger.warning(
                "Using the small sample of Fashion-MNIST in the package. Figures are of the sample."
            )
            return load_sample()
        return dataset
    if isinstance(name_or_path, str) and name_or_path.startswith("hf://"):
        return read_hub(name_or_path)
    if isinstance(name_or_path, str) and name_or_path in TABLE:
        return _from_the_table(TABLE[name_or_path])
    path = check_folder("name_or_path", name_or_path)
    if not path.exists():
        raise DataError(unknown(str(name_or_path)))
    return read_path(path)


def load_named(name: str) -> Dataset:
    """Return the data set that a spec names.

    Raises:
        DataError: no source has it, or only who made the spec knows where it is.
    """
    if name not in TABLE:
        raise DataError(f"{name!r} is the name of no listed data set: give data=, or --data PATH")
    return load_data(name)


def find_data(report: Report | None = None) -> Dataset | None:
    """Return the real Fashion-MNIST from the first source that has it, or None.

    Args:
        report: called with the name of each source that fails, and why. By default all are
            told in one warning, where no source has it.
    """
    dataset, failures = _first(TABLE[DEFAULT], report)
    if dataset is None and report is None:
        logger.warning("%s", _told(TABLE[DEFAULT], failures))
    return dataset


def _from_the_table(listed: Listed) -> Dataset:
    dataset, failures = _first(listed)
    if dataset is None:
        raise DataError(_told(listed, failures))
    return dataset


def _first(listed: Listed, report: Report | None = None) -> tuple[Dataset | None, list[str]]:
    failures: list[str] = []
    for name, read in sources_of(listed):
        try:
            return read(), failures
        except Exception as error:
            # Whatever goes wrong in one source, the next is tried.
            logger.info("%s: %s", name, error)
            failures.append(f"{name}: {error or type(error).__name__}")
            if report is not None:
                report(name, error)
    return None, failures


def _told(listed: Listed, failures: list[str]) -> str:
    return "\n  ".join([f"No source has {listed.title}:", *failures])


def load_sample() -> Dataset:
    """Return the stratified slice of Fashion-MNIST that ships with the package."""
    with (
        resources.files("fmae_zoo").joinpath("sample.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return Dataset(
            train_images=arrays["train_images"],
            train_labels=arrays["train_labels"],
            test_images=arrays["test_images"],
            test_labels=arrays["test_labels"],
            source="the sample embedded in the package",
            is_sample=True,
            class_names=TABLE[DEFAULT].classes,
            listed=DEFAULT,
        )


__all__ = ["cache_folder", "find_data", "load_data", "load_named", "load_sample"]
