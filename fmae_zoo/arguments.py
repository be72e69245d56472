"""Checks of arguments that several public functions have in common."""

import os
from contextlib import suppress
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from fmae_zoo.errors import ArgumentError

PREDICT_BATCH = 500
"""Default number of images in one call of a network."""

MAX_SEED = 2**31 - 1
"""Highest seed that every backend accepts."""

MAX_NAME = 255
"""Largest length in bytes of one name in a path."""

MAX_SHOWN = 120
"""Number of characters of a value that an error message shows."""


def check_integer(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise unless a value is an integer from `least` to `most`, both included.

    Raises:
        ArgumentError: The value is not; the message names the argument, the value and the range.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if whole and least <= value and (most is None or value <= most):
        return
    span = f"{least} or more" if most is None else f"{least} to {most}"
    raise ArgumentError(f"{name} is {value!r}; expected an integer, {span}")


def check_seed(seed: Any) -> None:
    """Raise unless every backend accepts a seed.

    Raises:
        ArgumentError: The seed is not an integer in 0..`MAX_SEED`.
    """
    check_integer("seed", seed, 0, MAX_SEED)


def check_share(name: str, value: Any) -> None:
    """Raise unless a value is a number in [0, 1).

    Raises:
        ArgumentError: The value is not; the message names the argument and the value.
    """
    if not isinstance(value, Real) or not 0.0 <= float(value) < 1.0:
        raise ArgumentError(f"{name} is {value!r}; expected a share in [0, 1)")


def check_number(name: str, value: Any, zero: bool) -> None:
    """Raise unless a value is a finite number above 0, or 0 if `zero` allows it.

    Raises:
        ArgumentError: The value is not; the message names the argument and the value.
    """
    try:
        number = float(value) if isinstance(value, Real) else -1.0
    except OverflowError:
        number = float("inf")
    if 0.0 < number < float("inf") or (zero and number == 0.0):
        return
    wanted = "of 0 or more" if zero else "above 0"
    raise ArgumentError(f"{name} is {value!r}; expected a finite number {wanted}")


def check_folder(name: str, value: Any) -> Path:
    """Return the path of a folder, with `~` replaced by the home folder.

    Raises:
        ArgumentError: The value is not a valid path; the message names argument and value.
    """
    return _path(name, value, "folder")


def check_file(name: str, value: Any, any_bytes: bool = False) -> Path:
    """Return the path of a file, with `~` replaced by the home folder.

    With `any_bytes`, the name may hold bytes that are not valid UTF-8.

    Raises:
        ArgumentError: As for `check_folder`.
    """
    return _path(name, value, "file", "surrogateescape" if any_bytes else "strict")


def _path(name: str, value: Any, kind: str, errors: str = "strict") -> Path:
    try:
        path = Path(value).expanduser()
        str(path).encode("utf-8", errors)
        if not os.fspath(value):
            raise ValueError("it is empty")
        if max(len(os.fsencode(part)) for part in path.parts or [""]) > MAX_NAME:
            raise ValueError(f"a name in it is longer than {MAX_NAME} bytes")
        # The system's own limits; a path that does not exist yet may be right.
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            path.lstat()
        return path
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        shown = repr(value)
        shown = shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, RuntimeError):
            reason = f"there is no such home folder. Set HOME, or write ./{value} if it is a name"
        raise ArgumentError(f"{name} is {shown}; expected the path of a {kind}: {reason}") from None
