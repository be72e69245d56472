"""`push`: an entry becomes a repo on the Hub, in one commit or not at all."""

import io
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.card import card_of, check_card
from fmae_zoo.entry import CARD_FILE, Entry
from fmae_zoo.errors import (
    ArgumentError,
    FmaeError,
    HubConflictError,
    HubError,
    HubServerError,
    PushRefusedError,
    RepoNotFoundError,
    SpecError,
)
from fmae_zoo.files import sha256_of, write_text
from fmae_zoo.hub.address import DEFAULT_REVISION, HubAddress, check_repo, check_revision
from fmae_zoo.hub.client import (
    ATTEMPTS,
    TRANSIENT,
    HubClient,
    RemoteFile,
    RepoState,
    refuse_offline,
)
from fmae_zoo.hub.contents import REPO_FILES, check_secrets, pictures_in, stage
from fmae_zoo.hub.options import TIMEOUT, HubOptions
from fmae_zoo.hub.repo import Repo, git_blob_of
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.spec import SPEC_FILE, ModelSpec

logger = logging.getLogger(__name__)


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


def push(
    source: str | Path | Autoencoder,
    repo: str,
    *,
    private: bool | None = None,
    tag: str | None = None,
    branch: str | None = None,
    create_pr: bool = False,
    message: str | None = None,
    token: str | bool | None = None,
    timeout: float = TIMEOUT,
    dry_run: bool = False,
) -> Pushed:
    """Publish a model to the Hugging Face Hub: weights, spec, manifest, card, pictures.

    Everything is checked before anything is sent. Then there is one commit, on the commit that was
    the newest when it was prepared: if somebody else commits in between, it is refused. Where
    the Hub's answer is lost, its files are compared before the push is called failed or sent
    again. Pushing the same again changes nothing.

    Args:
        source: an `Autoencoder`, a registered name, or a folder that `save` or `train` wrote.
        repo: `NAMESPACE/NAME`; made where it does not exist.
        private: whether a new repo is private; by default it is public. True refuses to push into
            one that is public.
        tag: put on the commit. A tag is never moved.
        branch: that is committed to, made from `main` where it does not exist.
        create_pr: open a pull request in place of committing.
        message: of the commit.
        token: of the Hub's user; by default that of `HF_TOKEN` or `hf auth login`.
        timeout: seconds that may be spent on the Hub in total.
        dry_run: check all, ask the Hub nothing, and send nothing.

    Returns:
        The URL, with the commit, and whether it is new.

    Raises:
        PushRefusedError: the folder is damaged, has unknown files, or holds a secret.
        HubConflictError: somebody else committed, or the tag is on another commit.
        HubPermissionError: there is no token, it is wrong, or may not write here.
        HubError: anything else that the Hub does or does not do.
        UnknownModelError, NoWeightsError, ArgumentError: the source or an argument is wrong.
    """
    check_repo(repo)
    for name, value in (("tag", tag), ("branch", branch)):
        if value is not None:
            check_revision(name, value)
    if create_pr and tag:
        raise ArgumentError("tag is for a commit, and create_pr makes none yet: give one of them")
    options = HubOptions(token=token, timeout=timeout)
    if not dry_run:
        refuse_offline(options, "push")
    client = HubClient(options)
    if not dry_run:
        client.require_token()
    with tempfile.TemporaryDirectory(prefix="fmae-push-") as temporary:
        folder = Path(temporary)
        entry = stage(source, folder)
        publisher = Publisher(client, repo, branch or DEFAULT_REVISION, entry, folder)
        publisher.write_card(existing=None)
        if dry_run:
            url = f"{client.endpoint}/{repo}"
            return Pushed.of(url, repo, "", False, publisher.contents())
        publisher.prepare_repo(private)
        message = message or f"{entry.spec.full_name}, pushed by fmae_zoo"
        return publisher.publish(message, tag, create_pr)


