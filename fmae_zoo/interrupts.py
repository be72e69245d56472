"""Ctrl-C: at a moment of our choice in a training, and never lost."""

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

INSIST_AFTER = 1.0
"""Seconds after which an interrupt that has had no effect is raised again."""


class _Insisting:
    """Raises KeyboardInterrupt, and again until somebody says that it is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self, number: int, frame: Any) -> None:
        timer = threading.Timer(INSIST_AFTER, self._again)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    def _again(self) -> None:
        if not self.over.is_set():
            _thread.interrupt_main()


@contextmanager
def insistent_interrupts() -> Iterator[None]:
    """Raise a Ctrl-C again each second until it has ended the block.

    Python raises KeyboardInterrupt wherever it happens to be. In a destructor or in a
    framework's own callback it is printed or lost there, and the work goes on.
    """
    insisting = _Insisting()
    with _handled(insisting):
        try:
            yield
        finally:
            insisting.over.set()


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], None]]:
    """Let the first Ctrl-C wait until what this gives is called; a second one acts at once.

    One that comes after the last call is raised at the end of the block.
    """
    asked, raised = threading.Event(), threading.Event()

    def note(number: int, frame: Any) -> None:
        if asked.is_set():
            raised.set()
            signal.default_int_handler(number, frame)
        asked.set()

    def check() -> None:
        if asked.is_set():
            raised.set()
            raise KeyboardInterrupt

    with _handled(note):
        yield check
    if not raised.is_set():
        check()


@contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Handle Ctrl-C so inside the block.

    Outside the main thread, and where somebody else handles the signal, nothing changes.
    """
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or not (before is signal.default_int_handler or isinstance(before, _Insisting)):
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
