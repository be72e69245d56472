"""Loading of data sets by name, from a path or from the Hub."""

import logging
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np

from fmae_zoo.arguments import check_folder
from fmae_zoo.datasets.dataset import Dataset
from fmae_zoo.datasets.readers import read_path
from fmae_zoo.datasets.sources import read_hub, sources_of
from fmae_zoo.datasets.table import DEFAULT, TABLE, Listed, unknown
from fmae_zoo.errors import DataError

logger = logging.getLogger(__name__)

Report = Callable[[str, Exception], None]


def load_data(name_or_path: str | Path | None = None) -> Dataset:
    """Return a data set, by default Fashion-MNIST; known digests are checked.

    Fashion-MNIST comes from the first source that has it: the Keras cache; the installed Debian
    package; the Keras download; the Hub data set; the Debian package, downloaded; and finally the
    small sample in this package, with a warning. Other data sets of the table come from Keras'
    cache folder, or else from their publishers.

    Args:
        name_or_path: Name in the table (`fmae data` lists them); `hf://NAMESPACE/NAME`, a Hub data
            set with Parquet files of images; or a path. A folder holds the four IDX files, gzipped
            or not; or `.npy` or `.parquet` files; or pictures, with a folder for each class or
            without classes, with or without folders `train` and `test`. A file is an `.npz`,
            `.npy`, `.parquet` or IDX file, or CIFAR-10's binary archive.

    Raises:
        DataError: If there is no such name or path, no source has the data set, a file is missing
            or damaged, or the images differ in size.
        ArgumentError: If it is neither text nor a path, or is not a valid Hub address.
        HubError: If the Hub does not provide the data set.
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
        listed, failures = TABLE[name_or_path], dict[str, Exception]()
        dataset = _first(listed, failures.__setitem__)
        if dataset is None:
            raise DataError(_told(listed, failures))
        return dataset
    path = check_folder("name_or_path", name_or_path)
    if not path.exists():
        raise DataError(unknown(str(name_or_path)))
    return read_path(path)


def load_named(name: str) -> Dataset:
    """Return the data set that a spec names.

    Raises:
        DataError: If no source has it, or the name is not in the table.
    """
    if name not in TABLE:
        raise DataError(f"{name!r} is the name of no listed data set: give data=, or --data PATH")
    return load_data(name)


def find_data(report: Report | None = None) -> Dataset | None:
    """Return the real Fashion-MNIST from the first source that has it, or None.

    Args:
        report: Function called with the name of each source that fails, and its error. By default
            one warning lists all failures if no source has the data set.
    """
    failures: dict[str, Exception] = {}
    dataset = _first(TABLE[DEFAULT], report or failures.__setitem__)
    if dataset is None and report is None:
        logger.warning("%s", _told(TABLE[DEFAULT], failures))
    return dataset


def _first(listed: Listed, report: Report) -> Dataset | None:
    for name, read in sources_of(listed):
        try:
            return read()
        except Exception as error:
            # Any error in one source must still let the next be tried.
            logger.info("%s: %s", name, error)
            report(name, error)
    return None


def _told(listed: Listed, failures: dict[str, Exception]) -> str:
    reasons = [f"{name}: {str(error) or type(error).__name__}" for name, error in failures.items()]
    return "\n  ".join([f"No source has {listed.title}:", *reasons])


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
