"""Packages that only some functions need, installed as extras of this package."""

from importlib import import_module
from typing import Any

from fmae_zoo.errors import ArgumentError


def needed(module: str, extra: str) -> Any:
    """Import and return a module of an extra.

    Raises:
        ArgumentError: The module is not installed; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError:
        raise ArgumentError(
            f'This needs {module}, which is not installed: pip install "fmae-zoo[{extra}]"'
        ) from None
