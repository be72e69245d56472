"""`publish`: push registry entries to the Hub, and pin the commits in their manifests."""

from collections.abc import Callable, Iterable

from fmae_zoo.errors import ArgumentError
from fmae_zoo.hub.address import check_repo
from fmae_zoo.hub.options import TIMEOUT
from fmae_zoo.hub.push import Pushed, push
from fmae_zoo.manifest import HubRecord
from fmae_zoo.registry import find_entry, is_registered, list_models, short_name


def publish(
    names: str | Iterable[str] = (),
    *,
    org: str,
    private: bool | None = None,
    token: str | bool | None = None,
    timeout: float = TIMEOUT,
    done: Callable[[str, Pushed], None] | None = None,
) -> dict[str, Pushed]:
    """Push registry entries, each to `ORG/NAME`, and write repo and commit into its manifest.

    An entry whose repo already holds the same files is only pinned. If an entry fails, those before
    it stay published and pinned.

    Args:
        names: Registered names; by default all that have weights.
        org: Namespace on the Hub: an organisation or a user.
        private, token: As in `push`.
        timeout: Seconds that may be spent on the Hub for each entry.
        done: Function called after each entry with its name and what was pushed.

    Returns:
        What was pushed, by name.

    Raises:
        ArgumentError: A name is not registered, or `org` is not a valid namespace.
        UnknownModelError, NoWeightsError, HubError, PushRefusedError: As `push`.
        OSError: The manifest cannot be written; the entry is then published but not pinned.
    """
    if not isinstance(names, Iterable) or not isinstance(org, str):
        raise ArgumentError(f"Expected names and an organisation; received {names!r}, {org!r}")
    wanted = [names] if isinstance(names, str) else list(names)
    repos = {}
    for given in wanted or list_models(pretrained=True):
        entry = find_entry(given)
        if not is_registered(given):
            raise ArgumentError(f"{given!r} is no registered name, so it has no pin: push it")
        name = short_name(entry)
        repos[name] = f"{org}/{name}"
        check_repo(repos[name])
    results = {}
    for name, repo in repos.items():
        pushed = push(name, repo, private=private, token=token, timeout=timeout)
        entry = find_entry(name)
        assert entry.folder is not None
        pin = HubRecord(repo=repo, commit=pushed.commit)
        if entry.manifest.hub != pin:
            entry.manifest.model_copy(update={"hub": pin}).write(entry.folder)
        results[name] = pushed
        if done is not None:
            done(name, pushed)
    return results
