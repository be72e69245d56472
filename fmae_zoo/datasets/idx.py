"""IDX files, the format of Fashion-MNIST and similar data sets."""

import gzip
import hashlib
import logging
import struct
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
    try:
        magic, rank = struct.unpack_from(">3sB", content)
        shape = struct.unpack_from(f">{rank}I", content, offset=4)
        if magic != b"\x00\x00\x08" or not 1 <= rank <= 4:
            raise ValueError(f"it begins with {content[:4]!r}")
        return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (struct.error, ValueError) as error:
        raise DataError(f"{source}: not a whole IDX file of unsigned bytes: {error}") from error


def unpacked(path: Path) -> bytes:
    """Return the content of a file, decompressed if it is gzipped.

    Raises:
        DataError: If the file is damaged or cannot be read.
    """
    try:
        content = regular(path).read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged, or cannot be read: {error}") from error


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
        DataError: If a file is damaged, or differs from the listed one; or, without `listed`, if
            some of the files are Fashion-MNIST's and others are not.
    """
    known = listed or TABLE[DEFAULT]
    arrays: list[np.ndarray] = []
    files: dict[str, str] = {}
    wrong: list[DataError] = []
    for name, digest in known.files.items():
        stem = name.removesuffix(".gz")
        path = next((p for p in (folder / name, folder / f"{stem}.gz") if p.is_file()), None)
        if path is None:
            raise AbsentDataError(f"no file {stem}[.gz] in {folder}")
        content = unpacked(path)
        files[stem] = sha256_of(content)
        try:
            check_digest(path, path.read_bytes() if name.endswith(".gz") else content, digest)
        except DataError as error:
            wrong.append(error)
        arrays.append(parse_idx(content, str(path)))
    if wrong and (listed or len(wrong) < len(known.files)):
        raise wrong[0]
    facts: dict[str, Any] = {"listed": known.name, "class_names": known.classes}
    if wrong:
        logger.warning("%s: not %s, so its digests cannot be checked", folder, known.title)
        facts = {}
    images, labels, test_images, test_labels = arrays
    return Dataset(images, labels, test_images, test_labels, str(folder), files=files, **facts)


def check_digest(path: Path, content: bytes, digest: str) -> None:
    """Raise an error unless the content of a file has a digest, `ALGORITHM:HEX`.

    Raises:
        DataError: If the content is another; the message has both digests.
    """
    algorithm, _, expected = digest.partition(":")
    received = hashlib.new(algorithm, content).hexdigest()
    if received != expected:
        raise DataError(
            f"{path}: the file is truncated or altered: {algorithm} expected {expected}, "
            f"received {received}"
        )
