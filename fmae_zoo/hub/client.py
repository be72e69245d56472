"""The Hub's own client, with a total time limit, bounded retries and the zoo's errors."""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, replace
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
from fmae_zoo.hub.failures import Request, no_token, not_the_hub, translated
from fmae_zoo.hub.options import HubOptions

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

ATTEMPTS = 4
FIRST_WAIT = 1.0
"""Seconds before the second attempt; each later wait is twice as long."""

PATIENCE = 15.0
"""Seconds after which a failure is final: the Hub's client has then tried again by itself."""

REQUEST_TIMEOUT = 10.0
"""Seconds that the Hub may be silent in one request."""

LONG_WAIT = 5.0
"""Seconds of a wait of which the user is told."""

_DIGEST = re.compile(r'(W/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?')
"""An ETag by which a cache may name a file: git's SHA-1 or a SHA-256."""

TRANSIENT = (HubConnectionError, HubTimeoutError, HubServerError, RateLimitError)
"""What may be gone when one asks again."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as the Hub lists it.

    Attributes:
        size: in bytes.
        blob: git's SHA-1 of it, or of its pointer where the Hub stores it apart (LFS, Xet).
        sha256: where it is stored apart.
    """

    size: int | None
    blob: str | None
    sha256: str | None


@dataclass(frozen=True)
class RepoState:
    """A repo at one commit."""

    commit: str
    private: bool
    files: dict[str, RemoteFile]


