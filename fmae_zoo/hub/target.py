"""The branch of a Hub repo to which a push goes: commits and tags, also when an answer is lost."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fmae_zoo.entry import title_of
from fmae_zoo.errors import (
    HubConflictError,
    HubError,
    HubPermissionError,
    PushRefusedError,
    RepoNotFoundError,
    SpecError,
)
from fmae_zoo.head import HEAD_FILE
from fmae_zoo.hub.address import DEFAULT_REVISION, HubAddress
from fmae_zoo.hub.client import TRANSIENT, HubClient
from fmae_zoo.hub.contents import REPO_FILES
from fmae_zoo.hub.repo import Repo, digest_like
from fmae_zoo.layout import CARD_FILE
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.spec import SPEC_FILE, ModelSpec

LARGE_SUFFIXES = (".safetensors", ".h5", ".png")
"""Suffixes of the files that the Hub stores outside git."""

Found = tuple[str, str | None] | None
"""Commit that holds the files, with the URL of its pull request, if there is one."""


def holds(state: Repo, files: dict[str, bytes]) -> bool:
    """Return whether the zoo's files in a repo are exactly `files`, with the same content."""
    return files.keys() == state.files.keys() & set(REPO_FILES) and all(
        digest_like(state.digest(name), content) == state.digest(name)
        for name, content in files.items()
    )


