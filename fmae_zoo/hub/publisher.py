"""One push: create the repo, check what it holds, write the card, commit and tag."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fmae_zoo.card import card_of, check_card
from fmae_zoo.entry import Entry, title_of
from fmae_zoo.errors import (
    PushRefusedError,
    RepoNotFoundError,
    SpecError,
)
from fmae_zoo.files import write_text
from fmae_zoo.head import HEAD_FILE
from fmae_zoo.hub.address import DEFAULT_REVISION, HubAddress
from fmae_zoo.hub.branch import Branch, holds
from fmae_zoo.hub.client import HubClient, RepoState
from fmae_zoo.hub.contents import REPO_FILES, pictures_in
from fmae_zoo.hub.repo import Repo
from fmae_zoo.layout import CARD_FILE
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.spec import SPEC_FILE, ModelSpec

logger = logging.getLogger(__name__)


class Pushed(str):
    """The URL of a repo or pull request, with the details of the push.

    Attributes:
        repo: Name of the repo, `NAMESPACE/NAME`.
        commit: Commit that holds the files; empty for a dry run.
        changed: Whether a commit was made; False if the Hub already held the same files.
        sizes: Size in bytes of each file that was written or compared, by name.
        card: Text of the model card.
    """

    repo: str
    commit: str
    changed: bool
    sizes: dict[str, int]
    card: str

    @classmethod
    def of(cls, url: str, repo: str, commit: str, changed: bool, files: dict[str, bytes]) -> Self:
        """Return the URL with the details of these files."""
        pushed = cls(url)
        pushed.repo, pushed.commit, pushed.changed = repo, commit, changed
        pushed.sizes = {name: len(content) for name, content in files.items()}
        pushed.card = files[CARD_FILE].decode("utf-8")
        return pushed


@dataclass
class Publisher:
    """One push of a staged folder to one branch of one repo.

    Attributes:
        branch: Branch to commit to.
        entry: Entry in the staged folder.
        folder: Staged folder.
        own_card: Card of the user, for a repo that has none.
    """

    branch: Branch
    entry: Entry
    folder: Path
    own_card: str | None = None

    @property
    def client(self) -> HubClient:
        """The client that sends the requests."""
        return self.branch.client

    @property
    def repo(self) -> str:
        """The name of the repo, `NAMESPACE/NAME`."""
        return self.branch.repo

    def contents(self) -> dict[str, bytes]:
        """Return the contents of the staged files, by name."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}

    def write_card(self, existing: str | None) -> None:
        """Write the card into the staged folder, based on the existing card if there is one."""
        existing = self.own_card if existing is None else existing
        card = card_of(self.entry, self.repo, pictures=pictures_in(self.folder), existing=existing)
        check_card(card, self.entry.manifest)
        write_text(self.folder / CARD_FILE, card)

    def prepare_repo(self, private: bool | None) -> None:
        """Create the repo and the branch if they do not exist.

        Raises:
            PushRefusedError: The repo is public but should be private, or it holds another model.
        """
        try:
            state = self.client.state(self.repo, DEFAULT_REVISION)
        except RepoNotFoundError:
            self.branch.ask(self.client.api.create_repo, private=private, exist_ok=True)
            state = self.client.state(self.repo, DEFAULT_REVISION)
        if private and not state.private:
            raise PushRefusedError(
                f"{self.repo} is public, and private=True asks for a private repo; nothing was "
                f"sent. Its settings: {self.client.endpoint}/{self.repo}/settings"
            )
        self._check_same_model(state)
        if self.branch.name != DEFAULT_REVISION:
            self.branch.ask(self.client.api.create_branch, branch=self.branch.name, exist_ok=True)

    def send(self, message: str, tag: str | None, create_pr: bool) -> Pushed:
        """Commit the files if the repo's differ, and tag the commit.

        Raises:
            PushRefusedError: The repo holds another model.
            HubError: As `push`.
        """
        before = self.branch.state()
        self._check_same_model(before)
        self.write_card(self._card_in(before))
        files = self.contents()
        changed = not holds(before, files)
        tagged = self.branch.check_tag(tag, None if changed else before.commit) if tag else True
        commit, url = before.commit, None
        if changed and create_pr:
            opened = self.branch.open_request(files)
            if opened is not None:
                changed, (commit, url) = False, opened
        if changed:
            commit, url = self.branch.commit(before, files, message, create_pr)
        else:
            logger.warning("%s holds the same already, at commit %s", url or self.repo, commit)
        if tag and not tagged:
            self.branch.tag(
                tag, commit, "pushed, as" if changed else "it holds the same already, at"
            )
        url = url or f"{self.client.endpoint}/{self.repo}"
        return Pushed.of(url, self.repo, commit, changed, files)

    def _check_same_model(self, state: RepoState) -> None:
        """Raise an error if the repo holds another model than this one.

        Raises:
            PushRefusedError: It does; the message names what the repo holds.
        """
        ours = set(REPO_FILES) - {CARD_FILE}
        found = sorted(ours & state.files.keys())
        if not found:
            return
        if SPEC_FILE not in found or MANIFEST_FILE not in found:
            raise PushRefusedError(
                f"{self.repo} holds {', '.join(found)} of something else than a model of the zoo; "
                "nothing was sent. Push into another repo."
            )
        with self._remote(state) as repo:
            try:
                spec = ModelSpec.from_toml(repo.file(SPEC_FILE))
                there = title_of(spec, HEAD_FILE in found)
            except SpecError:
                there = "a model whose spec cannot be read"
        if there != self.entry.title:
            raise PushRefusedError(
                f"{self.repo} holds {there}, and not {self.entry.title}; nothing was sent. Push "
                "into another repo."
            )

    def _card_in(self, state: RepoState) -> str | None:
        if CARD_FILE not in state.files:
            return None
        with self._remote(state) as repo:
            content = repo.file(CARD_FILE).read_bytes()
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise PushRefusedError(f"{self.repo}: its {CARD_FILE} is no UTF-8 text") from None

    @contextmanager
    def _remote(self, state: RepoState) -> Iterator[Repo]:
        """Yield the repo at a commit, with a temporary cache of its own."""
        with tempfile.TemporaryDirectory(prefix="fmae-push-") as cache:
            address = HubAddress(self.repo, state.commit)
            yield Repo(address, state.commit, self.client.with_cache(cache), state)
