"""A Hugging Face Hub on this computer, for the real client of huggingface_hub.

It serves models over HTTP on 127.0.0.1, without accounts, and things go wrong on demand. The
content of Git LFS files is on another port and under another name, as the real Hub has it on
another host.
"""

import hashlib
import re
import secrets
import select
import socket
import struct
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import quote, urlencode

# They register their routes.
from . import reading as reading, writing as writing
from .faults import Answer, Fault
from .routing import Call, dispatch
from .store import Blob, Commit, Store, check_path, wants_lfs

__all__ = ["LocalHub"]

POLL = 0.02
ONE_SEND = 1 << 16
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Record:
    """A request as it came in, and what was answered so far.

    Attributes:
        listener: `"hub"` or `"cdn"`.
        path: With the query.
        headers: By lower-case name.
        status: `None` where nothing was answered.
        bytes_sent: Of the body of the answer.
    """

    listener: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int | None = None
    bytes_sent: int = 0


class LocalHub:
    """The server. Use it as a context manager, or call `start` and `stop`, once each.

    Attributes:
        url: The endpoint to give to the client.
        cdn_url: Where Git LFS content is downloaded from and uploaded to.
        log: The requests of both listeners, in the order in which they came in.
        faults: What shall go wrong. The first fault that matches a request has it.
        store: The repositories. Hold `store.lock` while changing them.
        page_size: How many models a page of a list has.
    """

    def __init__(self, port: int = 0):
        self.store = Store()
        self.faults: list[Fault] = []
        self.log: list[Record] = []
        self.page_size = 3
        self.stopping = threading.Event()
        self._secret = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._listeners = [Listener(self, "hub", port), Listener(self, "cdn", 0)]
        self.url, self.cdn_url = (listener.url for listener in self._listeners)

    def start(self) -> "LocalHub":
        for listener in self._listeners:
            listener.start()
        return self

    def stop(self) -> None:
        self.stopping.set()
        for listener in self._listeners:
            listener.stop()

    def __enter__(self) -> "LocalHub":
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def seed(
        self,
        repo: str,
        files: dict[str, bytes],
        *,
        branch: str = "main",
        private: bool = False,
        gated: str | bool = False,
        tag: str | None = None,
    ) -> str:
        """Commit files without HTTP, and return the id of the commit.

        A repository or branch that does not exist is created. `private` and `gated` are set on
        an existing repository too where they are true; `tag` then points to the commit.
        """
        with self.store.lock:
            author = repo.split("/")[0]
            found = self.store.repos.get(repo) or self.store.create(repo, author)
            found.private = found.private or private
            found.gated = ("auto" if gated is True else gated) or found.gated
            pull = re.fullmatch(r"refs/pr/(\d+)", branch)
            parent = found.resolve(branch) if pull or branch in found.branches else found.head
            tree = dict(parent.tree)
            for path, content in files.items():
                lfs = bool(content) and wants_lfs(path, len(content), content[:512])
                tree[check_path(path)] = Blob(content, lfs)
            commit: Commit = self.store.commit(found, parent, tree, "Add files", author)
            if pull:
                found.pulls[int(pull[1])] = commit.oid
            else:
                found.branches[branch] = commit.oid
            if tag is not None:
                found.tags[tag] = commit.oid
            return commit.oid

    def delete(self, repo: str) -> None:
        """Remove a repository."""
        with self.store.lock:
            del self.store.repos[repo]

    def fail(self, kind: str, path: str = "", **settings: Any) -> Fault:
        """Add a `Fault` and return it."""
        fault = Fault(kind, path, **settings)
        self.faults.append(fault)
        return fault

    def reset(self) -> None:
        """Forget all repositories, faults and requests."""
        self.faults.clear()
        self.store.reset()
        self.clear_log()

    def clear_log(self) -> None:
        with self._lock:
            self.log.clear()

    def record(self, record: Record) -> Fault | None:
        """Log a request and return the fault that it meets."""
        with self._lock:
            self.log.append(record)
            return next((f for f in self.faults if f.strikes(record.method, record.path)), None)

    def signature(self, path: str) -> str:
        return hashlib.sha256(f"{self._secret}{path}".encode()).hexdigest()[:32]

    def signed(self, path: str, **query: Any) -> str:
        """Return a URL of the second listener that gives access to whoever has it."""
        path = quote(path)
        return f"{self.cdn_url}{path}?{urlencode({**query, 'Signature': self.signature(path)})}"


