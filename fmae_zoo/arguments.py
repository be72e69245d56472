"""Checks of arguments that several public functions take."""

import os
from numbers import Integral, Real
from typing import Any

from fmae_zoo.errors import ArgumentError

MAX_SEED = 2**31 - 1
"""The highest seed that every backend takes."""


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


def check_folder(name: str, value: Any) -> None:
    """Refuse a value that is no path.

    Raises:
        ArgumentError: naming the argument and the value.
    """
    if not isinstance(value, (str, os.PathLike)) or value == "" or "\0" in str(value):
        raise ArgumentError(f"{name} is {value!r}; expected the path of a folder")
