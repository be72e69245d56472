"""The Hub's own client, with a total time limit, bounded retries and the zoo's errors."""

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
"""Seconds after which a failure is final: the Hub's client has then tried again by itself."""

LONG_WAIT = 5.0
"""Seconds of a wait of which the user is told."""

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


class HubClient:
    """Asks the Hub, within a time limit, again where that may help.

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
            ask = partial(get_token_to_send, self.options.token)
            return self.limit.run(ask, Request("read", self.endpoint))
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
                return self.limit.run(partial(function, *args, **kwargs), request)
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


def _silent() -> type:
    """Return a progress bar that shows nothing: the files are small and many."""
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):
        # Else each such class had a thread that watches it.
        monitor_interval = 0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

    return Silent