@dataclass
class Publisher:
    """One push of a staged folder to one branch of one repo."""

    client: HubClient
    repo: str
    branch: str
    entry: Entry
    folder: Path

    def contents(self) -> dict[str, bytes]:
        """Return the staged files, by name."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}

    def write_card(self, existing: str | None) -> None:
        """Write the card, and check it and the folder for the last time."""
        card = card_of(self.entry, self.repo, pictures=pictures_in(self.folder), existing=existing)
        check_card(card, self.entry.manifest)
        write_text(self.folder / CARD_FILE, card)
        check_secrets(self.folder, self.client.token)

    def prepare_repo(self, private: bool | None) -> None:
        """Make repo and branch where they are missing.

        Raises:
            PushRefusedError: the repo is public, and should be private.
        """
        try:
            state = self.client.state(self.repo, DEFAULT_REVISION)
        except RepoNotFoundError:
            self._ask(self.client.api.create_repo, private=bool(private), exist_ok=True)
            state = self.client.state(self.repo, DEFAULT_REVISION)
        if private and not state.private:
            raise PushRefusedError(
                f"{self.repo} is public, and private=True asks for a private repo; nothing was "
                f"sent. Its settings: {self.client.endpoint}/{self.repo}/settings"
            )
        if self.branch != DEFAULT_REVISION:
            self._ask(self.client.api.create_branch, branch=self.branch, exist_ok=True)

    def publish(self, message: str, tag: str | None, create_pr: bool) -> Pushed:
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
        if tag:
            self._check_tag(tag, None if changed else before.commit)
        url = f"{self.client.endpoint}/{self.repo}"
        commit = before.commit
        if changed:
            commit, pull_request = self._commit(before, files, message, create_pr)
            url = pull_request or url
        else:
            logger.warning("%s holds the same already, at commit %s", self.repo, commit)
        if tag:
            self._tag(tag, commit)
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
        with tempfile.TemporaryDirectory(prefix="fmae-push-") as cache:
            path = self._remote(state, cache).file(SPEC_FILE)
            try:
                there = ModelSpec.from_toml(path).full_name
            except SpecError:
                there = "a model whose spec cannot be read"
        if there != self.entry.spec.full_name:
            raise PushRefusedError(
                f"{self.repo} holds {there}, and not {self.entry.spec.full_name}; nothing was "
                "sent. Push into another repo."
            )

    def _card_in(self, state: RepoState) -> str | None:
        if CARD_FILE not in state.files:
            return None
        with tempfile.TemporaryDirectory(prefix="fmae-push-") as cache:
            content = self._remote(state, cache).file(CARD_FILE).read_bytes()
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            raise PushRefusedError(f"{self.repo}: its {CARD_FILE} is no UTF-8 text") from None

    def _remote(self, state: RepoState, cache: str) -> Repo:
        """Return the repo at a commit, with a cache of its own."""
        options = HubOptions(self.client.options.token, cache, timeout=self.client.left)
        address = HubAddress(self.repo, state.commit)
        return Repo(address, state.commit, HubClient(options), state)

    def _commit(
        self, before: RepoState, files: dict[str, bytes], message: str, create_pr: bool
    ) -> tuple[str, str | None]:
        """Commit; return the commit, and the URL of the pull request where there is one."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                info = self._ask(
                    self.client.api.create_commit,
                    _operations(before, files),
                    commit_message=message,
                    revision=self.branch,
                    parent_commit=before.commit,
                    create_pr=create_pr,
                    attempts=1,
                )
                return info.oid, info.pr_url
            except (*TRANSIENT, HubConflictError) as error:
                # The answer may be lost and the work done; only the repo itself can tell.
                found = self._found(before, files, create_pr, error)
                if found is not None:
                    return found
                again = attempt < ATTEMPTS and self.client.wait(attempt, error)
                if not again:
                    raise _nothing_sent(error, self.repo) from None
        raise HubServerError(f"{self.repo}: nothing was asked")

    def _found(
        self, before: RepoState, files: dict[str, bytes], create_pr: bool, error: FmaeError
    ) -> tuple[str, str | None] | None:
        """Return the commit that holds the files, or None where none came to be.

        Raises:
            HubConflictError: another commit did.
        """
        try:
            now = self._state()
            requests = self._refs().pull_requests or [] if create_pr else []
            for ref in requests:
                state = self.client.state(self.repo, ref.ref)
                if _holds(state, files):
                    number = ref.ref.rsplit("/", 1)[-1]
                    url = f"{self.client.endpoint}/{self.repo}/discussions/{number}"
                    return state.commit, url
        except HubError:
            raise type(error)(
                f"{error}. Whether it was done is not known: the Hub cannot be asked now. Push "
                "again later: if it was, nothing is changed."
            ) from None
        if not create_pr and now.commit != before.commit and _holds(now, files):
            return now.commit, None
        if now.commit != before.commit:
            raise HubConflictError(
                f"{self.repo}: somebody else committed meanwhile, and {self.branch} is at "
                f"{now.commit} now; nothing of yours was written. Look at it: "
                f"{self.client.endpoint}/{self.repo}/commits/{self.branch}, then push again."
            ) from None
        if isinstance(error, HubConflictError):
            raise error
        return None

    def _check_tag(self, tag: str, commit: str | None) -> None:
        """Refuse a tag that stands on another commit than the one to be tagged.

        Raises:
            HubConflictError: naming the commit.
        """
        there = self._tagged(tag)
        if there is not None and there != commit:
            raise HubConflictError(
                f"{self.repo}: the tag {tag} is on commit {there}, and is not moved. "
                f"{'Nothing was sent. ' if commit is None else ''}Choose another tag."
            )

    def _tagged(self, tag: str) -> str | None:
        return next((ref.target_commit for ref in self._refs().tags if ref.name == tag), None)

    def _tag(self, tag: str, commit: str) -> None:
        try:
            self._ask(self.client.api.create_tag, tag=tag, revision=commit)
        except HubError as error:
            # Another push, or this one, whose answer was lost, may have made it.
            try:
                there = self._tagged(tag)
            except HubError:
                there = None
            if there == commit:
                return
            on = f"it is on commit {there}" if there else str(error)
            raise type(error)(
                f"{self.repo}: pushed, as commit {commit}, but without the tag {tag}: {on}"
            ) from None

    def _state(self) -> RepoState:
        return self.client.state(self.repo, self.branch)

    def _refs(self) -> Any:
        return self._ask(self.client.api.list_repo_refs, include_pull_requests=True)

    def _ask(self, function: Any, *args: Any, attempts: int = ATTEMPTS, **kwargs: Any) -> Any:
        request = self.client.request("write", self.repo)
        return self.client.call(
            function, self.repo, *args, request=request, attempts=attempts, **kwargs
        )


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


def _nothing_sent(error: FmaeError, repo: str) -> FmaeError:
    error.args = (f"{error} {repo} is as it was.",)
    return error
