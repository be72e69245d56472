"""`push`: publish a model as a repo on the Hub, in one commit or not at all."""

import tempfile
from pathlib import Path

from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.classifier import Classifier
from fmae_zoo.errors import ArgumentError
from fmae_zoo.hub.address import DEFAULT_REVISION, HUB_PREFIX, check_new_name, check_repo
from fmae_zoo.hub.branch import Branch
from fmae_zoo.hub.client import HubClient, refuse_offline
from fmae_zoo.hub.contents import check_secret, check_secrets, stage
from fmae_zoo.hub.options import TIMEOUT, HubOptions
from fmae_zoo.hub.publisher import Publisher, Pushed


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
        timeout: Seconds from the first request to the last answer.
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
    options = HubOptions(token=token, timeout=timeout)
    client = HubClient(options)
    if not dry_run:
        refuse_offline(options, "push")
        client.require_token()
    with tempfile.TemporaryDirectory(prefix="fmae-push-") as temporary:
        folder = Path(temporary)
        entry = stage(source, folder)
        branch = branch or DEFAULT_REVISION
        to = Branch(client, repo, branch)
        publisher = Publisher(to, entry, folder, own_card=entry.card())
        publisher.write_card(existing=None)
        message = message or f"{entry.title}, pushed by fmae_zoo"
        secret = client.token if not dry_run else token if isinstance(token, str) else None
        check_secrets(folder, secret)
        for name, text in (("message", message), ("tag", tag or ""), ("branch", branch)):
            check_secret(name, text.encode(), secret)
        if dry_run:
            url = f"{client.endpoint}/{repo}"
            return Pushed.of(url, repo, "", False, publisher.contents())
        # Local work between two requests counts too: it may be slow on a busy machine.
        with client.limit.counted():
            publisher.prepare_repo(private)
            return publisher.send(message, tag, create_pr)
