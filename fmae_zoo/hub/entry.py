"""An entry whose folder is a repo on the Hub."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fmae_zoo.entry import Entry
from fmae_zoo.errors import (
    DigestError,
    NotCachedError,
    NoWeightsError,
    RepoFileNotFoundError,
    SpecError,
)
from fmae_zoo.hub.address import HubAddress
from fmae_zoo.hub.options import HubOptions
from fmae_zoo.hub.repo import Repo
from fmae_zoo.layout import CARD_FILE
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.spec import SPEC_FILE, ModelSpec


@dataclass(frozen=True, kw_only=True)
class HubEntry(Entry):
    """An entry on the Hub, whose files are fetched and verified when they are needed.

    Attributes:
        repo: Repo at one commit.
    """

    repo: Repo

    @classmethod
    def open(cls, address: HubAddress, options: HubOptions) -> Self:
        """Fetch the spec and the manifest of a repo, and check that they belong together.

        Raises:
            RepoFileNotFoundError: The repo has no spec, so it holds no model of the zoo.
            NoWeightsError: The repo has no manifest.
            SpecError: The spec or the manifest is not valid.
            DigestError: The weights were trained by another spec.
            HubError: The Hub cannot provide the files.
        """
        repo = Repo.open(address, options)
        try:
            entry = cls._of(repo)
        except SpecError:
            # The cached copy may be damaged, which a cache without links cannot detect.
            if options.offline:
                raise
            entry = cls._of(repo, again=True)
        trained_by = entry.manifest.spec_sha256
        if trained_by and trained_by != entry.spec.digest:
            raise DigestError(
                f"{address}: {SPEC_FILE} is not the one that the weights were trained by.\n"
                f"  expected {trained_by}\n  received {entry.spec.digest}"
            )
        return entry

    @classmethod
    def _of(cls, repo: Repo, again: bool = False) -> Self:
        try:
            spec = repo.file(SPEC_FILE, again=again)
        except RepoFileNotFoundError as error:
            raise RepoFileNotFoundError(
                f"{error}, so it holds no model of the zoo. A model of plain Keras is read with "
                f'keras.saving.load_model("hf://{repo.address.repo}")'
            ) from None
        try:
            repo.file(MANIFEST_FILE, again=again)
        except RepoFileNotFoundError:
            raise NoWeightsError(f"{repo.address}: no {MANIFEST_FILE}, so no weights") from None
        read = ModelSpec.from_toml(spec)
        entry = cls(spec=read, folder=repo.folder, options=repo.client.options, repo=repo)
        _ = entry.manifest
        return entry

    @property
    def read_only(self) -> bool:
        """True: nothing may be written into the folder."""
        return True

    def file(self, name: str) -> tuple[Path, str]:
        """Return the path of a verified file, and its SHA-256.

        Raises:
            NoWeightsError: The manifest records no such file.
            HubError: The Hub cannot provide the file.
        """
        record = self.record(name)
        return self.repo.file(name, record), record.sha256

    def card(self) -> str | None:
        """Return the text of the model card, fetched if needed, or None if there is none.

        Raises:
            SpecError: The card cannot be read.
            HubError: The Hub cannot provide it.
        """
        with suppress(RepoFileNotFoundError, NotCachedError):
            self.repo.file(CARD_FILE)
        return super().card()

    def obtain(self, *names: str) -> list[tuple[Path, str]]:
        """Return path and SHA-256 of each file; record the revision's commit in the cache."""
        found = [self.file(name) for name in names]
        self.repo.remember()
        return found
