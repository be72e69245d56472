"""Errors of `huggingface_hub`, the transport and the system as the zoo's own errors."""

import errno
import json
import re
import traceback
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from fmae_zoo.errors import (
    ArgumentError,
    CacheError,
    DigestError,
    FmaeError,
    GatedRepoError,
    HubConflictError,
    HubConnectionError,
    HubError,
    HubPermissionError,
    HubServerError,
    HubTimeoutError,
    NotCachedError,
    PushRefusedError,
    RateLimitError,
    RepoFileNotFoundError,
    RepoNotFoundError,
    RevisionNotFoundError,
)

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SECRET = re.compile(r"\b(hf|api_org)_[A-Za-z0-9]{4,}|(?i:bearer)\s+\S+")
_MESSAGE_LENGTH = 300


@dataclass(frozen=True)
class Request:
    """A description of the request that failed, for the error message.

    Attributes:
        task: `read`, `write` or `search`.
        endpoint: URL of the Hub.
        repo: Name of the repo, `NAMESPACE/NAME`.
        revision: Branch, tag or commit.
        file: Name of the file in the repo.
        cache: Folder of the cache.
        token: Token that was sent; it is never shown, and is removed from the Hub's messages.
    """

    task: str
    endpoint: str
    repo: str = ""
    revision: str = ""
    file: str = ""
    cache: str = ""
    token: str | None = field(default=None, repr=False)

    @property
    def what(self) -> str:
        """The repo with revision and file, if they are set; the endpoint if there is no repo."""
        at = f"@{self.revision}" if self.revision else ""
        name = f"hf://{self.repo}{at}" if self.repo else self.endpoint
        return f"{name}: {self.file}" if self.file else name

    def redacted(self, text: str) -> str:
        """Return external text on one line, cut to 300 characters and without tokens."""
        if self.token:
            text = text.replace(self.token, "<token>")
        text = _SECRET.sub("<token>", text)
        text = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()
        return text if len(text) <= _MESSAGE_LENGTH else f"{text[:_MESSAGE_LENGTH]}..."


def translated(error: BaseException, request: Request) -> FmaeError:
    """Return the zoo's error for one of `huggingface_hub`, the transport or the system."""
    from huggingface_hub import errors as hub

    if isinstance(error, FmaeError):
        return error
    if isinstance(error, hub.OfflineModeIsEnabled):
        return NotCachedError(f"{request.what}: HF_HUB_OFFLINE is set, so the Hub is not asked")
    if isinstance(error, hub.LocalEntryNotFoundError):
        if error.__cause__ is None:
            return NotCachedError(f"{request.what}: not in the cache")
        return translated(error.__cause__, request)
    if isinstance(error, hub.HfHubHTTPError):
        return _of_answer(error, request)
    if isinstance(error, hub.HFValidationError):
        return ArgumentError(f"{request.what}: {request.redacted(str(error))}")
    if isinstance(error, hub.LocalTokenNotFoundError):
        return HubPermissionError(no_token(request.endpoint))
    if isinstance(error, (hub.FileMetadataError, json.JSONDecodeError)):
        return not_the_hub(request)
    if type(error).__module__.split(".")[0].startswith(("httpx", "httpcore")):
        return _of_transport(error, request)
    if isinstance(error, OSError):
        return _of_system(error, request)
    if isinstance(error, ValueError) and "README.md" in str(error):
        return PushRefusedError(f"The Hub refuses the card: {request.redacted(str(error))}")
    if error.__cause__ is not None:
        return translated(error.__cause__, request)
    if _is_of_xet(error):
        return _of_xet(str(error), request)
    return HubError(
        f"{request.what}: the Hub's answer is not understood: {type(error).__name__}: "
        f"{request.redacted(str(error))}"
    )


def _is_of_xet(error: BaseException) -> bool:
    """Return whether an error came from the Xet functions, which have no error class."""
    frames = traceback.walk_tb(error.__traceback__)
    return any("xet" in frame.f_code.co_name for frame, _ in frames)


def _of_xet(said: str, request: Request) -> FmaeError:
    return HubConnectionError(
        f"{request.what}: the Hub's Xet storage failed: {request.redacted(said)}. "
        "Set HF_HUB_DISABLE_XET=1 to do without it."
    )


