"""Calls of `huggingface_hub` in threads, which are given up when the time limit is reached.

Its own limits are for single reads, and several of its requests have none.
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
"""Seconds that the Hub may be silent during one request."""

_DIGEST = re.compile(r'(W/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?')
"""An ETag that is a digest, git's SHA-1 or a SHA-256, and so a safe file name in the cache."""


class TimeLimit:
    """Seconds that may still be spent on the Hub; only `counted` blocks use them up."""

    def __init__(self, seconds: float) -> None:
        self.total = self._left = seconds
        self._since: float | None = None

    @property
    def left(self) -> float:
        """Seconds that are left now."""
        passed = 0.0 if self._since is None else time.monotonic() - self._since
        return self._left - passed

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the time of a block; nested blocks are counted once."""
        if self._since is not None:
            yield
            return
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._left, self._since = self.left, None

    def run(self, call: Callable[[], Result], request: Request) -> Result:
        """Return the result of a call, which runs in a thread for at most the time that is left.

        A thread that was given up sends no more requests. Its connection is closed, so that it
        releases any lock that it holds.

        Raises:
            HubTimeoutError: The time limit is reached.
            FmaeError: The call failed; the error is that of `failures.translated`.
        """
        with self.counted():
            if self.left > 0.0:
                results, errors = _in_thread(call, request, self.left)
                if results:
                    return results[0]
                if errors:
                    logger.debug("%s: %s", request.what, type(errors[0]).__name__)
                    # The traceback would show the frames of the transport.
                    raise translated(errors[0], request).with_traceback(None) from None
        raise HubTimeoutError(
            f"{request.what}: not done within the time limit of {self.total:g} s. "
            "Set another: timeout=..., or --timeout"
        )


@dataclass
class _Work:
    """State of a worker thread, for the transport's hooks that run in it."""

    request: Request
    given_up: bool = False
    response: Any = None


_working = threading.local()
"""Thread-local; `work` is the `_Work` of a worker thread. The hooks ignore other threads."""


def _before_request(request: Any) -> None:
    """Limit the time of each read, and stop the requests of a thread that was given up."""
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
    """Raise the zoo's error where `huggingface_hub` would wait and retry by itself."""
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
    """Raise an error if headers that become file names in the cache are not digests.

    Raises:
        HubError: The commit or the ETag is something else, such as a path.
    """
    headers = response.headers
    commit = headers.get("x-repo-commit")
    if commit is not None and not COMMIT.fullmatch(commit):
        said = request.redacted(repr(commit))
        raise HubError(f"{request.what}: X-Repo-Commit is {said}; expected a commit")
    # Only the ETag of a HEAD answer becomes a file name; relative redirects are followed first.
    elsewhere = response.is_redirect and headers.get("location", "").startswith("/")
    if response.request.method != "HEAD" or response.is_error or elsewhere:
        return
    etag = headers.get("x-linked-etag") or headers.get("etag")
    if etag and not _DIGEST.fullmatch(etag):
        said = request.redacted(repr(etag))
        raise HubError(f"{request.what}: ETag is {said}; expected the file's SHA-1 or SHA-256")


class _Quiet(logging.Filter):
    """Drops warnings of `huggingface_hub` in worker threads; the zoo's own errors suffice."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not hasattr(_working, "work") or record.levelno >= logging.ERROR


_quiet = _Quiet()


def _in_thread(
    call: Callable[[], Result], request: Request, seconds: float
) -> tuple[list[Result], list[BaseException]]:
    """Return the result of a call or its error in a list; both lists are empty after `seconds`."""
    results: list[Result] = []
    errors: list[BaseException] = []
    work = _Work(request)
    # An event, because a thread whose `join` is interrupted counts as ended.
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
            # The user may also have interrupted.
            work.given_up = True
            with suppress(Exception):
                work.response.close()
    return results, errors


def _hook() -> None:
    """Add the two hooks to the session, which `huggingface_hub` renews after some failures."""
    from huggingface_hub import get_session

    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_quiet)
    hooks = get_session().event_hooks
    for name, hook in (("request", _before_request), ("response", _after_response)):
        if hook not in hooks[name]:
            hooks[name].append(hook)