class Listener(ThreadingHTTPServer):
    """One of the two ports of a Hub."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, hub: LocalHub, name: str, port: int):
        self.hub, self.name = hub, name
        self._open: set[socket.socket] = set()
        self._thread: threading.Thread | None = None
        super().__init__(("127.0.0.1", port), Handler)
        # Another name for the same machine: some clients know a host by its name alone.
        host = "127.0.0.1" if name == "hub" else "localhost"
        self.url = f"http://{host}:{self.server_address[1]}"

    def server_bind(self) -> None:
        # HTTPServer would ask a name server for the name of the host.
        TCPServer.server_bind(self)

    def process_request(self, request: socket.socket, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def start(self) -> None:
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self.shutdown()
        self.server_close()
        for request in list(self._open):
            # Clients keep connections; they shall notice that nobody is there any more.
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that go away are no error here.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Takes the requests of one connection, one after another."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def log_message(self, *args: Any) -> None:
        """Write nothing to the terminal; `LocalHub.log` has all requests."""

    def serve(self) -> None:
        hub = self.server.hub
        body = self.read_body()
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.record = Record(self.server.name, self.command, self.path, headers, body)
        fault = hub.record(self.record)
        kind = fault.kind if fault else None
        if kind == "stall":
            return self.stall(fault)
        if kind == "reset":
            return self.reset()
        if kind == "conflict":
            fault.others_commit(self.path, hub.seed)
        answer = fault.answer(headers.get("authorization", "")) if fault else None
        if answer is None:
            call = Call(hub, self.server.name, self.command, self.path, headers, body)
            answer = dispatch(call)
        if kind == "lose_answer":
            if fault.settings["files"]:
                fault.others_commit(self.path, hub.seed)
            self.close_connection = True
            return None
        if fault is not None:
            fault.alter(answer, hub.url, self.path)
        return self.send(self.with_range(answer), fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = serve

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def with_range(self, answer: Answer) -> Answer:
        """Cut an answer to the range that was asked for."""
        wanted = RANGE.fullmatch(self.headers.get("Range", ""))
        size = len(answer.body)
        if not answer.ranges or wanted is None:
            return answer
        start = int(wanted[1])
        end = min(int(wanted[2] or size - 1), size - 1)
        if start > end:
            return Answer(416, {**answer.headers, "Content-Range": f"bytes */{size}"})
        headers = {**answer.headers, "Content-Range": f"bytes {start}-{end}/{size}"}
        return Answer(206, headers, answer.body[start : end + 1])

    def send(self, answer: Answer, fault: Fault | None) -> None:
        """Send an answer, its headers together with the first part of the body."""
        kind = fault.kind if fault else None
        body = answer.body
        headers = {"Content-Length": str(len(body)), "X-Request-Id": secrets.token_hex(8)}
        headers |= answer.headers
        lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.record.status = answer.status
        head = "\r\n".join([*lines, "\r\n"]).encode("latin-1", "replace")
        if self.command == "HEAD":
            body = b""
        if kind == "cut":
            body = body[: len(body) // 2]
            self.close_connection = True
        step, delay = ONE_SEND, 0.0
        if fault is not None and kind == "slow":
            step, delay = fault.settings["bytes"], fault.settings["delay"]
        for start in range(0, max(len(body), 1), step):
            if start and delay and self.server.hub.stopping.wait(delay):
                return
            piece = body[start : start + step]
            self.record.bytes_sent += len(piece)
            self.wfile.write(head + piece)
            head = b""

    def stall(self, fault: Fault) -> None:
        """Say nothing until the fault is gone, the Hub stops or the client gives up."""
        self.close_connection = True
        hub = self.server.hub
        while any(fault is other for other in hub.faults) and not hub.stopping.wait(POLL):
            if select.select([self.connection], [], [], 0)[0]:
                return

    def reset(self) -> None:
        """Close so that the client's kernel reports a reset connection."""
        self.close_connection = True
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        # Closed by its number: the server's own way would say a polite goodbye first.
        socket.close(self.connection.detach())