@dataclass(frozen=True)
class Target:
    """The branch of a repo to which a push goes, or for which it opens a pull request."""

    client: HubClient
    repo: str
    branch: str
    create_pr: bool

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function of `huggingface_hub` with the repo as its first argument."""
        request = self.client.request("write", self.repo)
        return self.client.call(function, self.repo, *args, request=request, **kwargs)

    def state(self, revision: str) -> Repo:
        """Return the repo at a revision, with the files that the Hub lists now."""
        return Repo.listed(self.client, HubAddress(self.repo, revision))

    def opened(self, private: bool | None, title: str) -> Repo:
        """Create the repo and the branch if they do not exist; return the branch's state.

        Raises:
            PushRefusedError: The repo is public but should be private, or holds another model.
        """
        api = self.client.api
        try:
            state = self.state(DEFAULT_REVISION)
        except RepoNotFoundError:
            self.call(api.create_repo, private=private, exist_ok=True)
            state = self.state(DEFAULT_REVISION)
        if private and not state.private:
            raise PushRefusedError(
                f"{self.repo} is public, and private=True asks for a private repo; nothing was "
                f"sent. Its settings: {self.client.endpoint}/{self.repo}/settings"
            )
        self._check_same_model(state, title)
        if self.branch != DEFAULT_REVISION:
            self.call(api.create_branch, branch=self.branch, exist_ok=True)
            state = self.state(self.branch)
            self._check_same_model(state, title)
        return state

    def _check_same_model(self, state: Repo, title: str) -> None:
        found = [name for name in REPO_FILES if name in state.files and name != CARD_FILE]
        if not found:
            return
        if SPEC_FILE not in found or MANIFEST_FILE not in found:
            there = f"{', '.join(found)} of something else than a model of the zoo"
        else:
            try:
                spec = ModelSpec.from_toml(state.file(SPEC_FILE))
                there = title_of(spec, HEAD_FILE in found)
            except SpecError:
                there = "a model whose spec cannot be read"
        if there != title:
            refused = f"{self.repo} holds {there}, and not {title}; nothing was sent"
            raise PushRefusedError(f"{refused}. Push into another repo.")

    def card_in(self, state: Repo) -> str | None:
        """Return the card in the repo, or None; raise an error if it is no text."""
        if CARD_FILE not in state.files:
            return None
        try:
            return state.file(CARD_FILE).read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            raise PushRefusedError(f"{self.repo}: its {CARD_FILE} is no UTF-8 text") from None

    def commit(self, before: Repo, files: dict[str, bytes], message: str) -> tuple[str, str | None]:
        """Commit the files; return the commit, and the pull request's URL or None."""
        request = self.client.request("write", self.repo)
        attempt = 1
        while True:
            try:
                info = self.client.ask(self._send, before, files, message, request=request)
                break
            except HubError as error:
                if isinstance(error, (HubPermissionError, RepoNotFoundError)):
                    raise
                # The commit may exist although the answer was lost, so look in the repo.
                found = self._found(before, files)
                if found is not None:
                    return found
                if not isinstance(error, TRANSIENT) or not self.client.wait(attempt, error):
                    error.args = (f"{str(error).rstrip('.')}. No commit was made.",)
                    raise
                attempt += 1
        with _told(f"{self.repo} has the commit {info.oid}, but whether it is whole is not known"):
            state = self.state(info.oid)
        if not holds(state, files):
            raise HubError(
                f"{self.repo}: commit {info.oid} does not hold all that was sent: perhaps a "
                ".gitignore in the repo leaves files out"
            )
        return info.oid, info.pr_url

    def _send(self, before: Repo, files: dict[str, bytes], message: str) -> Any:
        """Upload large files one by one, which avoids further threads, then commit all files."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        # Streams are uploaded by LFS, which every Hub supports, instead of Xet.
        added = [CommitOperationAdd(name, io.BytesIO(content)) for name, content in files.items()]
        where = {"revision": self.branch, "create_pr": self.create_pr}
        api = self.client.api
        stale = sorted((before.files.keys() & set(REPO_FILES)) - files.keys())
        operations = [*added, *(CommitOperationDelete(name) for name in stale)]
        how = where | {"commit_message": message, "parent_commit": before.commit}
        with _without_bars():
            for large in added:
                if large.path_in_repo.endswith(LARGE_SUFFIXES):
                    api.preupload_lfs_files(self.repo, [large], free_memory=False, **where)
            return api.create_commit(self.repo, operations, **how)

    def _found(self, before: Repo, files: dict[str, bytes]) -> Found:
        """Return the commit that holds the files and the pull request's URL, or None.

        Raises:
            HubConflictError: Somebody else committed to the branch.
        """
        with _told("Whether the push was done is not known"):
            if self.create_pr:
                return self.open_request(files)
            newest = self.state(self.branch)
            if newest.commit == before.commit:
                return None
            listed = self.call(self.client.api.list_repo_commits, revision=self.branch)
            commits = [commit.commit_id for commit in listed]
            ours = commits.index(before.commit) if before.commit in commits else 1
            for commit in reversed(commits[:ours]):
                if holds(self.state(commit), files):
                    return commit, None
        raise HubConflictError(
            f"{self.repo}: somebody else committed meanwhile, and {self.branch} is at "
            f"{newest.commit} now; nothing of yours is in it. Look: "
            f"{self.client.endpoint}/{self.repo}/commits/{self.branch}, then push again."
        )

    def open_request(self, files: dict[str, bytes]) -> Found:
        """Return commit and URL of an open pull request that holds the files, or None."""

        def listed(repo: str) -> list[tuple[str, int]]:
            found = self.client.api.get_repo_discussions(
                repo, discussion_type="pull_request", discussion_status="open"
            )
            return [(request.git_reference, request.num) for request in found]

        for reference, number in self.call(listed):
            state = self.state(reference)
            if holds(state, files):
                # The library's own URL may hold a user name and a password.
                return state.commit, f"{self.client.endpoint}/{self.repo}/discussions/{number}"
        return None

    def is_tagged(self, tag: str, commit: str | None) -> bool:
        """Return whether a tag exists; raise `HubConflictError` if it is on another commit."""
        refs = self.call(self.client.api.list_repo_refs)
        tags = {ref.name: ref.target_commit for ref in refs.tags}
        if tags.get(tag, commit) != commit:
            there = f"{self.repo}: the tag {tag} is on commit {tags[tag]}, and is not moved"
            sent = "" if commit else " Nothing was sent."
            raise HubConflictError(f"{there}.{sent} Choose another tag.")
        return tag in tags

    def tag(self, tag: str, commit: str, done: str) -> None:
        """Tag a commit; error messages use `done` to say what happened to the commit before."""
        with _told(f"{self.repo}: {done} commit {commit}, but perhaps without the tag {tag}"):
            try:
                self.call(self.client.api.create_tag, tag=tag, revision=commit)
            except HubConflictError:
                # It exists: from another push, or because only the answer was lost.
                if not self.is_tagged(tag, commit):
                    raise


@contextmanager
def _without_bars() -> Iterator[None]:
    """Hide the progress bars of `huggingface_hub`, one for each small file."""
    from huggingface_hub import utils

    hidden = utils.are_progress_bars_disabled()
    if not hidden:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            utils.enable_progress_bars()


@contextmanager
def _told(known: str) -> Iterator[None]:
    """Add to errors of the Hub what is known of a push that may have been done in part."""
    try:
        yield
    except HubError as error:
        again = "Push again later: what is done already is not done twice."
        error.args = (f"{str(error).rstrip('.')}. {known}. {again}",)
        raise
