"""The `huggingface_hub` client with a time limit, bounded retries and the zoo's errors."""

import logging
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fmae_zoo.errors import (
    ArgumentError,
    FmaeError,
    HubConnectionError,
    HubPermissionError,
    HubServerError,
    HubTimeoutError,
    RateLimitError,
)
from fmae_zoo.hub.address import COMMIT
from fmae_zoo.hub.failures import Request, no_token, not_the_hub
from fmae_zoo.hub.limits import REQUEST_TIMEOUT, TimeLimit
from fmae_zoo.hub.options import HubOptions

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

ATTEMPTS = 4
FIRST_WAIT = 1.0
"""Seconds before the second attempt; each later wait is twice as long."""

PATIENCE = 15.0
"""A call that fails after more seconds is not repeated: `huggingface_hub` has retried it."""

LONG_WAIT = 5.0
"""A wait of at least this many seconds is logged as a warning."""

TRANSIENT = (HubConnectionError, HubTimeoutError, HubServerError, RateLimitError)
"""Errors after which another attempt may succeed."""


@dataclass(frozen=True)
class RemoteFile:
    """A file in the Hub's list of a repo.

    Attributes:
        size: Size in bytes.
        blob: Git's SHA-1 of the file, or of its pointer if it is stored outside git (LFS, Xet).
        sha256: SHA-256 of a file that is stored outside git, else None.
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


class HubClient:
    """A client of the Hub with a time limit, which repeats requests that may succeed later.

    Attributes:
        options: Token, cache folder and time limit.
        limit: Time that is left.
        endpoint: URL of the Hub.
    """

    def __init__(self, options: HubOptions) -> None:
        from huggingface_hub import constants

        self.options = options
        self.limit = TimeLimit(options.timeout)
        self.endpoint = _shown(constants.ENDPOINT)

    def with_cache(self, folder: str | Path) -> "HubClient":
        """Return a client with another cache folder; it shares all else, also the time limit."""
        client = copy(self)
        client.options = replace(self.options, cache_dir=folder)
        return client

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
        try:
            ask = partial(get_token_to_send, self.options.token)
            return self.limit.run(ask, Request("read", self.endpoint))
        except HubTimeoutError:
            raise
        except FmaeError as error:
            raise HubPermissionError(f"The saved token cannot be had: {error}") from None

    @cached_property
    def api(self) -> Any:
        """The `HfApi` of `huggingface_hub`."""
        import huggingface_hub

        import fmae_zoo

        return huggingface_hub.HfApi(
            token=self.token or False,
            library_name="fmae_zoo",
            library_version=fmae_zoo.__version__,
        )

    def require_token(self) -> None:
        """Raise an error if there is no token.

        Raises:
            HubPermissionError: There is no token.
        """
        if self.token is None:
            raise HubPermissionError(no_token(self.endpoint))

    def state(self, repo: str, revision: str, attempts: int = ATTEMPTS) -> RepoState:
        """Return the commit and the files of a repo at a revision."""
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
        """Return the path of a file in the cache; download it first if it is not there."""

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
            FmaeError: The error of the last attempt, as `failures.translated` returns it.
        """
        attempt = 1
        while True:
            start = time.monotonic()
            try:
                return self.limit.run(partial(function, *args, **kwargs), request)
            except TRANSIENT as error:
                long = time.monotonic() - start > PATIENCE
                if attempt >= attempts or long or not self.wait(attempt, error):
                    raise
            attempt += 1

    def wait(self, attempt: int, error: FmaeError) -> bool:
        """Wait before the next attempt, as the Hub asks; return False if the time is too short."""
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


def refuse_offline(options: HubOptions, task: str) -> None:
    """Raise an error if a task needs the Hub but no request may be made.

    Raises:
        HubConnectionError: `HF_HUB_OFFLINE` or `local_files_only` is set.
    """
    if options.offline:
        reason = "local_files_only" if options.local_files_only else "HF_HUB_OFFLINE"
        raise HubConnectionError(f"{task} needs the Hub, but {reason} is set")


def _shown(endpoint: str) -> str:
    """Return the URL of a Hub without a user name and password.

    Raises:
        ArgumentError: It is not an http or https URL.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArgumentError(f"HF_ENDPOINT is {endpoint!r}; expected a URL: https://HOST")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _silent() -> type:
    """Return a progress bar class that shows nothing, because the files are small and many."""
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):
        # Otherwise tqdm starts a monitor thread for each such class.
        monitor_interval = 0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

    return Silent
