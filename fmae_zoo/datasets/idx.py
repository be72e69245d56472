"""IDX files, the format of Fashion-MNIST and similar data sets."""

import gzip
import hashlib
import logging
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fmae_zoo.arguments import check_file
from fmae_zoo.datasets.dataset import Dataset
from fmae_zoo.datasets.table import DEFAULT, TABLE, Listed
from fmae_zoo.errors import AbsentDataError, DataError
from fmae_zoo.files import atomic_write, regular, sha256_of

logger = logging.getLogger(__name__)

MAX_BYTES = 1 << 32


def read_idx(path: str | Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not.

    Raises:
        DataError: If it is not an IDX file, cannot be read, is truncated or has extra bytes.
        ArgumentError: If `path` is not a path.
    """
    path = check_file("path", path)
    return parse_idx(unpacked(path), str(path))


def parse_idx(content: bytes, source: str) -> np.ndarray:
    """Return the array stored in the content of an IDX file.

    Raises:
        DataError: If it is not an IDX file, is truncated or has extra bytes.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or not 1 <= content[3] <= 4:
        raise DataError(f"{source}: not an IDX file of unsigned bytes")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(f"{source}: truncated in its header")
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    expected = 1
    for extent in shape:
        expected *= extent
    if len(content) - start != expected:
        raise DataError(
            f"{source}: its header promises {expected:,} bytes of data, "
            f"it has {len(content) - start:,}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def unpacked(path: Path) -> bytes:
    """Return the content of a file, decompressed if it is gzipped.

    Raises:
        DataError: If the file is damaged or cannot be read.
    """
    try:
        content = regular(path).read_bytes()
        if content[:2] != b"\x1f\x8b":
            return content
        with gzip.open(path) as file:
            return file.read(MAX_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        known = TABLE[DEFAULT].files.get(path.name.removesuffix(".gz"), "not known")
        raise DataError(
            f"{path}: truncated or damaged: {error} (SHA-256 of its content: expected "
            f"{known.removeprefix('sha256:')}; received, as far as it can be read, "
            f"{sha256_of(_salvaged(content))})"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _salvaged(content: bytes) -> bytes:
    """Return the part of a damaged gzip file that can still be decompressed."""
    stream = zlib.decompressobj(wbits=31)
    pieces = []
    for start in range(0, len(content), 1024):
        try:
            pieces.append(stream.decompress(content[start : start + 1024], MAX_BYTES))
        except zlib.error:
            break
    return b"".join(pieces)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an array of unsigned bytes as an IDX file."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    with atomic_write(path) as file:
        file.write(header + array.tobytes())


def read_idx_folder(folder: Path, listed: Listed | None = None) -> Dataset:
    """Read the four IDX files of a folder, and check their digests against the table.

    Without `listed`, other data sets with the file names of Fashion-MNIST are read with a warning.

    Raises:
        AbsentDataError: If a file is missing.
        DataError: If a file is damaged, empty, or differs from the listed one; or, without
            `listed`, if some of the files are Fashion-MNIST's and others are not.
    """
    known = listed or TABLE[DEFAULT]
    arrays: list[np.ndarray] = []
    files: dict[str, str] = {}
    wrong: list[str] = []
    for name, digest in known.files.items():
        stem = name.removesuffix(".gz")
        path = next((p for p in (folder / name, folder / f"{stem}.gz") if p.is_file()), None)
        if path is None:
            raise AbsentDataError(f"no file {stem}[.gz] in {folder}")
        content = unpacked(path)
        files[stem] = sha256_of(content)
        digests = compared(path.read_bytes() if name.endswith(".gz") else content, digest)
        try:
            arrays.append(parse_idx(content, str(path)))
        except DataError as error:
            raise DataError(f"{error} ({digests or 'as published'})") from error
        if digests:
            wrong.append(f"{path}: the file is truncated or altered ({digests})")
    if wrong and listed:
        raise DataError(wrong[0])
    if 0 < len(wrong) < len(known.files):
        raise DataError(f"{wrong[0]}; other files in the folder are {known.title}'s")
    if wrong:
        logger.warning("%s: not %s, so its digests cannot be checked", folder, known.title)
    if not len(arrays[0]) or not len(arrays[2]):
        raise DataError(f"{folder}: there are no {'test' if len(arrays[0]) else 'training'} images")
    facts: dict[str, Any] = {}
    if not wrong:
        facts = {"listed": known.name, "class_names": known.classes}
    images, labels, test_images, test_labels = arrays
    return Dataset(images, labels, test_images, test_labels, str(folder), files=files, **facts)


def compared(content: bytes, digest: str) -> str:
    """Return a message with both digests if they differ (`ALGORITHM:HEX`), else an empty text."""
    algorithm, _, expected = digest.partition(":")
    received = hashlib.new(algorithm, content).hexdigest()
    title = {"sha256": "SHA-256", "md5": "MD5"}[algorithm]
    if received == expected:
        return ""
    return f"{title} of its content: expected {expected}, received {received}"
