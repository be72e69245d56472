"""`push`: publish a model as a repo on the Hub, in one commit or not at all."""

import logging
import tempfile
from pathlib import Path
from typing import Self

from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.classifier import Classifier
from fmae_zoo.errors import ArgumentError
from fmae_zoo.hub.address import DEFAULT_REVISION, HUB_PREFIX, check_new_name, check_repo
from fmae_zoo.hub.client import HubClient
from fmae_zoo.hub.contents import check_secrets, contents_of, stage
from fmae_zoo.hub.options import TIMEOUT, HubOptions
from fmae_zoo.hub.target import Found, Target, holds
from fmae_zoo.layout import CARD_FILE

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


def push(
    source: str | Path | Autoencoder | Classifier,
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
    """Publish a model to the Hugging Face Hub: weights, spec, manifest, card and pictures.

    Everything is checked before anything is sent. All files go into one commit on top of the
    newest one; if somebody else commits in between, the push is refused. If the Hub's answer is
    lost, the files on the Hub are compared before the push is repeated or reported as failed.
    Pushing the same model again changes nothing.

    Args:
        source: An `Autoencoder`, a `Classifier` on the encoder of one, a registered name, or a
            folder that `save` or `train` wrote.
        repo: Name of the repo, `NAMESPACE/NAME`; created if it does not exist.
        private: Whether a new repo is private; by default the namespace decides, usually public.
            True refuses to push into a public repo.
        tag: Tag to put on the commit. An existing tag is never moved.
        branch: Branch to commit to, `main` by default; created from `main` if it does not exist.
        create_pr: Whether to open a pull request instead of committing to the branch.
        message: Commit message.
        token: Token of the Hub's user; by default that of `HF_TOKEN` or `hf auth login`.
        timeout: Seconds that may be spent on the Hub in total.
        dry_run: Whether to make all checks, but no request.

    Returns:
        The URL, with the commit and whether it is new.

    Raises:
        PushRefusedError: The folder is damaged, has unknown files or holds a secret; or the repo
            holds another model, or is public although `private` is True.
        HubConflictError: Somebody else committed, or the tag is on another commit.
        HubPermissionError: The token is missing, wrong, or may not write here.
        HubError: The Hub failed in another way.
        SpecError: The card on the Hub, which a person may have edited, is damaged.
        WeightsError: A weight of the model is NaN or infinite.
        UnknownModelError, NoWeightsError, ArgumentError: The source or an argument is wrong.
        OSError: The folder for temporary files cannot be written.
    """
    check_repo(repo)
    for name, value in (("tag", tag), ("branch", branch)):
        if value is not None:
            check_new_name(name, value)
    for argument, given, kind in (("private", private, bool), ("message", message, str)):
        if given is not None and not isinstance(given, kind):
            raise ArgumentError(f"{argument} is {given!r}; expected {kind.__name__}, or None")
    if isinstance(source, str) and source.startswith(HUB_PREFIX):
        raise ArgumentError(f"{source} is on the Hub already; pull it into a folder first")
    if create_pr and tag:
        raise ArgumentError("tag is for a commit, and create_pr makes none yet: give one of them")
    with tempfile.TemporaryDirectory(prefix="fmae-push-") as temporary:
        cache, folder = Path(temporary, "cache"), Path(temporary, "model")
        folder.mkdir()
        client = HubClient(HubOptions(token=token, cache_dir=cache, timeout=timeout))
        if not dry_run:
            client.require("push", token=True)
        entry = stage(source, folder)
        branch = branch or DEFAULT_REVISION
        files = contents_of(entry, repo)
        message = message or f"{entry.title}, pushed by fmae_zoo"
        words = {"message": message, "tag": tag or "", "branch": branch}
        secret = client.token if not dry_run else token if isinstance(token, str) else None
        check_secrets(files | {name: text.encode() for name, text in words.items()}, secret)
        url = f"{client.endpoint}/{repo}"
        if dry_run:
            return Pushed.of(url, repo, "", False, files)
        target = Target(client, repo, branch, create_pr)
        before = target.opened(private, entry.title)
        files = contents_of(entry, repo, target.card_in(before))
        there: Found = (before.commit, None) if holds(before, files) else None
        tagged = tag is not None and target.is_tagged(tag, there and there[0])
        if there is None and create_pr:
            there = target.open_request(files)
        if there is not None:
            logger.warning("%s holds the same already, at commit %s", there[1] or repo, there[0])
        commit, request_url = there or target.commit(before, files, message)
        if tag and not tagged:
            target.tag(
                tag, commit, "pushed, as" if there is None else "it holds the same already, at"
            )
        return Pushed.of(request_url or url, repo, commit, there is None, files)
