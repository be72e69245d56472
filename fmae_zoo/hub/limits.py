"""Calls of the Hub's client in threads that are given up when the time is spent.

The client's own limits are for each read, and several of its requests have none.
"""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from fmae_zoo.errors import HubError, HubTimeoutError
from fmae_zoo.hub.address import COMMIT
from fmae_zoo.hub.failures import Request, not_the_hub, translated

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

REQUEST_TIMEOUT = 10.0
"""Seconds that the Hub may be silent in one request."""

_DIGEST = re.compile(r'(W/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?')
"""An ETag by which a cache may name a file: git's SHA-1 or a SHA-256."""


class TimeLimit:
    """Seconds that may still be spent on the Hub: those that pass in `counted` blocks."""

    def __init__(self, seconds: float) -> None:
        self.total = self._left = seconds
        self._since: float | None = None

    @property
    def left(self) -> float:
        """What is left now."""
        passed = 0.0 if self._since is None else time.monotonic() - self._since
        return self._left - passed

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the time of a block, once where blocks are in one another."""
        if self._since is not None:
            yield
            return
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._left, self._since = self.left, None

    def run(self, call: Callable[[], Result], request: Request) -> Result:
        """Return what a call of the client's gives, within the time that is left.

        It runs in a thread that is given up then: it asks the Hub for nothing more, and its
        connection is closed, so that it gives back a lock that it holds.

        Raises:
            HubTimeoutError: the time is spent.
            FmaeError: as `failures.translated` says.
        """
        with self.counted():
            if self.left > 0.0:
                results, errors = _in_thread(call, request, self.left)
                if results:
                    return results[0]
                if errors:
                    logger.debug("%s: %s", request.what, type(errors[0]).__name__)
                    # Without the frames of the transport, in which it may have been made.
                    raise translated(errors[0], request).with_traceback(None) from None
        raise HubTimeoutError(
            f"{request.what}: not done within the time limit of {self.total:g} s. "
            "Set another: timeout=..., or --timeout"
        )


@dataclass
class _Work:
    """What a thread of ours does, for the hooks of the transport that run in it."""

    request: Request
    given_up: bool = False
    response: Any = None


_working = threading.local()
"""Its `work` is the `_Work` of a thread of ours; other threads have none, and are left alone."""


def _before_request(request: Any) -> None:
    """Give a request of ours a time limit for each read, and a thread that is given up no more."""
    work = getattr(_working, "work", None)
    if work is None:
        return
    if work.given_up:
        raise HubTimeoutError(f"{work.request.what}: given up")
    limits = request.extensions.get("timeout") or {}
    if limits.get("read") is None:
        request.extensions["timeout"] = dict.fromkeys(
            ("connect", "read", "write", "pool"), REQUEST_TIMEOUT
        )


def _after_response(response: Any) -> None:
    """Raise the zoo's error for what the client would else wait for, in loops of its own."""
    from huggingface_hub.utils import hf_raise_for_status

    work = getattr(_working, "work", None)
    if work is None:
        return
    work.response = response
    if response.is_success and "text/html" in response.headers.get("content-type", ""):
        raise not_the_hub(work.request)
    _refuse_paths(response, work.request)
    if response.status_code == 429 or response.status_code >= 500:
        try:
            hf_raise_for_status(response)
        except Exception as error:
            raise translated(error, work.request) from None


def _refuse_paths(response: Any, request: Request) -> None:
    """Refuse headers by which the client would name files of the cache, where they are no digests.

    Raises:
        HubError: the commit or the ETag is something else, a path for example.
    """
    headers = response.headers
    commit = headers.get("x-repo-commit")
    if commit is not None and not COMMIT.fullmatch(commit):
        said = request.redacted(repr(commit))
        raise HubError(f"{request.what}: X-Repo-Commit is {said}; expected a commit")
    # The client looks into the answer to HEAD, but not into that which sends it elsewhere.
    elsewhere = response.is_redirect and headers.get("location", "").startswith("/")
    if response.request.method != "HEAD" or response.is_error or elsewhere:
        return
    etag = headers.get("x-linked-etag") or headers.get("etag")
    if etag and not _DIGEST.fullmatch(etag):
        said = request.redacted(repr(etag))
        raise HubError(f"{request.what}: ETag is {said}; expected the file's SHA-1 or SHA-256")


class _Quiet(logging.Filter):
    """Drops what the Hub's client warns of in threads of ours: the zoo's own errors say it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not hasattr(_working, "work") or record.levelno >= logging.ERROR


_quiet = _Quiet()


def _in_thread(
    call: Callable[[], Result], request: Request, seconds: float
) -> tuple[list[Result], list[BaseException]]:
    """Return the result of a call or its error, or neither where it takes longer than that."""
    results: list[Result] = []
    errors: list[BaseException] = []
    work = _Work(request)
    # Not the thread is waited for: one whose `join` is interrupted counts as ended.
    ended = threading.Event()

    def run() -> None:
        _working.work = work
        try:
            _hook()
            results.append(call())
        except BaseException as error:
            errors.append(error)
        ended.set()

    try:
        threading.Thread(target=run, daemon=True, name="fmae-hub").start()
        ended.wait(None if seconds == math.inf else min(max(seconds, 0.0), threading.TIMEOUT_MAX))
    finally:
        if not ended.is_set():
            # Also where the user interrupts.
            work.given_up = True
            with suppress(Exception):
                work.response.close()
    return results, errors


def _hook() -> None:
    """Put the two hooks on the client's session, which it makes anew after some failures."""
    from huggingface_hub import get_session

    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_quiet)
    hooks = get_session().event_hooks
    for name, hook in (("request", _before_request), ("response", _after_response)):
        if hook not in hooks[name]:
            hooks[name].append(hook)
