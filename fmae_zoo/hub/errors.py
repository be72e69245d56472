"""Errors of `huggingface_hub`, the transport and the system as the zoo's own errors."""

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

_SECRET = re.compile(r"\b(hf|api_org)_[A-Za-z0-9]{4,}|(?i:bearer)\s+\S+")
_MESSAGE_LENGTH = 300
_XET = "the Hub's Xet storage failed: set HF_HUB_DISABLE_XET=1 to do without it"
_Explained = tuple[type[FmaeError], str]


@dataclass(frozen=True)
class Request:
    """A description of a request, for the message of its error.

    The task is `read`, `write` or `search`. The token that was sent is never shown, and is removed
    from the Hub's messages.
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

    def redacted(self, said: object) -> str:
        """Return external text on one line, cut to 300 characters and without tokens."""
        text = str(said)
        if self.token:
            text = text.replace(self.token, "<token>")
        text = _SECRET.sub("<token>", text)
        text = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()
        return text if len(text) <= _MESSAGE_LENGTH else f"{text[:_MESSAGE_LENGTH]}..."


def translated(error: BaseException, request: Request) -> FmaeError:
    """Return the zoo's error for one of `huggingface_hub`, the transport or the system."""
    from huggingface_hub.errors import FileMetadataError, HfHubHTTPError

    if isinstance(error, FmaeError):
        return error
    if isinstance(error, (FileMetadataError, json.JSONDecodeError)):
        return not_the_hub(request)
    answer = error.response if isinstance(error, HfHubHTTPError) else None
    explained = _of_client(error, request) if answer is None else _of_answer(error, request)
    if explained is None and error.__cause__ is not None:
        return translated(error.__cause__, request)
    said = f"{type(error).__name__}: {request.redacted(error)}"
    kind, text = explained or (HubError, f"the Hub's answer is not understood: {said}")
    found = kind(f"{request.what}: {text}")
    if answer is not None and isinstance(found, RateLimitError):
        found.retry_after = _wait_of(answer.headers)
    return found


def _of_client(error: BaseException, request: Request) -> _Explained | None:
    from huggingface_hub import errors as hub

    said = request.redacted(error) or type(error).__name__
    if isinstance(error, hub.OfflineModeIsEnabled):
        return NotCachedError, "HF_HUB_OFFLINE is set, so the Hub is not asked"
    if isinstance(error, hub.HFValidationError):
        return ArgumentError, said
    if isinstance(error, hub.LocalTokenNotFoundError):
        return HubPermissionError, no_token(request.endpoint)
    if isinstance(error, hub.LocalEntryNotFoundError):
        return None if error.__cause__ else (NotCachedError, "not in the cache")
    if type(error).__module__.startswith(("httpx", "httpcore")):
        if "Timeout" in type(error).__name__:
            return HubTimeoutError, f"the Hub did not answer in time ({said})"
        return HubConnectionError, f"cannot reach {request.endpoint}, or lost it ({said})"
    if "Consistency check failed" in said:
        return DigestError, f"the Hub sent another size than it announced: {said}"
    if isinstance(error, (ConnectionError, TimeoutError)):
        return HubConnectionError, f"the connection was lost ({said})"
    if isinstance(error, OSError) and error.errno is not None:
        folder = f"{request.cache}; free some space, or set another: cache_dir=..., or HF_HUB_CACHE"
        return CacheError, f"the cache cannot be written ({said}). It is {folder}"
    if isinstance(error, ValueError) and "README.md" in str(error):
        return PushRefusedError, f"the Hub refuses the card: {said}"
    # Errors of the Xet functions have no class of their own.
    frames = traceback.walk_tb(error.__traceback__)
    if error.__cause__ is None and any("xet" in frame.f_code.co_name for frame, _ in frames):
        return HubConnectionError, f"{_XET} ({said})"
    return None


def _of_answer(error: Any, request: Request) -> _Explained:
    from huggingface_hub import errors as hub

    status, url = error.response.status_code, error.response.request.url
    said = request.redacted(error.server_message or "")
    says = f" The Hub says: {said}" if said else ""
    tokens = f"{request.endpoint}/settings/tokens"
    if isinstance(error, hub.GatedRepoError):
        page = f"{request.endpoint}/{request.repo}"
        return GatedRepoError, f"access is granted by its owner: ask at {page}, and give a token."
    if isinstance(error, hub.DisabledRepoError):
        return RepoNotFoundError, "the Hub has disabled this repo"
    if isinstance(error, hub.RevisionNotFoundError):
        at = f"{request.revision!r} at {request.endpoint}"
        return RevisionNotFoundError, f"there is no branch, tag or commit {at}"
    if isinstance(error, hub.RemoteEntryNotFoundError):
        return RepoFileNotFoundError, "there is no such file"
    if status == 404 and "/xet-" in url.path:
        return HubConnectionError, _XET
    if status in (401, 403, 404) and url.host != urlsplit(request.endpoint).hostname:
        return HubServerError, f"the Hub's storage refused (HTTP {status})"
    if isinstance(error, hub.RepositoryNotFoundError):
        who = "the token given may not read it" if request.token else "no token was given"
        name = f"{request.repo} at {request.endpoint}"
        return RepoNotFoundError, f"there is no repo {name}, or it is private and {who}.{says}"
    if status == 401 and request.token:
        return HubPermissionError, f"the Hub does not know this token. Make one at {tokens}"
    if status == 401:
        return HubPermissionError, no_token(request.endpoint)
    if status == 403:
        right = "write" if request.task == "write" else "read"
        return HubPermissionError, f"the token may not {right} here.{says} Make one at {tokens}"
    if status in (409, 412) and request.task == "write":
        return HubConflictError, f"somebody else changed it.{says}"
    if status == 429:
        seconds = _wait_of(error.response.headers)
        when = "later" if seconds is None else f"in {seconds:.0f} s"
        more = "." if request.token else ", or give a token."
        return RateLimitError, f"too many requests (HTTP 429). Try again {when}{more}"
    if status >= 500 or status == 408:
        return HubServerError, f"the Hub failed (HTTP {status}).{says}"
    return HubError, f"the Hub refused (HTTP {status}).{says}"


def _wait_of(headers: Any) -> float | None:
    """Return the seconds after which the Hub wants to be asked again, or None."""
    wait = re.fullmatch(r"\s*([0-9]{1,8})\s*", headers.get("retry-after", ""))
    told = wait or re.search(r"\bt\s*=\s*([0-9]{1,8})\b", headers.get("ratelimit", ""))
    return float(told[1]) if told else None


def no_token(endpoint: str) -> str:
    """Return the message for a missing token; it says how to get one."""
    return (
        f"a token is needed, and none was found. Make one at {endpoint}/settings/tokens; "
        "then `hf auth login`, or set HF_TOKEN, or name a file with --token-file"
    )


def not_the_hub(request: Request) -> HubConnectionError:
    """Return the error for an answer that does not come from a Hub."""
    return HubConnectionError(
        f"{request.what}: what answers at {request.endpoint} is not the Hub: perhaps a login page "
        "of this network, a proxy, or a wrong HF_ENDPOINT"
    )
