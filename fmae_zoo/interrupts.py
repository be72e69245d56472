"""Handling of Ctrl-C, so that it is never lost and stops a training at a safe moment."""

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

INSIST_AFTER = 1.0
"""Seconds after which an interrupt without effect is raised again."""


class _Insisting:
    """Signal handler that raises KeyboardInterrupt again and again until `over` is set."""

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
    """Raise KeyboardInterrupt every second after a Ctrl-C until the block has ended.

    A single KeyboardInterrupt can be lost: if it is raised in a destructor or in a callback of a
    framework, it is only printed or swallowed there, and the work continues.
    """
    insisting = _Insisting()
    with _handled(insisting):
        try:
            yield
        finally:
            insisting.over.set()


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], None]]:
    """Defer the first Ctrl-C until the yielded function is called; a second one acts at once.

    A Ctrl-C after the last call of the function is raised at the end of the block.
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
    """Handle Ctrl-C with a function inside the block.

    Nothing changes outside the main thread, or if other code already handles the signal.
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
