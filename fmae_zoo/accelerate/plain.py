"""The switch between the faster paths and plain Keras."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_plain: ContextVar[bool] = ContextVar("plain", default=False)
PLAIN_VARIABLE = "FMAE_PLAIN_KERAS"
"""Environment variable: 1 leaves every faster path out."""


@contextmanager
def plain_keras() -> Iterator[None]:
    """Leave every faster path out of what is built and compiled inside the block."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def is_plain() -> bool:
    """Whether Keras alone runs the models."""
    return _plain.get() or os.environ.get(PLAIN_VARIABLE) == "1"
