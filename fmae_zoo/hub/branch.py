"""Commits and tags on a branch of a Hub repo, also when the Hub's answer is lost."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fmae_zoo.errors import (
    FmaeError,
    HubConflictError,
    HubError,
    HubPermissionError,
    HubServerError,
    RepoNotFoundError,
)
from fmae_zoo.files import sha256_of
from fmae_zoo.hub.client import ATTEMPTS, TRANSIENT, HubClient, RemoteFile, RepoState
from fmae_zoo.hub.contents import REPO_FILES
from fmae_zoo.hub.repo import git_blob_of

LARGE_SUFFIXES = (".safetensors", ".h5", ".png")
"""Suffixes of the files that the Hub stores outside git."""


@dataclass(frozen=True)
class Branch:
    """A branch of a Hub repo to which commits are made.

    Attributes:
        client: Client that sends the requests.
        repo: Name of the repo, `NAMESPACE/NAME`.
        name: Name of the branch.
    """

    client: HubClient
    repo: str
    name: str

    def state(self) -> RepoState:
        """Return the newest commit of the branch and its files."""
        return self.client.state(self.repo, self.name)

    def ask(self, function: Any, *args: Any, attempts: int = ATTEMPTS, **kwargs: Any) -> Any:
        """Call a function of `huggingface_hub` with the repo as its first argument.

        Raises:
            FmaeError: As `HubClient.call`.
        """
        request = self.client.request("write", self.repo)
        return self.client.call(
            function, self.repo, *args, request=request, attempts=attempts, **kwargs
        )

    def commit(
        self, before: RepoState, files: dict[str, bytes], message: str, create_pr: bool
    ) -> tuple[str, str | None]:
        """Commit the files; return the commit, and the pull request's URL or None."""
        known = self._requests() if create_pr else set()
        attempt = 1
        while True:
            try:
                info = self.ask(
                    self._upload_and_commit,
                    _operations(before, files),
                    attempts=1,
                    commit_message=message,
                    revision=self.name,
                    parent_commit=before.commit,
                    create_pr=create_pr,
                )
            except HubError as error:
                if isinstance(error, (HubPermissionError, RepoNotFoundError)):
                    raise
                # The commit may exist although the answer was lost, so look in the repo.
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
        """Raise an error if a new commit does not hold all files that were sent.

        Raises:
            HubError: A file is missing or differs, or the Hub cannot be asked.
        """
        try:
            whole = holds(self.client.state(self.repo, commit), files)
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
        """Upload large files one by one, which avoids further threads, then commit all files."""
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
        """Return the commit that holds the files, or None if no commit was made.

        Args:
            before: State of the branch before the commit.
            files: Files that were sent, by name.
            known: References of the earlier pull requests; None if no pull request was asked for.
            error: Error of the failed request.

        Raises:
            HubConflictError: Somebody else committed to the branch, or `error` is such an error.
            HubError: The Hub cannot be asked whether a commit was made.
        """
        try:
            new = self._requests() - known if known is not None else set()
            found = self._found_request(files, new)
            newest = self.state() if known is None else before
            for commit in self._commits_since(before.commit, newest.commit):
                if found is None and holds(self.client.state(self.repo, commit), files):
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
                f"{self.repo}: somebody else committed meanwhile, and {self.name} is at "
                f"{newest.commit} now; nothing of yours was written. Look at it: "
                f"{self.client.endpoint}/{self.repo}/commits/{self.name}, then push again."
            ) from None
        if isinstance(error, HubConflictError):
            raise error
        return None

    def _found_request(
        self, files: dict[str, bytes], references: set[str]
    ) -> tuple[str, str | None] | None:
        """Return commit and URL of the first pull request that holds the files, or None."""
        for reference in sorted(references):
            state = self.client.state(self.repo, reference)
            if holds(state, files):
                number = reference.rsplit("/", 1)[-1]
                return state.commit, f"{self.client.endpoint}/{self.repo}/discussions/{number}"
        return None

    def _commits_since(self, before: str, newest: str) -> list[str]:
        """Return the commits of the branch after `before`, oldest first."""
        if newest == before:
            return []
        listed = self.ask(self.client.api.list_repo_commits, revision=self.name)
        commits = [commit.commit_id for commit in listed]
        return commits[: commits.index(before)][::-1] if before in commits else [newest]

    def open_request(self, files: dict[str, bytes]) -> tuple[str, str | None] | None:
        """Return commit and URL of an open pull request that holds the files, or None."""

        def listed(repo: str) -> set[str]:
            found = self.client.api.get_repo_discussions(
                repo, discussion_type="pull_request", discussion_status="open"
            )
            return {request.git_reference for request in found}

        return self._found_request(files, self.ask(listed))

    def _requests(self) -> set[str]:
        refs = self.ask(self.client.api.list_repo_refs, include_pull_requests=True)
        return {ref.ref for ref in refs.pull_requests or ()}

    def check_tag(self, tag: str, commit: str | None) -> bool:
        """Return whether a tag exists; raise an error if it is on another commit than `commit`.

        Raises:
            HubConflictError: The tag is on another commit; the message names it.
        """
        there = self._tagged(tag)
        if there is not None and there != commit:
            raise HubConflictError(
                f"{self.repo}: the tag {tag} is on commit {there}, and is not moved. "
                f"{'Nothing was sent. ' if commit is None else ''}Choose another tag."
            )
        return there is not None

    def _tagged(self, tag: str) -> str | None:
        tags = self.ask(self.client.api.list_repo_refs).tags
        return next((ref.target_commit for ref in tags if ref.name == tag), None)

    def tag(self, tag: str, commit: str, done: str) -> None:
        """Tag a commit; error messages use `done` to say what happened to the commit before.

        Raises:
            HubError: The tag was not made, or it is unknown whether it was.
        """
        error: HubError | None = None
        try:
            self.ask(self.client.api.create_tag, tag=tag, revision=commit)
        except HubError as met:
            # The tag may exist: from another push, or because only the answer was lost.
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


@contextmanager
def _without_bars() -> Iterator[None]:
    """Hide the progress bars of `huggingface_hub`, one for each small file."""
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


def holds(state: RepoState, files: dict[str, bytes]) -> bool:
    """Return whether the zoo's files in a repo are exactly `files`, with the same content."""
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

    # Streams are uploaded by LFS, which every Hub supports, instead of Xet.
    added = [CommitOperationAdd(name, io.BytesIO(content)) for name, content in files.items()]
    stale = sorted((before.files.keys() & set(REPO_FILES)) - files.keys())
    return [*added, *(CommitOperationDelete(name) for name in stale)]


def _without_commit(error: FmaeError) -> FmaeError:
    error.args = (f"{str(error).rstrip('.')}. No commit was made.",)
    return error
