"""Finding and running the function that answers a request."""

import json
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from .faults import Answer, json_answer
from .store import TOKENS, HubError, Repo, Token

if TYPE_CHECKING:
    from . import LocalHub

MISSING_PAGE = "Sorry, we can't find the page you are looking for."
ID = r"(?P<repo_id>[^/]+(?:/[^/]+)?)"
REVISION = r"(?P<revision>refs/pr/\d+|[^/]+)"
PATH = r"(?P<path>.+)"
OID = r"(?P<oid>[0-9a-f]{64})"


@dataclass
class Call:
    """A request that has come in."""

    hub: "LocalHub"
    listener: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    token: Token | None = None

    def __post_init__(self):
        self.query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[-1].lower() in ("1", "true")

    def json(self) -> dict[str, Any]:
        try:
            content = json.loads(self.body or b"{}")
        except ValueError as error:
            raise HubError(400, f"Invalid JSON: {error}") from error
        if not isinstance(content, dict):
            raise HubError(400, "Invalid JSON: not an object")
        return content


ROUTES: list[tuple[str, str, re.Pattern[str], Callable[..., Answer]]] = []


def route(method: str, path: str, listener: str = "hub"):
    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        ROUTES.append((listener, method, re.compile(path), function))
        return function

    return register


def dispatch(call: Call) -> Answer:
    """Do what a request asks for."""
    try:
        with call.hub.store.lock:
            if call.listener == "hub":
                call.token = authenticate(call)
            path = urlsplit(call.path).path
            for listener, method, pattern, function in ROUTES:
                if listener == call.listener and call.method in (
                    method,
                    method.replace("GET", "HEAD"),
                ):
                    match = pattern.fullmatch(path)
                    if match:
                        parts = {
                            key: unquote(part or "") for key, part in match.groupdict().items()
                        }
                        return function(call, **parts)
            raise HubError(404, MISSING_PAGE)
    except HubError as error:
        headers = {**error.headers, "X-Error-Message": " ".join(error.message.split())}
        if error.code:
            headers["X-Error-Code"] = error.code
        return json_answer({"error": error.message}, error.status, **headers)
    except Exception:
        # A mistake in this server: the client's error shows it.
        return json_answer({"error": traceback.format_exc()}, 500)


def authenticate(call: Call) -> Token | None:
    authorization = call.headers.get("authorization")
    if authorization is None:
        return None
    scheme, _, secret = authorization.partition(" ")
    token = TOKENS.get(secret)
    if scheme.lower() != "bearer" or token is None:
        raise HubError(401, "Invalid credentials in Authorization header")
    return token


def page(call: Call, items: list[Any], size: int) -> Answer:
    """Return one page of a list, with a link to the next."""
    start = int(call.query.get("cursor", ["0"])[-1])
    answer = json_answer(items[start : start + size])
    if start + size < len(items):
        query = urlencode({**call.query, "cursor": start + size}, doseq=True)
        url = f"{call.hub.url}{urlsplit(call.path).path}?{query}"
        answer.headers["Link"] = f'<{url}>; rel="next"'
    return answer


def stored_object(call: Call, repo_id: str, oid: str) -> tuple[Repo, bytes | None]:
    """Return what a signed URL points to. A wrong signature is refused as storage does."""
    repo = call.hub.store.repos.get(repo_id)
    path = urlsplit(call.path).path
    if repo is None or call.query.get("Signature") != [call.hub.signature(path)]:
        raise HubError(403, "Access denied")
    return repo, repo.objects.get(oid)
