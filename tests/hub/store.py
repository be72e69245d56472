"""What a Hub keeps: repositories with commits, refs and Git LFS content, and who may use them."""

import hashlib
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

LFS_SUFFIXES = (
    *(".7z", ".arrow", ".bin", ".bz2", ".ckpt", ".gz", ".h5", ".joblib", ".keras", ".msgpack"),
    *(".npy", ".npz", ".onnx", ".parquet", ".pb", ".pickle", ".pkl", ".png", ".pt", ".pth"),
    *(".safetensors", ".tar", ".tflite", ".tgz", ".wasm", ".xz", ".zip", ".zst"),
)
LFS_SIZE = 10 * 1000**2
"""Regular files above this size are refused."""
GITATTRIBUTES = "".join(
    f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES
)


class HubError(Exception):
    """An answer other than success, with what the Hub puts in `X-Error-Code` and `-Message`."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers = {f"X-{name.replace('_', '-').title()}": headers[name] for name in headers}


def git_sha1(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


@dataclass(frozen=True)
class Token:
    """What a token stands for: a user, `"read"` or `"write"`, and the user's organisations."""

    user: str
    role: str = "write"
    orgs: tuple[str, ...] = ()

    def owns(self, repo_id: str) -> bool:
        return repo_id.split("/")[0] in (self.user, *self.orgs)

    def may_write(self, repo_id: str) -> bool:
        return self.role == "write" and self.owns(repo_id)


TOKENS = {
    "hf_writer": Token("me", "write", ("zoo",)),
    "hf_reader": Token("me", "read", ("zoo",)),
    "hf_other": Token("other", "write"),
}


@dataclass(frozen=True)
class Blob:
    """A file; with `lfs`, Git holds only a pointer to its content."""

    content: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        version = "https://git-lfs.github.com/spec/v1"
        return f"version {version}\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()

    @cached_property
    def git_id(self) -> str:
        return git_sha1("blob", self.pointer if self.lfs else self.content)


def wants_lfs(path: str, size: int, sample: bytes) -> bool:
    return path.lower().endswith(LFS_SUFFIXES) or size > LFS_SIZE or b"\0" in sample


def check_path(path: str) -> str:
    """Return the path, or refuse one that leads out of the repository or into Git's own files."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts) or "\0" in path:
        raise HubError(400, f'Invalid path: "{path}"')
    return path


Tree = dict[str, Blob]


@dataclass(frozen=True)
class Commit:
    oid: str
    tree: Tree
    parent: str | None
    title: str
    message: str
    author: str
    date: str


@dataclass
class Repo:
    id: str
    author: str
    created: str
    private: bool = False
    gated: str | bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[int, str] = field(default_factory=dict)
    pull_authors: dict[int, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """Git LFS content that was uploaded, by SHA-256."""

    @property
    def head(self) -> Commit:
        return self.commits[self.branches["main"]]

    def resolve(self, revision: str) -> Commit:
        """Return the commit of a branch, tag, pull request or full commit id."""
        pull = re.fullmatch(r"refs/pr/(\d+)", revision)
        oid = (
            self.pulls.get(int(pull[1]))
            if pull
            else self.branches.get(revision.removeprefix("refs/heads/"))
            or self.tags.get(revision.removeprefix("refs/tags/"))
            or revision
        )
        if oid not in self.commits:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def file(self, commit: Commit, path: str) -> Blob:
        if path not in commit.tree:
            raise HubError(404, "Entry not found", "EntryNotFound", repo_commit=commit.oid)
        return commit.tree[path]

    def history(self, commit: Commit) -> list[Commit]:
        found = [commit]
        while found[-1].parent is not None:
            found.append(self.commits[found[-1].parent])
        return found


class Store:
    """All repositories of a Hub. Hold `lock` while using it."""

    def __init__(self):
        self.lock = threading.RLock()
        self.repos: dict[str, Repo] = {}
        self._time = datetime.now(UTC)

    def reset(self) -> None:
        with self.lock:
            self.repos.clear()

    def now(self) -> str:
        """Return the time; no two calls have the same one, so that sorting by it is certain."""
        self._time = max(datetime.now(UTC), self._time + timedelta(milliseconds=1))
        return self._time.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def create(self, repo_id: str, author: str, private: bool = False) -> Repo:
        repo = self.repos[repo_id] = Repo(repo_id, author, self.now(), private)
        attributes = {".gitattributes": Blob(GITATTRIBUTES.encode(), lfs=False)}
        repo.branches["main"] = self.commit(repo, None, attributes, "initial commit", author).oid
        return repo

    def commit(
        self,
        repo: Repo,
        parent: Commit | None,
        tree: Tree,
        title: str,
        author: str,
        message: str = "",
    ) -> Commit:
        """Add a commit to the repository. No ref points to it yet."""
        parent_oid = parent.oid if parent else None
        date = self.now()
        files = sorted((path, blob.git_id) for path, blob in tree.items())
        identity = f"{repo.id} {files} {parent_oid} {author} {date} {title}"
        oid = git_sha1("commit", f"{identity}\n\n{message}".encode())
        commit = Commit(oid, tree, parent_oid, title, message, author, date)
        repo.commits[oid] = commit
        for blob in tree.values():
            if blob.lfs:
                repo.objects[blob.sha256] = blob.content
        return commit

    def readable(self, repo_id: str, token: Token | None) -> Repo:
        """Return a repository whose existence the token's holder may know of."""
        repo = self.repos.get(repo_id)
        if repo is None or (repo.private and not (token and token.owns(repo_id))):
            if token is None:
                # The Hub does not tell strangers whether a repository is missing or private.
                raise unauthorized()
            raise HubError(404, "Repository not found", "RepoNotFound")
        return repo

    def downloadable(self, repo_id: str, token: Token | None) -> Repo:
        """Return a repository whose files the token's holder may read."""
        repo = self.readable(repo_id, token)
        if repo.gated and not (token and token.owns(repo_id)):
            message = f"Access to model {repo_id} is restricted"
            if token is None:
                message += ". You must have access to it and be authenticated to access it."
                raise HubError(401, f"{message} Please log in.", "GatedRepo")
            message += " and you are not in the authorized list."
            raise HubError(403, f"{message} Visit its page to ask for access.", "GatedRepo")
        return repo

    def writable(self, repo_id: str, token: Token | None) -> Repo:
        """Return a repository that the token's holder may change."""
        repo = self.readable(repo_id, token)
        if token is None:
            raise unauthorized()
        if not token.may_write(repo_id):
            raise HubError(403, "Authorization error.")
        return repo

    def committable(
        self, repo_id: str, token: Token | None, revision: str, create_pr: bool
    ) -> Repo:
        """Return a repository to which the token's holder may commit, or propose a commit."""
        repo = self.readable(repo_id, token)
        if token is None:
            raise unauthorized()
        if token.role != "write":
            message = "you must use a write token to upload to a repository."
            raise HubError(403, f"Forbidden: {message}")
        pull = re.fullmatch(r"refs/pr/(\d+)", revision)
        own_pull = pull is not None and repo.pull_authors.get(int(pull[1])) == token.user
        if not (create_pr or own_pull or token.owns(repo_id)):
            message = "pass `create_pr=1` as a query parameter to create a Pull Request"
            raise HubError(403, f"Forbidden: {message}")
        return repo


def unauthorized() -> HubError:
    return HubError(401, "Invalid username or password.", "RepoNotFound")
