"""The Hub's own client, with a total time limit, bounded retries and the zoo's errors."""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fmae_zoo.errors import (
    FmaeError,
    HubConnectionError,
    HubError,
    HubPermissionError,
    HubServerError,
    HubTimeoutError,
    RateLimitError,
)
from fmae_zoo.hub.failures import Request, translated
from fmae_zoo.hub.options import HubOptions

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

ATTEMPTS = 4
FIRST_WAIT = 1.0
"""Seconds before the second attempt; each later wait is twice as long."""

REQUEST_TIMEOUT = 10.0
"""Seconds that the Hub may be silent in one request."""

THREAD = "fmae-hub"
"""Name of the threads in which the Hub is asked."""

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


class _Quiet(logging.Filter):
    """Drops what the Hub's client warns of in our requests: the zoo's own errors say it."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.threadName != THREAD or record.levelno >= logging.ERROR


_quiet = _Quiet()


class HubClient:
    """Asks the Hub.

    Every request runs in a thread that is given up when the time is spent: the client's own
    limits are per read, and several of its requests have none.

    Attributes:
        options: token, cache and time limit.
        left: seconds that may still be spent on the Hub.
    """

    def __init__(self, options: HubOptions) -> None:
        import huggingface_hub
        from huggingface_hub.utils import get_token_to_send

        import fmae_zoo

        for handler in logging.getLogger("huggingface_hub").handlers:
            handler.addFilter(_quiet)
        self.options = options
        self.left = options.timeout
        self.endpoint = huggingface_hub.constants.ENDPOINT
        try:
            self.token = get_token_to_send(options.token)
        except OSError as error:
            raise translated(error, Request("read", self.endpoint)) from None
        self.api = huggingface_hub.HfApi(
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
            from huggingface_hub.errors import LocalTokenNotFoundError

            raise translated(LocalTokenNotFoundError(), Request("write", self.endpoint))

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
        if not info.sha:
            raise HubConnectionError(f"hf://{repo}: the Hub names no commit: {self.endpoint}")
        return RepoState(info.sha, bool(info.private), files)

    def download(self, repo: str, commit: str, file: str, force: bool = False) -> Path:
        """Return the path of a file in the cache, which is downloaded where it is not there."""

        def downloaded() -> str:
            return self.api.hf_hub_download(
                repo,
                file,
                revision=commit,
                cache_dir=self.options.cache,
                force_download=force,
                etag_timeout=REQUEST_TIMEOUT,
                tqdm_class=_silent(),
            )

        request = self.request("read", repo, commit, file)
        return Path(self.call(downloaded, request=request))

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
        for attempt in range(1, attempts + 1):
            try:
                return self._limited(function, args, kwargs, request)
            except TRANSIENT as error:
                spent = self.left <= 0 or getattr(error, "tried_again", False)
                if attempt == attempts or spent or not self.wait(attempt, error):
                    raise
        raise HubError(f"{request.what}: nothing was asked")

    def wait(self, attempt: int, error: FmaeError) -> bool:
        """Wait before the next attempt, as long as the Hub asks; return False without the time."""
        seconds = getattr(error, "retry_after", None)
        if seconds is None:
            seconds = FIRST_WAIT * 2 ** (attempt - 1)
        if seconds >= self.left:
            return False
        logger.info("%s; asking again in %.0f s", error, seconds)
        time.sleep(seconds)
        self.left -= seconds
        return True

    def _limited(
        self, function: Callable[..., Result], args: Any, kwargs: Any, request: Request
    ) -> Result:
        """Call a function in a thread of its own; leave it behind when the time is spent."""
        from huggingface_hub import close_session

        results: list[Result] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(function(*args, **kwargs))
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work, daemon=True, name=THREAD)
        start = time.monotonic()
        thread.start()
        thread.join(max(self.left, 0) if self.left != math.inf else None)
        self.left -= time.monotonic() - start
        if results:
            return results[0]
        if errors:
            logger.debug("%s: %s", request.what, type(errors[0]).__name__)
            raise translated(errors[0], request)
        self.left = 0.0
        # It ends what was left behind, which may hold a lock of the cache.
        close_session()
        raise HubTimeoutError(
            f"{request.what}: not done within the time limit of {self.options.timeout:g} s. "
            "Set another: timeout=..., or --timeout"
        )


def refuse_offline(options: HubOptions, task: str) -> None:
    """Refuse what needs the Hub where no request may be made.

    Raises:
        HubPermissionError: HF_HUB_OFFLINE is set.
    """
    if options.offline:
        raise HubPermissionError(f"{task} needs the Hub, but HF_HUB_OFFLINE is set")


def _silent() -> type:
    """Return a progress bar that shows nothing: the files are small and many."""
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

    return Silent
