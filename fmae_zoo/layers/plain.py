"""The switch between the zoo's ways of computing, and Keras' own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_plain: ContextVar[bool] = ContextVar("plain", default=False)
PLAIN_VARIABLE = "FMAE_PLAIN_KERAS"
"""Environment variable: 1 builds and runs models by nothing but Keras' own."""


@contextmanager
def plain_keras() -> Iterator[None]:
    """Leave everything to Keras that is built, trained or evaluated inside the block."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def is_plain() -> bool:
    """Whether Keras alone builds and runs the models."""
    return _plain.get() or os.environ.get(PLAIN_VARIABLE) == "1"
