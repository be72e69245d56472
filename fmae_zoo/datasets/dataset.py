"""A data set in memory: images, optional labels, and the validation split."""

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
"""`Dataset.digest` of the full data set (all four arrays)."""

VALIDATION_SIZE = 10_000
SPLIT_SEED = 20170825
"""Seed of the permutation that `shuffled` returns."""

MAX_CLASSES = 100_000
"""Upper bound of labels, so that a wrong label cannot create a huge output layer."""

_SUFFIXES = re.compile(r"(\.(npz|npy|parquet|tar|tgz|gz))+$")


@dataclass(frozen=True)
class Dataset:
    """Images and labels of a data set, as published: uint8, in their original order.

    Attributes:
        train_images: Training images, `(n, height, width)`, or `(n, height, width, 3)` in colour.
        train_labels: Integer labels `(n,)` from 0 on, or None if there are no labels.
        test_images: Test images `(m, ...)`, in the format of the training images.
        test_labels: Test labels `(m,)`, in the format of the training labels.
        source: Where the data set was found.
        is_sample: True if this is only the small sample that ships with the package.
        files: SHA-256 of the decompressed content of each IDX file that was read, by name.
        class_names: Class names in the order of the labels, or None if they are unknown.
        listed: Name in the table of data sets, or None if the data set is not in the table.
        validation: Number of images at the end of the training images that were published for
            validation; 0 if `split` chooses the validation images.

    Raises:
        DataError: If shapes or dtypes differ from these, or a label has no class name.
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
            check_arrays(f"{self.source}: {kind}", images, labels, self.class_names)
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
        """SHA-256 of all arrays, which identifies the data that a model was trained on."""
        hasher = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            if array is not None:
                hasher.update(np.ascontiguousarray(array).tobytes())
        return hasher.hexdigest()

    @property
    def name(self) -> str:
        """Title in the table of data sets, for example `Fashion-MNIST`, or else the source.

        Fashion-MNIST is recognised by its digest, so its sample does not have that title.
        """
        if self.digest == FASHION_MNIST_DIGEST:
            return TABLE[DEFAULT].title
        return TABLE[self.listed].title if self.listed not in (None, DEFAULT) else self.source

    @property
    def tag(self) -> str:
        """Name in the table, or else the file or folder name, usable as a model's tag."""
        if self.listed is not None:
            return self.listed
        if self.digest == FASHION_MNIST_DIGEST:
            return DEFAULT
        hub, _, path = self.source.partition("://")
        base = path.partition("@")[0] if path else os.path.abspath(hub)
        stem = _SUFFIXES.sub("", os.path.basename(base).lower())
        name = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:64].strip("-") or "data"
        # A user's own file must not be taken for the published data set of the same name.
        return f"my-{name}" if name in (*TABLE, "fmnist") else name

    @property
    def labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Training and test labels, for code that requires labels.

        Raises:
            DataError: If there are no labels.
        """
        if self.train_labels is None or self.test_labels is None:
            raise DataError(
                f"{self.source} has no labels, and this needs them: classifiers, linear probe and "
                "kNN. Training and reconstruction do without"
            )
        return self.train_labels, self.test_labels

    @property
    def num_classes(self) -> int:
        """Number of class names, or else the highest label plus one.

        Raises:
            DataError: If there are no labels.
        """
        train, test = self.labels
        return len(self.class_names or ()) or int(max(train.max(), test.max())) + 1

    @cached_property
    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the training images for fitting, and of those for validation.

        Images published for validation are used if there are any; otherwise the last 10,000 (or
        the last sixth of fewer than 60,000) after a permutation with a fixed seed.

        Raises:
            DataError: If there are fewer than two training images.
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
    """Return a fixed permutation of `count` indices, and how many of the last to hold out."""
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    return order, min(VALIDATION_SIZE, max(count // 6, 1))


def check_dataset(data: Any) -> None:
    """Raise an error unless `data` is a Dataset or None.

    Raises:
        ArgumentError: If it is something else, for example the path of a data set.
    """
    if data is not None and not isinstance(data, Dataset):
        raise ArgumentError(
            f"Expected data to be a Dataset, as load_data(NAME_OR_PATH) gives it; "
            f"received {type(data).__name__}"
        )


def check_arrays(what: str, images: Any, labels: Any, names: tuple[str, ...] | None) -> None:
    """Raise an error unless images and labels are those of a split of a `Dataset`.

    Raises:
        DataError: If shapes, dtypes or the range of labels differ; the message begins with `what`.
    """
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray | None):
        raise DataError(f"{what}: expected NumPy arrays of images and labels")
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) < 3 or shape[3:] not in ((), (3,)):
        raise DataError(
            f"{what}: images of shape {shape} and dtype {images.dtype}; expected uint8 "
            "(n, height, width), or (n, height, width, 3) in colour"
        )
    if 0 in shape:
        raise DataError(f"{what}: there are no images: shape {shape}")
    if labels is None:
        return
    if labels.shape != shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{what}: labels of shape {labels.shape} and dtype {labels.dtype}; expected an "
            f"integer for each image: ({len(images)},)"
        )
    low, high, last = labels.min(), labels.max(), len(names or range(MAX_CLASSES)) - 1
    if low < 0 or high > last:
        raise DataError(f"{what}: labels from {low:,} to {high:,}; expected 0 to {last:,}")
