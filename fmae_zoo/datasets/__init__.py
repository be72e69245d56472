"""Data sets: the table of named data sets, their sources, and readers of the file formats.

To add a data set, add it to table.toml. To add a format, add a reader to readers.py, and to
`READERS` in sources.py if a data set of the table uses it.
"""

from fmae_zoo.datasets.dataset import FASHION_MNIST_DIGEST, VALIDATION_SIZE, Dataset, check_dataset
from fmae_zoo.datasets.loading import find_data, load_data, load_named, load_sample
from fmae_zoo.datasets.readers import read_idx
from fmae_zoo.datasets.sources import HUB_DATASET, cache_folder, in_cache
from fmae_zoo.datasets.table import DEFAULT, TABLE, Listed

CLASS_NAMES = TABLE[DEFAULT].classes
"""Class names of Fashion-MNIST, and of no other data set."""

__all__ = [
    "CLASS_NAMES",
    "DEFAULT",
    "FASHION_MNIST_DIGEST",
    "HUB_DATASET",
    "TABLE",
    "VALIDATION_SIZE",
    "Dataset",
    "Listed",
    "cache_folder",
    "check_dataset",
    "find_data",
    "in_cache",
    "load_data",
    "load_named",
    "load_sample",
    "read_idx",
]
