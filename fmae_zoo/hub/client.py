"""The `huggingface_hub` client with a time limit, bounded retries and the zoo's errors.

Its own limits are for single reads, and several of its requests have none. So each call runs in a
thread, which is given up when the time limit is reached.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fmae_zoo.errors import (
    ArgumentError,
    FmaeError,
    HubConnectionError,
    HubError,
    HubPermissionError,
    HubServerError,
    HubTimeoutError,
    RateLimitError,
)
from fmae_zoo.hub.address import COMMIT
from fmae_zoo.hub.errors import Request, no_token, not_the_hub, translated
from fmae_zoo.hub.options import HubOptions

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

REQUEST_TIMEOUT = 10.0
"""Seconds that the Hub may be silent during one request."""

ATTEMPTS = 4
FIRST_WAIT = 1.0
"""Seconds before the second attempt; each later wait is twice as long."""

PATIENCE = 15.0
"""A call that fails after more seconds is not repeated: `huggingface_hub` has retried it."""

LONG_WAIT = 5.0
"""A wait of at least this many seconds is logged as a warning."""

TRANSIENT = (HubConnectionError, HubTimeoutError, HubServerError, RateLimitError)
"""Errors after which another attempt may succeed."""

_DIGEST = re.compile(r'(W/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?')


class HubClient:
    """A client of the Hub with a time limit, which repeats requests that may succeed later.

    Attributes:
        options: Token, cache folder and time limit.
        left: Seconds that may still be spent on the Hub.
        endpoint: URL of the Hub, without a user name and password.

    Raises:
        ArgumentError: `HF_ENDPOINT` is not a URL.
    """

    def __init__(self, options: HubOptions) -> None:
        from huggingface_hub import constants

        self.options = options
        self.left = options.timeout
        url = urlsplit(constants.ENDPOINT)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ArgumentError(
                f"HF_ENDPOINT is {constants.ENDPOINT!r}; expected a URL: https://HOST"
            )
        self.endpoint = url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()

    @cached_property
    def token(self) -> str | None:
        """The token to send, or None; finding it may need a request.

        Raises:
            HubPermissionError: A token is required but cannot be obtained.
            HubTimeoutError: The time limit is reached.
        """
        from huggingface_hub.utils import get_token_to_send

        if isinstance(self.options.token, str):
            return self.options.token
        request = Request("read", self.endpoint)
        try:
            return self.ask(get_token_to_send, self.options.token, request=request)
        except HubTimeoutError:
            raise
        except FmaeError as error:
            raise HubPermissionError(f"The saved token cannot be had: {error}") from None

    @cached_property
    def api(self) -> Any:
        """The `HfApi` of `huggingface_hub`."""
        from huggingface_hub import HfApi

        from fmae_zoo import __version__

        token = self.token or False
        return HfApi(token=token, library_name="fmae_zoo", library_version=__version__)

    def require(self, task: str, token: bool = False) -> None:
        """Raise an error if a task needs the Hub, and perhaps a token, and cannot have them.

        Raises:
            HubConnectionError: `HF_HUB_OFFLINE` or `local_files_only` is set.
            HubPermissionError: There is no token.
        """
        if self.options.offline:
            reason = "local_files_only" if self.options.local_files_only else "HF_HUB_OFFLINE"
            raise HubConnectionError(f"{task} needs the Hub, but {reason} is set")
        if token and self.token is None:
            raise HubPermissionError(f"{task}: {no_token(self.endpoint)}")

    def download(
        self, repo: str, commit: str, file: str, force: bool = False, kind: str = "model"
    ) -> Path:
        """Return the path of a file in the cache; download it first if it is not there."""
        path = self.call(
            self.api.hf_hub_download,
            repo,
            file,
            repo_type=kind,
            revision=commit,
            cache_dir=self.options.cache,
            force_download=force,
            etag_timeout=REQUEST_TIMEOUT,
            local_files_only=self.options.local_files_only,
            tqdm_class=_silent(),
            request=self.request("read", repo, commit, file),
        )
        return Path(path)

    def request(self, task: str, repo: str = "", revision: str = "", file: str = "") -> Request:
        """Return a description of the request for error messages."""
        cache = str(self.options.cache)
        return Request(task, self.endpoint, repo, revision, file, cache, self.token)

    def call(
        self,
        function: Callable[..., Result],
        *args: Any,
        request: Request,
        attempts: int = ATTEMPTS,
        **kwargs: Any,
    ) -> Result:
        """Call a function within the time left; repeat it after errors that may pass.

        Raises:
            FmaeError: The error of the last attempt, as `errors.translated` returns it.
        """
        attempt = 1
        while True:
            start = time.monotonic()
            try:
                return self.ask(function, *args, request=request, **kwargs)
            except TRANSIENT as error:
                long = time.monotonic() - start > PATIENCE
                if attempt >= attempts or long or not self.wait(attempt, error):
                    raise
            attempt += 1

    def wait(self, attempt: int, error: FmaeError) -> bool:
        """Wait before the next attempt, as the Hub asks; return False if there is none."""
        seconds = getattr(error, "retry_after", None) or FIRST_WAIT * 2 ** (attempt - 1)
        if attempt >= ATTEMPTS or seconds >= self.left:
            return False
        level = logging.WARNING if seconds >= LONG_WAIT else logging.INFO
        logger.log(level, "%s; asking again in %.0f s", error, seconds)
        time.sleep(seconds)
        self.left -= seconds
        return True

    def ask(
        self, function: Callable[..., Result], *args: Any, request: Request, **kwargs: Any
    ) -> Result:
        """Call a function once, in a thread, for at most the time that is left.

        A thread that was given up sends no more requests. Its connection is closed, so that it
        releases any lock that it holds.

        Raises:
            HubTimeoutError: The time limit is reached.
            FmaeError: The call failed; the error is that of `errors.translated`.
        """
        start = time.monotonic()
        work = _Work(request, given_up=self.left <= 0.0)
        result: Future[Result] = Future()

        def run() -> None:
            _working.work = work
            try:
                _prepare()
                result.set_result(function(*args, **kwargs))
            except BaseException as error:
                result.set_exception(error)

        threading.Thread(target=run, daemon=True, name="fmae-hub").start()
        try:
            error = result.exception(min(max(self.left, 0.0), threading.TIMEOUT_MAX))
        except TimeoutError:
            raise HubTimeoutError(
                f"{request.what}: not done within the time limit of {self.options.timeout:g} s. "
                "Set another: timeout=..., or --timeout"
            ) from None
        finally:
            self.left -= time.monotonic() - start
            if not result.done():
                # The user may also have interrupted.
                work.given_up = True
                with suppress(Exception):
                    work.response.close()
        if error is None:
            return result.result()
        # The traceback would show the frames of the transport.
        raise translated(error, request).with_traceback(None) from None


@dataclass
class _Work:
    """State of a worker thread, for the transport's hooks that run in it."""

    request: Request
    given_up: bool
    response: Any = None


