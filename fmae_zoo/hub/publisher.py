"""One push: what is sent to a repo, and how a lost answer is resolved."""

import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fmae_zoo.card import card_of, check_card
from fmae_zoo.entry import Entry, title_of
from fmae_zoo.errors import (
    FmaeError,
    HubConflictError,
    HubError,
    HubPermissionError,
    HubServerError,
    PushRefusedError,
    RepoNotFoundError,
    SpecError,
)
from fmae_zoo.files import sha256_of, write_text
from fmae_zoo.head import HEAD_FILE
from fmae_zoo.hub.address import DEFAULT_REVISION, HubAddress
from fmae_zoo.hub.client import ATTEMPTS, TRANSIENT, HubClient, RemoteFile, RepoState
from fmae_zoo.hub.contents import REPO_FILES, pictures_in
from fmae_zoo.hub.repo import Repo, git_blob_of
from fmae_zoo.layout import CARD_FILE
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.spec import SPEC_FILE, ModelSpec

logger = logging.getLogger(__name__)

LARGE_SUFFIXES = (".safetensors", ".h5", ".png")
"""Of the files that the Hub stores apart from git."""


class Pushed(str):
    """The URL of what was pushed.

    Attributes:
        repo: `NAMESPACE/NAME`.
        commit: that holds it; empty for a dry run.
        changed: whether a commit was made: False where the repo held the same already.
        sizes: bytes of each file of the repo that was written or compared.
        card: the model card.
    """

    repo: str
    commit: str
    changed: bool
    sizes: dict[str, int]
    card: str

    @classmethod
    def of(cls, url: str, repo: str, commit: str, changed: bool, files: dict[str, bytes]) -> Self:
        """Make one from what was pushed."""
        pushed = cls(url)
        pushed.repo, pushed.commit, pushed.changed = repo, commit, changed
        pushed.sizes = {name: len(content) for name, content in files.items()}
        pushed.card = files[CARD_FILE].decode("utf-8")
        return pushed