def _of_answer(error: Any, request: Request) -> FmaeError:
    from huggingface_hub import errors as hub

    status = error.response.status_code
    said = request.redacted(error.server_message or "")
    says = f" The Hub says: {said}" if said else ""
    if isinstance(error, hub.GatedRepoError):
        return GatedRepoError(
            f"{request.what}: access is granted by its owner: ask for it at "
            f"{request.endpoint}/{request.repo}, then give a token of yours."
        )
    if isinstance(error, hub.DisabledRepoError):
        return RepoNotFoundError(f"{request.what}: the Hub has disabled this repo")
    if isinstance(error, hub.RevisionNotFoundError):
        return RevisionNotFoundError(
            f"{request.repo} has no branch, tag or commit {request.revision!r} at "
            f"{request.endpoint}"
        )
    if isinstance(error, hub.RemoteEntryNotFoundError):
        return RepoFileNotFoundError(f"{request.what}: there is no such file")
    if status == 404 and "/xet-" in error.response.request.url.path:
        return _of_xet(str(error), request)
    host = urlsplit(request.endpoint).hostname
    if status in (401, 403, 404) and error.response.request.url.host != host:
        return HubServerError(f"{request.what}: the Hub's storage refused (HTTP {status})")
    if isinstance(error, hub.RepositoryNotFoundError):
        who = "the token given may not read it" if request.token else "no token was given"
        return RepoNotFoundError(
            f"There is no repo {request.repo} at {request.endpoint}, or it is private and {who}."
            f"{says}"
        )
    if status == 401 and request.token:
        return HubPermissionError(
            f"{request.what}: the Hub does not know this token. Make one at "
            f"{request.endpoint}/settings/tokens, then: hf auth login"
        )
    if status == 401:
        return HubPermissionError(no_token(request.endpoint, request.what))
    if status == 403:
        right = "write" if request.task == "write" else "read"
        return HubPermissionError(
            f"{request.what}: the token may not {right} here.{says} A token with the right to "
            f"{right} is made at {request.endpoint}/settings/tokens"
        )
    if status in (409, 412) and request.task == "write":
        return HubConflictError(f"{request.what}: somebody else changed it.{says}")
    if status == 429:
        return _rate_limited(error, request)
    if status >= 500 or status == 408:
        return HubServerError(f"{request.what}: the Hub failed (HTTP {status}).{says}")
    return HubError(f"{request.what}: the Hub refused (HTTP {status}).{says}")


def _rate_limited(error: Any, request: Request) -> RateLimitError:
    headers = error.response.headers
    wait = re.fullmatch(r"\s*([0-9]{1,8})\s*", headers.get("retry-after", ""))
    reset = re.search(r"\bt\s*=\s*([0-9]{1,8})\b", headers.get("ratelimit", ""))
    told = wait or reset
    seconds = float(told[1]) if told else None
    when = f"in {seconds:.0f} s" if seconds is not None else "later"
    limited = RateLimitError(
        f"{request.what}: the Hub limits the number of requests (HTTP 429). Try again {when}; "
        "with a token the limit is higher."
    )
    limited.retry_after = seconds
    return limited


def no_token(endpoint: str, what: str = "The Hub") -> str:
    """Return the message for a missing token; it says how to get one."""
    return (
        f"{what}: a token is needed, and none was found. Make one at {endpoint}/settings/tokens; "
        "then `hf auth login`, or set HF_TOKEN, or name a file with --token-file"
    )


def not_the_hub(request: Request) -> HubConnectionError:
    """Return the error for an answer that does not come from a Hub."""
    return HubConnectionError(
        f"{request.what}: what answers at {request.endpoint} is not the Hub: perhaps a login page "
        "of this network, a proxy, or a wrong HF_ENDPOINT"
    )


def _of_transport(error: BaseException, request: Request) -> FmaeError:
    reason = f"{type(error).__name__}: {request.redacted(str(error))}".removesuffix(": ")
    if "Timeout" in type(error).__name__:
        return HubTimeoutError(f"{request.what}: the Hub did not answer in time ({reason})")
    if type(error).__name__ == "ConnectError":
        return HubConnectionError(f"{request.what}: cannot reach {request.endpoint} ({reason})")
    return HubConnectionError(f"{request.what}: the connection was lost ({reason})")


def _of_system(error: OSError, request: Request) -> FmaeError:
    said = request.redacted(str(error))
    if "Consistency check failed" in said:
        return DigestError(f"{request.what}: the Hub sent another size than it announced: {said}")
    if isinstance(error, (ConnectionError, TimeoutError)):
        return HubConnectionError(f"{request.what}: the connection was lost ({said})")
    if error.errno in FULL_DISK:
        return CacheError(
            f"{request.what}: the disk of the cache is full: {request.cache}. Free some space, or "
            "name another folder: cache_dir=..., or HF_HUB_CACHE"
        )
    if error.errno is not None:
        return CacheError(
            f"{request.what}: the cache cannot be written: {said}. Name another folder: "
            "cache_dir=..., or HF_HUB_CACHE"
        )
    return HubError(f"{request.what}: {said}")
