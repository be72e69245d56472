"""Atomic writing of files: an interruption or a full disk never leaves half a file."""

import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fmae_zoo.errors import WeightsError

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}")
SAVING = ".saving-"
"""Prefix of the temporary folders in which an entry is prepared."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; on success flush it to disk and rename it to `path`.

    After any failure `path` holds either the old content or all of the new content.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def regular(path: Path) -> Path:
    """Return the path of a file if it is a regular file.

    Raises:
        OSError: The file is missing, or is a pipe or device, whose reading might never end.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(f"not a regular file: {str(path)!r}")
    return path


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8"))


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed writers from a folder that no other process writes to."""
    for path in folder.glob(".*"):
        if path.is_dir() and path.name.startswith(SAVING):
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file() and TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 of the content as hexadecimal text."""
    return hashlib.sha256(content).hexdigest()


def read_verified(path: Path, sha256: str | None, max_bytes: int | None = None) -> bytes:
    """Return the content of a file of an entry.

    Args:
        path: Path of the file.
        sha256: Expected digest, or None.
        max_bytes: Largest size, checked before the file is read, or None.

    Raises:
        WeightsError: The file is missing, too large, not a regular file, or has another digest.
    """
    try:
        size = regular(path).stat().st_size
        if max_bytes is not None and size > max_bytes:
            raise WeightsError(
                f"{path}: {size:,} bytes, where this model needs at most {max_bytes:,}"
            )
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from error
    received = sha256_of(content)
    if sha256 not in (None, received):
        raise WeightsError(
            f"{path}: the file is damaged or altered.\n"
            f"  SHA-256 expected {sha256}\n  SHA-256 received {received}"
        )
    return content


def has_digest(path: Path, sha256: str) -> bool:
    """Return whether a file exists, can be read and has this SHA-256."""
    try:
        return sha256_of(regular(path).read_bytes()) == sha256
    except OSError:
        return False