@dataclass
class Publisher:
    """One push of a staged folder to one branch of one repo.

    Attributes:
        client: that asks the Hub.
        repo: `NAMESPACE/NAME`.
        branch: that is committed to.
        entry: that is staged.
        folder: in which it is.
        own_card: the user's, for a repo that has none.
    """

    client: HubClient
    repo: str
    branch: str
    entry: Entry
    folder: Path
    own_card: str | None = None

    def contents(self) -> dict[str, bytes]:
        """Return the staged files, by name."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}

    def write_card(self, existing: str | None) -> None:
        """Write the card."""
        existing = self.own_card if existing is None else existing
        card = card_of(self.entry, self.repo, pictures=pictures_in(self.folder), existing=existing)
        check_card(card, self.entry.manifest)
        write_text(self.folder / CARD_FILE, card)

    def prepare_repo(self, private: bool | None) -> None:
        """Make repo and branch where they are missing, unless what is there forbids it.

        Raises:
            PushRefusedError: the repo is public, and should be private; or holds something else.
        """
        try:
            state = self.client.state(self.repo, DEFAULT_REVISION)
        except RepoNotFoundError:
            self._ask(self.client.api.create_repo, private=private, exist_ok=True)
            state = self.client.state(self.repo, DEFAULT_REVISION)
        if private and not state.private:
            raise PushRefusedError(
                f"{self.repo} is public, and private=True asks for a private repo; nothing was "
                f"sent. Its settings: {self.client.endpoint}/{self.repo}/settings"
            )
        self._check_same_model(state)
        if self.branch != DEFAULT_REVISION:
            self._ask(self.client.api.create_branch, branch=self.branch, exist_ok=True)

    def send(self, message: str, tag: str | None, create_pr: bool) -> Pushed:
        """Commit what differs, and tag the commit.

        Raises:
            PushRefusedError: the repo holds something else.
            HubError: as `push`.
        """
        before = self._state()
        self._check_same_model(before)
        self.write_card(self._card_in(before))
        files = self.contents()
        changed = not _holds(before, files)
        tagged = self._check_tag(tag, None if changed else before.commit) if tag else True
        commit, url = before.commit, None
        if changed and create_pr:
            opened = self._found_request(files, self._open_requests())
            if opened is not None:
                changed, (commit, url) = False, opened
        if changed:
            commit, url = self._commit(before, files, message, create_pr)
        else:
            logger.warning("%s holds the same already, at commit %s", url or self.repo, commit)
        if tag and not tagged:
            self._tag(tag, commit, "pushed, as" if changed else "it holds the same already, at")
        url = url or f"{self.client.endpoint}/{self.repo}"
        return Pushed.of(url, self.repo, commit, changed, files)

    def _check_same_model(self, state: RepoState) -> None:
        """Refuse to write over something else than this model.

        Raises:
            PushRefusedError: naming what is there.
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
        """Give the repo at a commit, with a cache of its own."""
        with tempfile.TemporaryDirectory(prefix="fmae-push-") as cache:
            address = HubAddress(self.repo, state.commit)
            yield Repo(address, state.commit, self.client.with_cache(cache), state)

    def _commit(
        self, before: RepoState, files: dict[str, bytes], message: str, create_pr: bool
    ) -> tuple[str, str | None]:
        """Commit; return the commit, and the URL of the pull request where there is one."""
        known = self._requests() if create_pr else set()
        attempt = 1
        while True:
            try:
                info = self._ask(
                    self._upload_and_commit,
                    _operations(before, files),
                    attempts=1,
                    commit_message=message,
                    revision=self.branch,
                    parent_commit=before.commit,
                    create_pr=create_pr,
                )
            except HubError as error:
                if isinstance(error, (HubPermissionError, RepoNotFoundError)):
                    raise
                # The answer may be lost and the work done; only the repo itself can tell.
                found = self._found(before, files, known if create_pr else None, error)
                if found is not None:
                    return found
                final = attempt >= ATTEMPTS or not isinstance(error, TRANSIENT)
                if final or not self.client.wait(attempt, error):
                    raise _without_commit(error) from None
                attempt += 1
                continue
            self._check_commit(info.oid, files)
            return info.oid, info.pr_url

    def _check_commit(self, commit: str, files: dict[str, bytes]) -> None:
        """Refuse to call a push done whose commit does not hold all that was sent.

        Raises:
            HubError: it does not, or the Hub cannot be asked.
        """
        try:
            whole = _holds(self.client.state(self.repo, commit), files)
        except HubError as unknown:
            raise type(unknown)(
                f"{str(unknown).rstrip('.')}. {self.repo} has the commit {commit}; whether it is "
                "whole could not be seen. Push again later: if it is, nothing is changed."
            ) from None
        if not whole:
            raise HubError(
                f"{self.repo}: commit {commit} does not hold all that was sent: perhaps a "
                ".gitignore in the repo leaves files out"
            )

    def _upload_and_commit(self, repo: str, operations: list[Any], **how: Any) -> Any:
        """Upload large files one by one, which the client then does in this thread; commit."""
        with _without_bars():
            for operation in operations:
                if operation.path_in_repo.endswith(LARGE_SUFFIXES):
                    self.client.api.preupload_lfs_files(
                        repo,
                        [operation],
                        revision=how["revision"],
                        create_pr=how["create_pr"],
                        free_memory=False,
                    )
            return self.client.api.create_commit(repo, operations, **how)

    def _found(
        self,
        before: RepoState,
        files: dict[str, bytes],
        known: set[str] | None,
        error: FmaeError,
    ) -> tuple[str, str | None] | None:
        """Return the commit that holds the files, or None where none came to be.

        Args:
            before: the state that was committed on.
            files: that were committed.
            known: references of the pull requests that were there before, for a new one.
            error: that was met.

        Raises:
            HubConflictError: another commit did.
        """
        try:
            new = self._requests() - known if known is not None else set()
            found = self._found_request(files, new)
            newest = self._state() if known is None else before
            for commit in self._commits_since(before.commit, newest.commit):
                if found is None and _holds(self.client.state(self.repo, commit), files):
                    found = commit, None
        except HubError as unknown:
            raise type(unknown)(
                f"{str(unknown).rstrip('.')}. Whether the push was done is not known. Push again "
                "later: if it was, nothing is changed."
            ) from None
        if found is not None:
            return found
        if newest.commit != before.commit:
            raise HubConflictError(
                f"{self.repo}: somebody else committed meanwhile, and {self.branch} is at "
                f"{newest.commit} now; nothing of yours was written. Look at it: "
                f"{self.client.endpoint}/{self.repo}/commits/{self.branch}, then push again."
            ) from None
        if isinstance(error, HubConflictError):
            raise error
        return None

    def _found_request(
        self, files: dict[str, bytes], references: set[str]
    ) -> tuple[str, str | None] | None:
        """Return commit and URL of the pull request, among some, that holds the files."""
        for reference in sorted(references):
            state = self.client.state(self.repo, reference)
            if _holds(state, files):
                number = reference.rsplit("/", 1)[-1]
                return state.commit, f"{self.client.endpoint}/{self.repo}/discussions/{number}"
        return None

    def _commits_since(self, before: str, newest: str) -> list[str]:
        """Return the commits of the branch that are newer than one, the oldest first."""
        if newest == before:
            return []
        listed = self._ask(self.client.api.list_repo_commits, revision=self.branch)
        commits = [commit.commit_id for commit in listed]
        return commits[: commits.index(before)][::-1] if before in commits else [newest]

    def _open_requests(self) -> set[str]:
        def listed(repo: str) -> set[str]:
            found = self.client.api.get_repo_discussions(
                repo, discussion_type="pull_request", discussion_status="open"
            )
            return {request.git_reference for request in found}

        references: set[str] = self._ask(listed)
        return references

    def _requests(self) -> set[str]:
        refs = self._ask(self.client.api.list_repo_refs, include_pull_requests=True)
        return {ref.ref for ref in refs.pull_requests or ()}

    def _check_tag(self, tag: str, commit: str | None) -> bool:
        """Return whether a tag is there; refuse one on another commit than that to be tagged.

        Raises:
            HubConflictError: naming the commit.
        """
        there = self._tagged(tag)
        if there is not None and there != commit:
            raise HubConflictError(
                f"{self.repo}: the tag {tag} is on commit {there}, and is not moved. "
                f"{'Nothing was sent. ' if commit is None else ''}Choose another tag."
            )
        return there is not None

    def _tagged(self, tag: str) -> str | None:
        tags = self._ask(self.client.api.list_repo_refs).tags
        return next((ref.target_commit for ref in tags if ref.name == tag), None)

    def _tag(self, tag: str, commit: str, done: str) -> None:
        error: HubError | None = None
        try:
            self._ask(self.client.api.create_tag, tag=tag, revision=commit)
        except HubError as met:
            # Another push, or this one, whose answer was lost, may have made it.
            error = met
        try:
            there = self._tagged(tag)
        except HubError as unknown:
            raise type(unknown)(
                f"{self.repo}: {done} commit {commit}; whether the tag {tag} was made is not "
                f"known: {unknown}"
            ) from None
        if there == commit:
            return
        on = f"it is on commit {there}" if there else str(error or "the Hub does not list it")
        raise type(error or HubServerError(""))(
            f"{self.repo}: {done} commit {commit}, but without the tag {tag}: {on}"
        ) from None

    def _state(self) -> RepoState:
        return self.client.state(self.repo, self.branch)

    def _ask(self, function: Any, *args: Any, attempts: int = ATTEMPTS, **kwargs: Any) -> Any:
        request = self.client.request("write", self.repo)
        return self.client.call(
            function, self.repo, *args, request=request, attempts=attempts, **kwargs
        )


@contextmanager
def _without_bars() -> Iterator[None]:
    """Leave out the client's progress bars: there would be one for each small file."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    shown = not are_progress_bars_disabled()
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def _holds(state: RepoState, files: dict[str, bytes]) -> bool:
    """Return whether a repo holds these files, and no other of the zoo's."""
    there = state.files.keys() & set(REPO_FILES)
    return there == files.keys() and all(
        _same(state.files[name], content) for name, content in files.items()
    )


def _same(file: RemoteFile, content: bytes) -> bool:
    if file.sha256 is not None:
        return file.sha256 == sha256_of(content)
    return file.blob == git_blob_of(content)


def _operations(before: RepoState, files: dict[str, bytes]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    # As streams, because the client then uploads by LFS, which every Hub has, and not by Xet.
    added = [CommitOperationAdd(name, io.BytesIO(content)) for name, content in files.items()]
    stale = sorted((before.files.keys() & set(REPO_FILES)) - files.keys())
    return [*added, *(CommitOperationDelete(name) for name in stale)]


def _without_commit(error: FmaeError) -> FmaeError:
    error.args = (f"{str(error).rstrip('.')}. No commit was made.",)
    return error
