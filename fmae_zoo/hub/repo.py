"""Files of a repo at one commit, from the cache or the Hub, always verified."""

import hashlib
import inspect
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fmae_zoo.component import MAX_PARAMETERS
from fmae_zoo.errors import (
    CacheError,
    DigestError,
    GatedRepoError,
    HubError,
    NotCachedError,
    RepoFileNotFoundError,
    RepoNotFoundError,
    RevisionNotFoundError,
    StaleCacheWarning,
)
from fmae_zoo.files import regular, sha256_of, write_text
from fmae_zoo.hub.address import HubAddress
from fmae_zoo.hub.client import ATTEMPTS, TRANSIENT, HubClient, RepoState
from fmae_zoo.hub.options import HubOptions
from fmae_zoo.layout import CARD_FILE
from fmae_zoo.manifest import FileRecord
from fmae_zoo.spec import MAX_SPEC_BYTES, SPEC_FILE

MAX_BYTES = {SPEC_FILE: MAX_SPEC_BYTES, CARD_FILE: 1 << 18}
MAX_TEXT_BYTES = 4 << 20
MAX_FILE_BYTES = 4 * MAX_PARAMETERS + (1 << 20)
"""Larger files are refused before the download: no valid spec needs one."""

_TEXT_SUFFIXES = (".toml", ".json", ".csv", ".md")

