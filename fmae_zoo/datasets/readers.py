"""Readers of several file formats into a `Dataset`; nothing in a file is executed."""

import gzip
import io
import json
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fmae_zoo.datasets.dataset import Dataset, check_arrays, shuffled
from fmae_zoo.datasets.idx import parse_idx, read_idx, read_idx_folder
from fmae_zoo.datasets.table import DEFAULT, TABLE
from fmae_zoo.errors import AbsentDataError, DataError, FmaeError
from fmae_zoo.extras import needed
from fmae_zoo.images import PICTURE_SUFFIXES, on_black

Splits: TypeAlias = dict[str, tuple[np.ndarray, np.ndarray | None]]
"""Images and labels of `train`, and of `validation` and `test` if there are such splits."""

Picture: TypeAlias = tuple[str, str, np.ndarray, Any]
"""Split, name, pixels and label of one picture."""

SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Words that stand for each split in the names of files, folders and arrays."""


def read_path(path: Path) -> Dataset:
    """Read a data set from a folder or a file of any supported format.

    Raises:
        DataError: If it is damaged, has no images, or has an unknown format.
    """
    try:
        if path.is_file():
            return _read_file(path)
        if any(name.removesuffix(".gz") in TABLE[DEFAULT].files for name in _names(path)):
            return read_idx_folder(path)
        if arrays := {file.stem: np.load(file, allow_pickle=False) for file in path.glob("*.npy")}:
            return assembled(_of_arrays(arrays, path), str(path))
        if tables := sorted(path.rglob("*.parquet")):
            return read_parquet(by_split((str(t.relative_to(path)), t) for t in tables), str(path))
        return _read_pictures(path)
    except FmaeError:
        raise
    except Exception as error:
        # Decoders of damaged files can raise almost any exception.
        why = "" if "pickle" in str(error) else f": {error}"
        raise DataError(f"{path}: damaged, or of no format that is known{why}") from error


def _read_file(path: Path) -> Dataset:
    if path.suffix == ".parquet":
        return read_parquet({"train": [path]}, str(path))
    if path.suffix == ".npz":
        return read_npz(path)
    if path.suffix == ".npy":
        return assembled(_of_arrays({"images": np.load(path, allow_pickle=False)}, path), str(path))
    if path.name.endswith((".tar", ".tar.gz", ".tgz")):
        return read_cifar(path)
    return assembled({"train": (read_idx(path), None)}, str(path))


def assembled(splits: Splits, source: str, names: tuple[str, ...] | None = None) -> Dataset:
    """Return a data set made of its splits; validation images become the last training images.

    Without a test split, the validation split is used for testing; without both, a sixth of the
    training images, at most 10,000, is taken for testing.
    """
    parts = {kind: (_bytes(each, source), _whole(own)) for kind, (each, own) in splits.items()}
    for kind, part in parts.items():
        check_arrays(f"{source}: {kind}", *part, names)
    if "train" not in parts:
        raise DataError(f"{source}: no training images; found {', '.join(parts) or 'none'}")
    images, labels = parts["train"]
    validation = 0
    if "test" not in parts and "validation" in parts:
        parts["test"] = parts["validation"]
    elif "test" not in parts:
        if len(images) < 3:
            raise DataError(f"{source}: {len(images)} images; three are the least, one to test")
        order, size = shuffled(len(images))
        held_out, rows = np.sort(order[-size:]), np.sort(order[:-size])
        parts["test"] = (images[held_out], None if labels is None else labels[held_out])
        images, labels = images[rows], None if labels is None else labels[rows]
    elif "validation" in parts:
        extra, extra_labels = parts["validation"]
        if extra.shape[1:] != images.shape[1:] or (extra_labels is None) != (labels is None):
            raise DataError(f"{source}: the images to validate are not as those to train on")
        images, validation = np.concatenate([images, extra]), len(extra)
        labels = None if labels is None else np.concatenate([labels, extra_labels])
    return Dataset(images, labels, *parts["test"], source, class_names=names, validation=validation)


def _bytes(images: np.ndarray, source: str) -> np.ndarray:
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if np.issubdtype(images.dtype, np.floating):
        if not np.all((images >= 0.0) & (images <= 1.0)):
            raise DataError(f"{source}: images of floats outside [0, 1]; expected uint8 in 0..255")
        images = np.rint(images * 255.0).astype(np.uint8)
    return images


def _whole(labels: np.ndarray | None) -> np.ndarray | None:
    """Return labels as `(n,)`, converted to uint8 if all of them fit."""
    if labels is None:
        return None
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    small = np.issubdtype(labels.dtype, np.integer) and labels.size
    return labels.astype(np.uint8) if small and 0 <= labels.min() <= labels.max() < 256 else labels


def _of_arrays(arrays: Mapping[str, np.ndarray], path: Path) -> Splits:
    """Return the splits in named arrays: `train_images`, `x_train`, `val_labels`, `y_test`, ..."""
    splits: Splits = {}
    for split, words in SPLITS.items():
        for word in words:
            images = _first(arrays, f"{word}_images", f"x_{word}", f"{word}_x")
            if images is not None:
                labels = _first(arrays, f"{word}_labels", f"y_{word}", f"{word}_y")
                splits[split] = (images, labels)
    if not splits and (images := _first(arrays, "images", "x", "data", "arr_0")) is not None:
        splits["train"] = (images, _first(arrays, "labels", "y", "target"))
    if not splits:
        known = "train_images, train_labels, test_images, ..., or x_train and the like, or images"
        raise DataError(f"{path}: expected arrays {known}; it holds {', '.join(arrays)}")
    return splits


def _first(arrays: Mapping[str, np.ndarray], *keys: str) -> np.ndarray | None:
    return next((arrays[key] for key in keys if key in arrays), None)


def read_npz(path: Path, names: tuple[str, ...] | None = None) -> Dataset:
    """Read a NumPy archive, the format of Keras, MedMNIST and many other publishers."""
    with np.load(path, allow_pickle=False) as arrays:
        return assembled(_of_arrays(arrays, path), str(path), names)


def read_cifar(path: Path, names: tuple[str, ...] | None = None) -> Dataset:
    """Read CIFAR-10's binary tar archive (the Python version contains pickles)."""
    record = 1 + 3 * 32 * 32
    batches: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    with tarfile.open(path) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            found = re.fullmatch(r"(?:.*/)?(data|test)_batch(_\d)?\.bin", member.name)
            file = archive.extractfile(member) if found and member.isfile() else None
            if file is not None and found is not None:
                split = "test" if found[1] == "test" else "train"
                batches[split].append(np.frombuffer(file.read(), np.uint8).reshape(-1, record))
    splits: Splits = {}
    for split, parts in batches.items():
        if not parts:
            raise DataError(f"{path}: no {split} batches *.bin; get cifar-10-binary.tar.gz")
        rows = np.concatenate(parts)
        splits[split] = (rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0])
    return assembled(splits, str(path), names)


