"""A data set in memory: images, labels if there are any, and how they are split."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fmae_zoo.datasets.table import DEFAULT, TABLE
from fmae_zoo.errors import ArgumentError, DataError

FASHION_MNIST_DIGEST = "ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f"
"""Of the four arrays of the real data set: `Dataset.digest`."""

VALIDATION_SIZE = 10_000
SPLIT_SEED = 20170825
"""Of the permutation of the training images whose last tenth-thousand validates."""

MAX_CLASSES = 100_000
"""Of a data set, so that a label that is none is refused before a layer is as wide."""

_SUFFIXES = re.compile(r"(\.(npz|npy|parquet|tar|tgz|gz))+$")


@dataclass(frozen=True)
class Dataset:
    """Images and labels of a data set, as published: uint8, in their original order.

    Attributes:
        train_images: uint8 `(n, height, width)`, or `(n, height, width, 3)` in colour.
        train_labels: integers `(n,)` from 0 on, or None where there are no labels.
        test_images: as the training images, `(m, ...)`.
        test_labels: as the training labels, `(m,)`.
        source: where it was found.
        is_sample: whether this is only the small sample that ships with the package.
        files: SHA-256 of the content of each IDX file that it was read from.
        class_names: in the order of the labels, or None where nobody has named the classes.
        listed: its name in the table of data sets, or None where it is another's.
        validation: number of the last training images that were published to validate; 0
            where `split` chooses them.

    Raises:
        DataError: the arrays have other shapes or dtypes, or a label has no name.
    """

    train_images: np.ndarray
    train_labels: np.ndarray | None
    test_images: np.ndarray
    test_labels: np.ndarray | None
    source: str
    is_sample: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    listed: str | None = None
    validation: int = 0

    def __post_init__(self) -> None:
        for kind in ("train", "test"):
            images, labels = getattr(self, f"{kind}_images"), getattr(self, f"{kind}_labels")
            _check_arrays(f"{self.source}: {kind}", images, labels, self.class_names)
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise DataError(
                f"{self.source}: training images of shape {self.train_images.shape[1:]} and test "
                f"images of shape {self.test_images.shape[1:]}; expected one shape"
            )
        if (self.train_labels is None) != (self.test_labels is None):
            raise DataError(f"{self.source}: expected labels of all images, or of none")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        height, width, *channels = self.train_images.shape[1:]
        return height, width, channels[0] if channels else 1

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the arrays, so that a run can say what it was trained on."""
        hasher = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            if array is not None:
                hasher.update(np.ascontiguousarray(array).tobytes())
        return hasher.hexdigest()

    @property
    def name(self) -> str:
        """The title in the table of data sets, `Fashion-MNIST` for example, else the source.

        Fashion-MNIST is what has the digest of the real arrays, so that its sample is not.
        """
        if self.digest == FASHION_MNIST_DIGEST:
            return TABLE[DEFAULT].title
        return TABLE[self.listed].title if self.listed not in (None, DEFAULT) else self.source

    @property
    def tag(self) -> str:
        """The name in the table, else that of the file or folder, as a model's tag can be."""
        if self.listed is not None:
            return self.listed
        if self.digest == FASHION_MNIST_DIGEST:
            return DEFAULT
        hub, _, path = self.source.partition("://")
        base = path.partition("@")[0] if path else os.path.abspath(hub)
        stem = _SUFFIXES.sub("", os.path.basename(base).lower())
        name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:64].strip("-") or "data"
        # A file of one's own is not the published data set whose name it has.
        return f"my-{name}" if name in (*TABLE, "fmnist") else name

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Training and test labels, for what cannot do without.

        Raises:
            DataError: there are none.
        """
        if self.train_labels is None or self.test_labels is None:
            raise DataError(
                f"{self.source} has no labels, and this needs them: classifiers, linear probe and "
                "kNN. Training and reconstruction do without"
            )
        return self.train_labels, self.test_labels

    @property
    def num_classes(self) -> int:
        """The number of class names, else one more than the highest label.

        Raises:
            DataError: there are no labels.
        """
        train, test = self.labels
        return len(self.class_names or ()) or int(max(train.max(), test.max())) + 1

    @cached_property
    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices into the training images: for fitting, and for validation.

        The images that were published to validate do so; where there are none, the last
        10,000 (or the last sixth of a smaller set) after a permutation with a fixed seed.
        """
        count = len(self.train_images)
        if count < 2:
            raise DataError(f"{self.source}: {count} training images; two are the least")
        if 0 < self.validation < count:
            order, size = np.arange(count), self.validation
        else:
            order, size = shuffled(count)
        return order[: count - size], order[count - size :]


def shuffled(count: int) -> tuple[np.ndarray, int]:
    """Return a permutation that is always the same, and how many of its last are set apart."""
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    return order, min(VALIDATION_SIZE, max(count // 6, 1))


def check_dataset(data: Any) -> None:
    """Refuse what is neither a Dataset nor None.

    Raises:
        ArgumentError: it is something else, the folder of a data set for example.
    """
    if data is not None and not isinstance(data, Dataset):
        raise ArgumentError(
            f"Expected data to be a Dataset, as load_data(NAME_OR_PATH) gives it; "
            f"received {type(data).__name__}"
        )


def _check_arrays(what: str, images: Any, labels: Any, names: tuple[str, ...] | None) -> None:
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray | None):
        raise DataError(f"{what}: expected numpy arrays of images and labels")
    is_colour = images.ndim == 4 and images.shape[3] == 3
    if not (images.ndim == 3 or is_colour) or 0 in images.shape[1:]:
        raise DataError(
            f"{what}: images of shape {images.shape}; expected (n, height, width), or "
            "(n, height, width, 3) in colour"
        )
    if images.dtype != np.uint8:
        raise DataError(f"{what}: images of dtype {images.dtype}; expected uint8")
    if labels is None:
        return
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"{what}: images of shape {images.shape} and labels of shape {labels.shape}; "
            f"expected one label for each image: ({len(images)},)"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{what}: labels of dtype {labels.dtype}; expected integers")
    low, high = (int(labels.min()), int(labels.max())) if len(labels) else (0, 0)
    if high >= MAX_CLASSES:
        raise DataError(f"{what}: a label of {high:,}; expected fewer than {MAX_CLASSES:,} classes")
    if low < 0 or high >= len(names or range(high + 1)):
        last = f"to {len(names) - 1}, as there are names of classes" if names else "or more"
        raise DataError(f"{what}: labels from {low} to {high}; expected 0 {last}")
