"""`push`: an entry becomes a repo on the Hub, in one commit or not at all."""

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
    """Publish a model to the Hugging Face Hub: weights, spec, manifest, card, pictures.

    Everything is checked before anything is sent. Then there is one commit, on the commit that was
    the newest when it was prepared: if somebody else commits in between, it is refused. Where
    the Hub's answer is lost, its files are compared before the push is called failed or sent
    again. Pushing the same again changes nothing.

    Args:
        source: an `Autoencoder`, a `Classifier` on the encoder of one, a registered name, or a
            folder that `save` or `train` wrote.
        repo: `NAMESPACE/NAME`; made where it does not exist.
        private: whether a new repo is private; by default it is what the namespace has as its
            default, public mostly. True refuses to push into one that is public.
        tag: put on the commit. A tag is never moved.
        branch: that is committed to, made from `main` where it does not exist.
        create_pr: open a pull request in place of committing.
        message: of the commit.
        token: of the Hub's user; by default that of `HF_TOKEN` or `hf auth login`.
        timeout: seconds from the first question to the Hub to the last answer.
        dry_run: check all, ask the Hub nothing, and send nothing.

    Returns:
        The URL, with the commit, and whether it is new.

    Raises:
        PushRefusedError: the folder is damaged, has unknown files, or holds a secret.
        HubConflictError: somebody else committed, or the tag is on another commit.
        HubPermissionError: there is no token, it is wrong, or may not write here.
        HubError: anything else that the Hub does or does not do.
        SpecError: the card on the Hub, which a person may have edited, is damaged.
        UnknownModelError, NoWeightsError, ArgumentError: the source or an argument is wrong.
        OSError: the folder for temporary files cannot be written.
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
        # From here on also what is done here between two requests, which a busy machine draws out.
        with client.limit.counted():
            publisher.prepare_repo(private)
            return publisher.send(message, tag, create_pr)