def read_emnist(path: Path, names: tuple[str, ...] | None = None) -> Dataset:
    """Read EMNIST's balanced set from NIST's archive, whose images are stored transposed."""
    splits: Splits = {}
    with zipfile.ZipFile(path) as archive:
        for split in ("train", "test"):
            images, labels = (
                parse_idx(gzip.decompress(archive.read(member)), f"{path}: {member}")
                for kind in ("images-idx3", "labels-idx1")
                for member in [f"gzip/emnist-balanced-{split}-{kind}-ubyte.gz"]
            )
            splits[split] = (images.transpose(0, 2, 1), labels)
    return assembled(splits, str(path), names)


def by_split(files: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    """Group files by the split in their names; files without one belong to `train`."""
    found: dict[str, list[Path]] = {}
    for name, path in files:
        words = re.split(r"[^a-z]+", name.lower())
        split = next((split for split, known in SPLITS.items() if set(known) & set(words)), "train")
        found.setdefault(split, []).append(path)
    return found


def read_parquet(tables: Mapping[str, list[Path]], source: str) -> Dataset:
    """Read Parquet tables as on the Hub, with a column of images and optionally one of labels.

    Raises:
        ArgumentError: pyarrow is not installed.
        DataError: There is no column of images, or a picture cannot be read.
    """
    pq = needed("pyarrow.parquet", "parquet")
    pictures: list[Picture] = []
    names: tuple[str, ...] | None = None
    for split, paths in tables.items():
        for path in paths:
            schema = pq.read_schema(path)
            about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
            features = about.get("info", {}).get("features", {})
            image, label = _columns(schema, source)
            names = tuple(features.get(label, {}).get("names", ())) or names
            table = pq.read_table(path, columns=[image, label] if label else [image])
            labels = table.column(label).to_pylist() if label else [None] * len(table)
            for row, (value, number) in enumerate(zip(table.column(image).to_pylist(), labels)):
                content = value["bytes"] if isinstance(value, dict) else value
                name = f"{path.name}[{row}]"
                pictures.append((split, name, _pixels(io.BytesIO(content), name), number))
    return _of_pictures(pictures, source, names)


def _columns(schema: Any, source: str) -> tuple[str, str | None]:
    """Return the first column that can hold images, and the first that can hold labels or None."""
    pa = needed("pyarrow", "parquet")

    def holds_files(kind: Any) -> bool:
        is_file = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        return is_file or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    images = [field.name for field in schema if holds_files(field.type)]
    numbers = [field.name for field in schema if pa.types.is_integer(field.type)]
    if not images:
        raise DataError(f"{source}: no column of images; there are {', '.join(schema.names)}")
    return images[0], next((n for n in numbers if re.search("label|class|target", n)), None)


def _read_pictures(folder: Path) -> Dataset:
    """Read pictures from split folders (`train`, ...), or else from all; subfolders are classes."""
    parts = {
        split: folder / name
        for split, words in SPLITS.items()
        for name in _names(folder)
        if name.lower() in words and (folder / name).is_dir()
    }
    parts = parts or {"train": folder}
    files = [
        (split, file.relative_to(part), file)
        for split, part in parts.items()
        for file in sorted(part.rglob("*"))
        if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file()
        if not any(each.startswith(".") for each in file.relative_to(part).parts)
    ]
    if not files:
        raise AbsentDataError(
            f"{folder}: no data set in it: neither the four IDX files ("
            f"{', '.join(TABLE[DEFAULT].files)}), nor pictures, .parquet or .npy files"
        )
    names = sorted({path.parts[0] for _, path, _ in files if len(path.parts) > 1})
    loose = next((file for _, path, file in files if len(path.parts) == 1), None)
    if names and loose is not None:
        raise DataError(f"{loose}: a picture beside the folders of classes: {', '.join(names)}")
    numbers = {name: number for number, name in enumerate(names)}
    pictures = [
        (split, str(path), _pixels(file, str(file)), numbers.get(path.parts[0]))
        for split, path, file in files
    ]
    return _of_pictures(pictures, str(folder), tuple(names) or None)


def _pixels(file: Any, name: str) -> np.ndarray:
    """Return a picture as uint8: `(height, width)` if it is grey, else `(height, width, 3)`."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode[0] in "IF":
                raise DataError(f"pixels of {picture.mode}; expected 8 bits")
            mode = "L" if picture.mode in ("1", "L", "LA") else "RGB"
            return np.asarray(on_black(picture, mode), dtype=np.uint8)
    except Exception as error:
        # Decoders of damaged pictures can raise almost any exception.
        raise DataError(f"{name}: not a readable picture: {error}") from error


def _of_pictures(pictures: list[Picture], source: str, names: tuple[str, ...] | None) -> Dataset:
    sizes = Counter(pixels.shape[:2] for _, _, pixels, _ in pictures)
    if len(sizes) > 1:
        found = ", ".join(f"{h}x{w} ({count:,})" for (h, w), count in sizes.most_common(8))
        raise DataError(f"{source}: pictures of {len(sizes)} sizes, height x width: {found}")
    in_colour = any(pixels.ndim == 3 for _, _, pixels, _ in pictures)
    splits: Splits = {}
    for split in dict.fromkeys(split for split, *_ in pictures):
        own = [each for each in pictures if each[0] == split]
        pixels = [each[2] for each in own]
        if in_colour:
            pixels = [p if p.ndim == 3 else np.stack([p] * 3, axis=-1) for p in pixels]
        labels = [each[3] for each in own]
        splits[split] = (np.stack(pixels), None if None in labels else np.array(labels))
    return assembled(splits, source, names)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
