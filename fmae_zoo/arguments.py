"""Checks of arguments that several public functions take."""

from numbers import Integral
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
