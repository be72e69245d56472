"""What can go wrong between a client and a Hub, on demand."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

KINDS: dict[str, dict[str, Any]] = {
    "status": {"code": 500, "headers": {}, "body": b""},
    "cut": {},
    "reset": {},
    "stall": {},
    "slow": {"bytes": 1024, "delay": 0.05},
    "corrupt": {},
    "wrong_size": {"size": None},
    "headers": {"headers": {}},
    "html": {},
    "redirect": {"to": "", "code": 302},
    "lose_answer": {"files": None},
    "conflict": {"files": None},
    "xet": {},
    "echo_token": {},
}
"""The kinds of faults, each with its settings and their defaults."""
BODY_KINDS = ("cut", "slow", "corrupt")
XET_HASH = "5e7" + "0" * 61
CAPTIVE_PORTAL = b"<!DOCTYPE html><html><body><h1>Please log in to the Wi-Fi</h1></body></html>"
COMMIT = re.compile(r"/api/models/(?P<repo_id>[^/]+/[^/]+)/commit/(?P<revision>.+)")


@dataclass
class Answer:
    """A whole HTTP answer. `ranges`: a `Range` header is respected."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ranges: bool = False


def json_answer(content: Any, status: int = 200, **headers: str) -> Answer:
    body = json.dumps(content, default=str).encode()
    return Answer(status, {"Content-Type": "application/json; charset=utf-8", **headers}, body)


class Fault:
    """Something that goes wrong with the requests that match it.

    - `status`: answer with `code`, `headers` and `body`.
    - `cut`: true headers, half of the body, then the connection closes.
    - `reset`: the connection is reset before any answer.
    - `stall`: no answer until the fault is taken from the Hub's list or the Hub stops.
    - `slow`: the body comes in pieces of `bytes` bytes, `delay` seconds apart.
    - `corrupt`: the body has the right size and wrong bytes.
    - `headers`: the answer has `headers` in the place of its own.
    - `wrong_size`: body and headers have `size` bytes (half of the file), padded with zeros
      where that is more than there is. Use `times=None` so that HEAD and GET agree.
    - `html`: the page of a captive portal, with no header of the Hub.
    - `redirect`: to the URL `to`, with `code`.
    - `lose_answer`: the work is done, then the connection closes without an answer; before that,
      somebody else commits `files`, where they are given, to the branch committed to.
    - `conflict`: before a commit, somebody else commits `files` to the same branch.
    - `xet`: answers of `/resolve/` promise Xet storage that is not there.
    - `echo_token`: an error 500 that repeats the `Authorization` header received.

    Args:
        kind: One of the above.
        path: Regular expression searched in the path with its query, as sent and unquoted.
        method: The HTTP method, or `None` for all. `cut`, `slow` and `corrupt` never match HEAD.
        times: How many requests it spoils; `None`: all. `hits` counts them.
        skip: How many matching requests pass before the first that it spoils.
        **settings: Of the kind.
    """

    def __init__(
        self,
        kind: str,
        path: str = "",
        method: str | None = None,
        times: int | None = 1,
        skip: int = 0,
        **settings: Any,
    ):
        if kind not in KINDS:
            raise ValueError(f"no fault is called {kind!r}; there are {', '.join(KINDS)}")
        unknown = set(settings) - set(KINDS[kind])
        if unknown:
            raise TypeError(f"{kind} has no setting {', '.join(sorted(unknown))}")
        self.kind, self.method, self.times, self.skip = kind, method, times, skip
        self.path = re.compile(path)
        self.settings = KINDS[kind] | settings
        self.hits = 0
        self._passed = 0

    def __repr__(self) -> str:
        return f"Fault({self.kind!r}, {self.path.pattern!r}, hits={self.hits})"

    def strikes(self, method: str, path: str) -> bool:
        """Return whether it spoils this request, and count it."""
        if not self.matches(method, path) or self.hits == self.times:
            return False
        if self._passed < self.skip:
            self._passed += 1
            return False
        self.hits += 1
        return True

    def matches(self, method: str, path: str) -> bool:
        if self.kind == "conflict" and not (method == "POST" and COMMIT.search(path)):
            return False
        if self.kind == "xet" and "/resolve/" not in path:
            return False
        if self.method not in (None, method) or (method == "HEAD" and self.kind in BODY_KINDS):
            return False
        return any(self.path.search(form) for form in (path, unquote(path)))

    def answer(self, authorization: str) -> Answer | None:
        """Return the answer that takes the place of the Hub's own, if the kind has one."""
        settings = self.settings
        if self.kind == "status":
            body = settings["body"]
            body = body.encode() if isinstance(body, str) else body
            return Answer(settings["code"], dict(settings["headers"]), body)
        if self.kind == "html":
            return Answer(200, {"Content-Type": "text/html; charset=utf-8"}, CAPTIVE_PORTAL)
        if self.kind == "redirect":
            return Answer(settings["code"], {"Location": settings["to"]})
        if self.kind == "echo_token":
            message = f"Internal error while handling credentials {authorization}"
            return json_answer({"error": message}, 500, **{"X-Error-Message": message})
        return None

    def alter(self, answer: Answer, url: str, path: str) -> None:
        """Change an answer to a request for `path` in place; `url` is the Hub's."""
        if self.kind == "corrupt":
            answer.body = answer.body.translate(bytes(255 - byte for byte in range(256)))
        elif self.kind == "wrong_size":
            linked = answer.headers.get("X-Linked-Size")
            size = self.settings["size"]
            if size is None:
                size = int(linked or len(answer.body)) // 2
            if linked is not None:
                answer.headers["X-Linked-Size"] = str(size)
            else:
                answer.body = answer.body[:size].ljust(size, b"\0")
        elif self.kind == "headers":
            answer.headers |= self.settings["headers"]
        elif self.kind == "xet":
            repo, commit = path.partition("/resolve/")[0], answer.headers.get("X-Repo-Commit")
            refresh = f"{url}/api/models{repo}/xet-read-token/{commit}"
            answer.headers |= {"X-Xet-Hash": XET_HASH, "Link": f'<{refresh}>; rel="xet-auth"'}

    def others_commit(self, path: str, seed: Any) -> None:
        """Let somebody else commit to the branch that a request changes."""
        target = COMMIT.fullmatch(unquote(path.partition("?")[0]))
        files = self.settings["files"] or {"other.txt": f"commit {self.hits}\n".encode()}
        seed(target["repo_id"], files, branch=target["revision"])