_working = threading.local()
"""Thread-local; `work` is the `_Work` of a worker thread. The hooks ignore other threads."""


def _prepare() -> None:
    """Hook into the library's session, which it renews after some failures."""
    from huggingface_hub import get_session

    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_is_shown)
    hooks = get_session().event_hooks
    for name, hook in (("request", _before_request), ("response", _after_response)):
        if hook not in hooks[name]:
            hooks[name].append(hook)


def _is_shown(record: logging.LogRecord) -> bool:
    """Return False for warnings in worker threads; the zoo's own errors suffice."""
    return not hasattr(_working, "work") or record.levelno >= logging.ERROR


def _before_request(request: Any) -> None:
    """Limit the time of each read, and stop the requests of a thread that was given up."""
    work = getattr(_working, "work", None)
    if work is None:
        return
    if work.given_up:
        raise HubTimeoutError(f"{work.request.what}: given up")
    if (request.extensions.get("timeout") or {}).get("read") is None:
        parts = ("connect", "read", "write", "pool")
        request.extensions["timeout"] = dict.fromkeys(parts, REQUEST_TIMEOUT)


def _after_response(response: Any) -> None:
    """Raise the zoo's error where `huggingface_hub` would wait and retry by itself.

    Headers that become file names in the cache must be digests.
    """
    from huggingface_hub.utils import hf_raise_for_status

    work = getattr(_working, "work", None)
    if work is None:
        return
    work.response, headers = response, response.headers
    if response.is_success and "text/html" in headers.get("content-type", ""):
        raise not_the_hub(work.request)
    names = [("X-Repo-Commit", COMMIT, headers.get("x-repo-commit"))]
    # Only the ETag of a HEAD answer becomes a file name; relative redirects are followed first.
    followed = response.is_redirect and headers.get("location", "").startswith("/")
    if response.request.method == "HEAD" and not response.is_error and not followed:
        names.append(("ETag", _DIGEST, headers.get("x-linked-etag") or headers.get("etag")))
    for name, pattern, value in names:
        if value and not pattern.fullmatch(value):
            said = work.request.redacted(repr(value))
            raise HubError(f"{work.request.what}: {name} is {said}; expected a digest")
    if response.status_code == 429 or response.status_code >= 500:
        try:
            hf_raise_for_status(response)
        except Exception as error:
            raise translated(error, work.request) from None


def _silent() -> type:
    """Return a progress bar class that shows nothing, because the files are small and many."""
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):
        # Otherwise tqdm starts a monitor thread for each such class.
        monitor_interval = 0

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options | {"disable": True})

    return Silent
