"""Checks of arguments that several public functions take."""

import os
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from fmae_zoo.errors import ArgumentError

MAX_SEED = 2**31 - 1
"""The highest seed that every backend takes."""

MAX_NAME, MAX_PATH = 255, 4000
"""Bytes of a name in a path, and of a path to which names are to be added."""

MAX_SHOWN = 120
"""Characters of a value that an error repeats."""


def check_integer(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Refuse a value that is no integer in a range.

    Raises:
        ArgumentError: naming the argument, the value and the range.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if whole and least <= value and (most is None or value <= most):
        return
    span = f"{least} or more" if most is None else f"{least} to {most}"
    raise ArgumentError(f"{name} is {value!r}; expected an integer, {span}")


def check_seed(seed: Any) -> None:
    """Refuse a seed that not every backend takes.

    Raises:
        ArgumentError: it is no integer, or out of range.
    """
    check_integer("seed", seed, 0, MAX_SEED)


def check_share(name: str, value: Any) -> None:
    """Refuse a value that is no number in [0, 1).

    Raises:
        ArgumentError: naming the argument and the value.
    """
    if not isinstance(value, Real) or not 0.0 <= float(value) < 1.0:
        raise ArgumentError(f"{name} is {value!r}; expected a share in [0, 1)")


def check_number(name: str, value: Any, zero: bool) -> None:
    """Refuse a value that is no finite number above zero, or zero where it is allowed.

    Raises:
        ArgumentError: naming the argument and the value.
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
    """Return the path of a folder, in which `~` is the home folder.

    Raises:
        ArgumentError: it is no path that a file system takes; it names argument and value.
    """
    return _path(name, value, "folder")


def check_file(name: str, value: Any, any_bytes: bool = False) -> Path:
    """Return the path of a file, as `check_folder`; its name may be no text with `any_bytes`.

    Raises:
        ArgumentError: as `check_folder`.
    """
    return _path(name, value, "file", "surrogateescape" if any_bytes else "strict")


def _path(name: str, value: Any, kind: str, errors: str = "strict") -> Path:
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    reason = ""
    if isinstance(text, str) and text:
        try:
            path = Path(text).expanduser()
            longest = max((len(part.encode("utf-8", errors)) for part in path.parts), default=0)
            if "\0" in text:
                reason = ": it holds a NUL character"
            elif longest > MAX_NAME or len(str(path).encode("utf-8", errors)) > MAX_PATH:
                reason = f", of names of at most {MAX_NAME} bytes and {MAX_PATH:,} bytes in all"
            else:
                return path
        except UnicodeEncodeError:
            reason = ": it is no UTF-8"
        except RuntimeError:
            reason = f": there is no such home folder. Set HOME, or write ./{text} if it is a name"
    shown = repr(value)
    shown = shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."
    raise ArgumentError(f"{name} is {shown}; expected the path of a {kind}{reason}")
