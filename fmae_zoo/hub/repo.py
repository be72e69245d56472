"""Files of a repo at one commit, from the cache or the Hub, always verified."""

import hashlib
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

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
from fmae_zoo.hub.address import COMMIT, HubAddress
from fmae_zoo.hub.client import ATTEMPTS, REQUEST_TIMEOUT, TRANSIENT, HubClient
from fmae_zoo.hub.errors import not_the_hub
from fmae_zoo.hub.options import HubOptions
from fmae_zoo.layout import CARD_FILE
from fmae_zoo.manifest import FileRecord
from fmae_zoo.spec import MAX_SPEC_BYTES, SPEC_FILE

MAX_BYTES = {SPEC_FILE: MAX_SPEC_BYTES, CARD_FILE: 1 << 18}
MAX_TEXT_BYTES = 4 << 20
MAX_FILE_BYTES = 4 * MAX_PARAMETERS + (1 << 20)
"""Larger files are refused before the download: no valid spec needs one."""

_TEXT_SUFFIXES = (".toml", ".json", ".csv", ".md")
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass
class Repo:
    """A repo at one commit.

    Attributes:
        client: Client that sends the requests.
        address: Address as the user gave it.
        commit: Commit that the revision stands for.
        private: Whether the repo is private; False until the Hub is asked.
        files: The Hub's description of each file by name; empty until it is asked.
    """

    client: HubClient
    address: HubAddress
    commit: str
    private: bool = False
    files: dict[str, Any] = field(default_factory=dict)

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
            return cls(client, address, address.revision)
        cached = cls(client, address, "")._remembered()
        if options.offline:
            if not cached:
                raise _not_cached(address, "the revision")
            return cls(client, address, cached)
        try:
            # With a copy in the cache, further attempts are not worth the wait.
            return cls.listed(client, address, attempts=1 if cached else ATTEMPTS)
        except (*TRANSIENT, RepoNotFoundError, GatedRepoError) as error:
            if not cached:
                raise
            warnings.warn(
                f"{str(error).rstrip('.')}. The copy in the cache serves, of commit {cached}; it "
                "may not be the newest.",
                StaleCacheWarning,
                stacklevel=2,
            )
            return cls(client, address, cached)

    @classmethod
    def listed(cls, client: HubClient, address: HubAddress, attempts: int = ATTEMPTS) -> Self:
        """Ask the Hub for the commit that a revision stands for, and for its files.

        Raises:
            HubError: The Hub cannot be asked, or there is no such repo or revision.
        """
        request = client.request("read", address.repo, address.revision)
        info = client.call(
            client.api.model_info,
            address.repo,
            revision=address.revision,
            files_metadata=True,
            timeout=REQUEST_TIMEOUT,
            request=request,
            attempts=attempts,
        )
        files = {file.rfilename: file for file in info.siblings or ()}
        sized = all(isinstance(file.size, (int, type(None))) for file in files.values())
        if not sized or not COMMIT.fullmatch(str(info.sha)):
            raise not_the_hub(request)
        return cls(client, address, info.sha, bool(info.private), files)

    @property
    def _cache(self) -> Path:
        return self.client.options.cache / f"models--{self.address.repo.replace('/', '--')}"

    @property
    def folder(self) -> Path:
        """The folder in the cache with the files of this commit."""
        return self._cache / "snapshots" / self.commit

    def file(self, name: str, record: FileRecord | None = None, again: bool = False) -> Path:
        """Return the path of a verified file.

        Its content is compared with the digest in the manifest, with that in the Hub's list if it
        was asked, and with the cache's own name for the file if the cache has links. A file that
        differs is fetched once more, then refused.

        Args:
            name: Name of the file.
            record: Size and SHA-256 of the file in the manifest.
            again: Whether to fetch the file even if the cache has it.

        Raises:
            DigestError: The file is not the expected one; the message names both digests.
            NotCachedError: Offline, and the cache does not have the file.
            HubError: The Hub cannot provide the file.
        """
        path = self.folder / name
        offline = self.client.options.offline
        try:
            if again or not path.is_file():
                if offline:
                    raise _not_cached(self.address, name)
                self._check_listed(name, record)
                self._download(path, force=again)
            wrong = self._wrong_digest(path, record)
            if wrong and not offline:
                self._download(path, force=True)
                wrong = self._wrong_digest(path, record)
        except HubError:
            raise
        except OSError as error:
            raise CacheError(f"{path}: cannot be read or replaced: {error}") from None
        if not wrong:
            return path
        fetched = "offline, so it is not fetched again" if offline else "also when fetched again"
        raise DigestError(
            f"{self.address}: {name}: the file is damaged or altered; {fetched}.\n"
            f"  expected {wrong[0]}\n  received {wrong[1]}\n  in {path}"
        )

    def digest(self, name: str) -> str:
        """Return the digest that the Hub lists: git's SHA-1, or SHA-256 if it is outside git."""
        file = self.files[name]
        return str(file.lfs.sha256 if file.lfs else file.blob_id)

    def remember(self) -> None:
        """Record in the cache, as `huggingface_hub` does, which commit the revision stands for."""
        if not self.files or self.address.is_commit or self._remembered() == self.commit:
            return
        try:
            write_text(self._cache / "refs" / self.address.revision, self.commit)
        except OSError:
            # A cache that cannot be written can still be read.
            return

    def _remembered(self) -> str:
        """Return the commit that the cache has for the revision, or an empty text."""
        try:
            ref = regular(self._cache / "refs" / self.address.revision)
            commit = ref.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""
        return commit if COMMIT.fullmatch(commit) else ""

    def _check_listed(self, name: str, record: FileRecord | None) -> None:
        """Raise an error, before the download, if a file cannot be the expected one."""
        if not self.files:
            self.files = self.listed(self.client, HubAddress(self.address.repo, self.commit)).files
        listed = self.files.get(name)
        if listed is None:
            raise RepoFileNotFoundError(f"{self.address}: there is no {name} in this repo")
        limit = MAX_TEXT_BYTES if name.endswith(_TEXT_SUFFIXES) else MAX_FILE_BYTES
        limit = MAX_BYTES.get(name, limit)
        if listed.size is not None and listed.size > limit:
            raise DigestError(
                f"{self.address}: {name}: {listed.size:,} bytes; expected at most {limit:,}"
            )
        if record is not None and listed.size not in (None, record.size):
            raise DigestError(
                f"{self.address}: {name}: the Hub has {listed.size:,} bytes, the manifest says "
                f"{record.size:,}"
            )
        if record is not None and listed.lfs and listed.lfs.sha256 != record.sha256:
            raise DigestError(
                f"{self.address}: {name}: the Hub's file is not the manifest's.\n"
                f"  expected {record.sha256}\n  received {listed.lfs.sha256}"
            )

    def _download(self, path: Path, force: bool) -> None:
        if force or (path.is_symlink() and not path.is_file()):
            # `huggingface_hub` would keep a plain file, in a cache without links, and a broken
            # link. A link that is not broken was just made by another thread.
            path.unlink(missing_ok=True)
        got = self.client.download(self.address.repo, self.commit, path.name, force)
        if got.parent.name != self.commit:
            raise RevisionNotFoundError(f"{self.address}: there is no such commit, but such a name")

    def _wrong_digest(self, path: Path, record: FileRecord | None) -> tuple[str, str] | None:
        """Return the expected and the actual digest of a file, or None if they agree."""
        content = path.read_bytes()
        expected = [path.readlink().name if path.is_symlink() else ""]
        expected.append(record.sha256 if record else "")
        if path.name in self.files:
            expected.append(self.digest(path.name))
        for digest in filter(_DIGEST.fullmatch, expected):
            actual = digest_like(digest, content)
            if digest != actual:
                return digest, actual
        return None


def _not_cached(address: HubAddress, what: str) -> HubError:
    return NotCachedError(
        f"{address}: offline, and the cache does not have {what}. Where the network is: "
        f"fmae pull {address}"
    )


def digest_like(expected: str, content: bytes) -> str:
    """Return the digest of a content, of the kind of the expected one."""
    if len(expected) == 64:
        return sha256_of(content)
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
