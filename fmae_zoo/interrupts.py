"""Ctrl-C between two steps of a training."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], None]]:
    """Let the first Ctrl-C wait until what this gives is called; a second one acts at once.

    Python raises KeyboardInterrupt wherever it happens to be. In a destructor or in a
    framework's own callback it is printed or lost there, and the training goes on.

    Outside the main thread, and where somebody else handles the signal, nothing changes.
    """
    asked = threading.Event()

    def note(number: int, frame: Any) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()

    def check() -> None:
        if asked.is_set():
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    ours = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield check
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
