"""The switch between the zoo's computations and plain Keras."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_plain: ContextVar[bool] = ContextVar("plain", default=False)
PLAIN_VARIABLE = "FMAE_PLAIN_KERAS"
"""Environment variable; the value 1 makes Keras alone build and run models."""


@contextmanager
def plain_keras() -> Iterator[None]:
    """Let Keras alone build, train and evaluate models inside the block."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def is_plain() -> bool:
    """Return whether Keras alone builds and runs the models."""
    return _plain.get() or os.environ.get(PLAIN_VARIABLE) == "1"