_GIT_BLOB = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass
class Repo:
    """A repo at one commit.

    Attributes:
        address: Address as the user gave it.
        commit: Commit that the revision stands for.
        client: Client that sends the requests.
        state: Files that the Hub lists; None until it is asked.
    """

    address: HubAddress
    commit: str
    client: HubClient
    state: RepoState | None = None

    @classmethod
    def open(cls, address: HubAddress, options: HubOptions) -> Self:
        """Return the repo at the commit that a revision stands for.

        A commit hash needs no request. For a branch or a tag the Hub is asked. If it does not
        answer, or the repo is gone or gated, the commit in the cache is used, with a warning.

        Raises:
            NotCachedError: Offline, and the cache does not know the revision.
            HubError: The revision does not exist, or the Hub fails and the cache does not know it.
        """
        client = HubClient(options)
        if address.is_commit:
            return cls(address, address.revision, client)
        cached = _cached_commit(address, options)
        if options.offline:
            if cached is None:
                raise _not_cached(address, "the revision")
            return cls(address, cached, client)
        try:
            # With a copy in the cache, further attempts are not worth the wait.
            attempts = ATTEMPTS if cached is None else 1
            state = client.state(address.repo, address.revision, attempts)
        except (*TRANSIENT, RepoNotFoundError, GatedRepoError) as error:
            if cached is None:
                raise
            warnings.warn(
                f"{error}. The copy in the cache serves, of commit {cached}; it may not be the "
                "newest.",
                StaleCacheWarning,
                stacklevel=_frames_of_ours(),
            )
            return cls(address, cached, client)
        return cls(address, state.commit, client, state)

    @property
    def folder(self) -> Path:
        """The folder in the cache with the files of this commit."""
        return _cache_of(self.address.repo, self.client.options) / "snapshots" / self.commit

    def file(self, name: str, record: FileRecord | None = None) -> Path:
        """Return the path of a verified file.

        Its content is compared with the digest in the manifest, with that in the Hub's list if it
        was asked, and with the cache's own name for the file if the cache has links. A file that
        differs is fetched once more, then refused.

        Args:
            name: Name of the file.
            record: Size and SHA-256 of the file in the manifest.

        Raises:
            DigestError: The file is not the expected one; the message names both digests.
            NotCachedError: Offline, and the cache does not have the file.
            HubError: The Hub cannot provide the file.
        """
        path = self.folder / name
        offline = self.client.options.offline
        if not self._has(path):
            if offline:
                raise _not_cached(self.address, name)
            self._check_listed(name, record)
            self._download(name)
        wrong = self._wrong_digest(path, record)
        if wrong is not None and not offline:
            self._download(name, force=True)
            wrong = self._wrong_digest(path, record)
        if wrong is None:
            return path
        again = (
            "offline, so it is not fetched again"
            if offline
            else "it was fetched once more, and is the same"
        )
        raise DigestError(
            f"{self.address}: {name}: the file is damaged or altered; {again}.\n"
            f"  expected {wrong[0]}\n  received {wrong[1]}\n  in {path}"
        )

    def fetch_again(self, name: str) -> None:
        """Fetch a file even if the cache has it.

        Raises:
            DigestError: The file is not what the Hub lists.
            HubError: The Hub cannot provide the file.
        """
        self._check_listed(name, None)
        self._download(name, force=True)
        self.file(name)

    def remember(self) -> None:
        """Record in the cache, as `huggingface_hub` does, which commit the revision stands for."""
        if self.state is None or self.address.is_commit or self.client.options.offline:
            return
        path = _ref_of(self.address, self.client.options)
        try:
            if not path.is_file() or path.read_text(encoding="utf-8") != self.commit:
                write_text(path, self.commit)
        except OSError:
            # A cache that cannot be written can still be read.
            return

    def listed(self) -> RepoState:
        """Return what the Hub lists at this commit; the Hub is asked only once."""
        if self.state is None:
            self.state = self.client.state(self.address.repo, self.commit)
        return self.state

    def _check_listed(self, name: str, record: FileRecord | None) -> None:
        """Raise an error, before the download, if a file cannot be the expected one."""
        listed = self.listed().files.get(name)
        if listed is None:
            raise RepoFileNotFoundError(f"{self.address}: there is no {name} in this repo")
        limit = MAX_TEXT_BYTES if name.endswith(_TEXT_SUFFIXES) else MAX_FILE_BYTES
        limit = MAX_BYTES.get(name, limit)
        if listed.size is not None and listed.size > limit:
            raise DigestError(
                f"{self.address}: {name}: {listed.size:,} bytes; expected at most {limit:,}"
            )
        if record is None:
            return
        if listed.size is not None and listed.size != record.size:
            raise DigestError(
                f"{self.address}: {name}: the Hub has {listed.size:,} bytes, the manifest says "
                f"{record.size:,}"
            )
        if listed.sha256 is not None and listed.sha256 != record.sha256:
            raise DigestError(
                f"{self.address}: {name}: the Hub's file is not the manifest's.\n"
                f"  expected SHA-256 {record.sha256}\n  received SHA-256 {listed.sha256}"
            )

    def _has(self, path: Path) -> bool:
        try:
            return path.is_file()
        except OSError as error:
            raise CacheError(f"{path}: cannot be read: {error}") from None

    def _download(self, name: str, force: bool = False) -> None:
        path = self.folder / name
        if force or (path.is_symlink() and not self._has(path)):
            # `huggingface_hub` would keep a plain file, in a cache without links, and a broken
            # link. A link that is not broken was just made by another thread.
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise CacheError(f"{path}: cannot be replaced: {error}") from None
        got = self.client.download(self.address.repo, self.commit, name, force)
        if got.parent.name != self.commit:
            raise RevisionNotFoundError(
                f"{self.address.repo} has no commit {self.commit}: it is a name there"
            )

    def _wrong_digest(self, path: Path, record: FileRecord | None) -> tuple[str, str] | None:
        """Return the expected and the actual digest of a file, or None if they agree."""
        try:
            content = path.read_bytes()
            key = path.readlink().name if path.is_symlink() else ""
        except OSError as error:
            raise CacheError(f"{path}: cannot be read: {error}") from None
        expected = {key, record.sha256 if record else ""}
        if self.state is not None and path.name in self.state.files:
            listed = self.state.files[path.name]
            expected.add(listed.sha256 or listed.blob or "")
        for digest in sorted(expected):
            if _SHA256.fullmatch(digest) and sha256_of(content) != digest:
                return f"SHA-256 {digest}", f"SHA-256 {sha256_of(content)}"
            if _GIT_BLOB.fullmatch(digest) and git_blob_of(content) != digest:
                return f"git blob {digest}", f"git blob {git_blob_of(content)}"
        return None


def git_blob_of(content: bytes) -> str:
    """Return git's SHA-1 of a file, under which the Hub stores small files."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _frames_of_ours() -> int:
    """Return the `stacklevel` for which `warnings.warn` in the caller names the user's line."""
    package = __name__.partition(".")[0]
    level, frame = 0, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith(f"{package}."):
        level, frame = level + 1, frame.f_back
    return max(level, 1)


def _cache_of(repo: str, options: HubOptions) -> Path:
    return options.cache / f"models--{repo.replace('/', '--')}"


def _ref_of(address: HubAddress, options: HubOptions) -> Path:
    return _cache_of(address.repo, options) / "refs" / address.revision


def _cached_commit(address: HubAddress, options: HubOptions) -> str | None:
    try:
        commit = regular(_ref_of(address, options)).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if _GIT_BLOB.fullmatch(commit) else None


def _not_cached(address: HubAddress, what: str) -> HubError:
    return NotCachedError(
        f"{address}: offline, and the cache does not have {what}. Where the network is: "
        f"fmae pull {address}"
    )