class TimeLimit:
    """Seconds that may still be spent on the Hub: those that pass in `counted` blocks."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
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


class HubClient:
    """Asks the Hub.

    Every request runs in a thread that is given up when the time is spent: the client's own
    limits are per read, and several of its requests have none.

    Attributes:
        options: token, cache and time limit.
        limit: what is left of the time.
        endpoint: URL of the Hub.
    """

    def __init__(self, options: HubOptions) -> None:
        from huggingface_hub import constants

        self.options = options
        self.limit = TimeLimit(options.timeout)
        self.endpoint = _shown(constants.ENDPOINT)

    def with_cache(self, folder: str | Path) -> "HubClient":
        """Return a client that shares all but the cache, the time limit too."""
        client = copy(self)
        client.options = replace(self.options, cache_dir=folder)
        return client

    @cached_property
    def token(self) -> str | None:
        """The token that is sent, or None. To find it may take a request of the client's own.

        Raises:
            HubPermissionError: there should be one, and it cannot be had.
        """
        from huggingface_hub.utils import get_token_to_send

        if isinstance(self.options.token, str):
            return self.options.token
        try:
            return self._limited(
                get_token_to_send, (self.options.token,), {}, Request("read", self.endpoint)
            )
        except HubTimeoutError:
            raise
        except FmaeError as error:
            raise HubPermissionError(f"The saved token cannot be had: {error}") from None

    @cached_property
    def api(self) -> Any:
        """The Hub's own client."""
        import huggingface_hub

        import fmae_zoo

        return huggingface_hub.HfApi(
            token=self.token or False,
            library_name="fmae_zoo",
            library_version=fmae_zoo.__version__,
        )

    def require_token(self) -> None:
        """Refuse to go on without a token.

        Raises:
            HubPermissionError: there is none.
        """
        if self.token is None:
            raise HubPermissionError(no_token(self.endpoint))

    def state(self, repo: str, revision: str, attempts: int = ATTEMPTS) -> RepoState:
        """Return commit and files of a repo at a revision."""
        info = self.call(
            self.api.model_info,
            repo,
            revision=revision,
            files_metadata=True,
            timeout=REQUEST_TIMEOUT,
            request=self.request("read", repo, revision),
            attempts=attempts,
        )
        files = {
            file.rfilename: RemoteFile(
                file.size, file.blob_id, file.lfs.sha256 if file.lfs else None
            )
            for file in info.siblings or ()
        }
        whole = all(
            isinstance(file.size, (int, type(None)))
            and isinstance(file.blob, (str, type(None)))
            and isinstance(file.sha256, (str, type(None)))
            for file in files.values()
        )
        if not whole or not COMMIT.fullmatch(str(info.sha)):
            raise not_the_hub(self.request("read", repo, revision))
        return RepoState(info.sha, bool(info.private), files)

    def download(
        self, repo: str, commit: str, file: str, force: bool = False, kind: str = "model"
    ) -> Path:
        """Return the path of a file in the cache, which is downloaded where it is not there."""

        def downloaded() -> str:
            path: str = self.api.hf_hub_download(
                repo,
                file,
                repo_type=kind,
                revision=commit,
                cache_dir=self.options.cache,
                force_download=force,
                etag_timeout=REQUEST_TIMEOUT,
                local_files_only=self.options.local_files_only,
                tqdm_class=_silent(),
            )
            return path

        return Path(self.call(downloaded, request=self.request("read", repo, commit, file)))

    def request(self, task: str, repo: str = "", revision: str = "", file: str = "") -> Request:
        """Return what is being done, for the words of an error."""
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
        """Call a function of the client's, again where it may help, within the time left.

        Raises:
            FmaeError: as `failures.translated` says.
        """
        attempt = 1
        while True:
            start = time.monotonic()
            try:
                return self._limited(function, args, kwargs, request)
            except TRANSIENT as error:
                long = time.monotonic() - start > PATIENCE
                if attempt >= attempts or long or not self.wait(attempt, error):
                    raise
            attempt += 1

    def wait(self, attempt: int, error: FmaeError) -> bool:
        """Wait before the next attempt, as long as the Hub asks; return False without the time."""
        seconds = getattr(error, "retry_after", None)
        if seconds is None:
            seconds = FIRST_WAIT * 2 ** (attempt - 1)
        if seconds >= self.limit.left:
            return False
        level = logging.WARNING if seconds >= LONG_WAIT else logging.INFO
        logger.log(level, "%s; asking again in %.0f s", error, seconds)
        with self.limit.counted():
            time.sleep(seconds)
        return True

    def _limited(
        self, function: Callable[..., Result], args: Any, kwargs: Any, request: Request
    ) -> Result:
        """Call a function in a thread of its own; leave it behind when the time is spent."""
        with self.limit.counted():
            if self.limit.left > 0.0:
                return self._in_thread(function, args, kwargs, request)
        raise self._out_of_time(request)

    def _out_of_time(self, request: Request) -> HubTimeoutError:
        return HubTimeoutError(
            f"{request.what}: not done within the time limit of {self.options.timeout:g} s. "
            "Set another: timeout=..., or --timeout"
        )

    def _in_thread(
        self, function: Callable[..., Result], args: Any, kwargs: Any, request: Request
    ) -> Result:
        results: list[Result] = []
        errors: list[BaseException] = []
        work = _Work(request)

        # Not the thread is waited for: one whose `join` is interrupted counts as ended.
        ended = threading.Event()

        def run() -> None:
            _working.work = work
            try:
                _hook()
                results.append(function(*args, **kwargs))
            except BaseException as error:
                errors.append(error)
            ended.set()

        try:
            threading.Thread(target=run, daemon=True, name="fmae-hub").start()
            left = self.limit.left
            ended.wait(None if left == math.inf else min(max(left, 0.0), threading.TIMEOUT_MAX))
        finally:
            if not ended.is_set():
                # Also where the user interrupts: what is left behind asks the Hub for nothing
                # more, and its connection is closed, so that it gives back a lock that it holds.
                work.given_up = True
                with suppress(Exception):
                    work.response.close()
        if results:
            return results[0]
        if errors:
            logger.debug("%s: %s", request.what, type(errors[0]).__name__)
            # Without the frames of the transport, in which it may have been made.
            raise translated(errors[0], request).with_traceback(None) from None
        raise self._out_of_time(request)


def refuse_offline(options: HubOptions, task: str) -> None:
    """Refuse what needs the Hub where no request may be made.

    Raises:
        HubConnectionError: HF_HUB_OFFLINE is set.
    """
    if options.offline:
        raise HubConnectionError(f"{task} needs the Hub, but HF_HUB_OFFLINE is set")


def _shown(endpoint: str) -> str:
    """Return the URL of a Hub without the password that it may hold.

    Raises:
        ArgumentError: it is no URL.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArgumentError(f"HF_ENDPOINT is {endpoint!r}; expected a URL: https://HOST")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _hook() -> None:
    """Put the two hooks on the client's session, which it makes anew after some failures."""
    from huggingface_hub import get_session

    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_quiet)
    hooks = get_session().event_hooks
    for name, hook in (("request", _before_request), ("response", _after_response)):
        if hook not in hooks[name]:
            hooks[name].append(hook)


def _silent() -> type:
    """Return a progress bar that shows nothing: the files are small and many."""
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):
        # Else each such class had a thread that watches it.
        monitor_interval = 0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

    return Silent
