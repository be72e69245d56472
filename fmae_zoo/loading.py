"""The function `load`, which returns a model by name."""

from pathlib import Path
from typing import Any

from fmae_zoo._backend import require_backend
from fmae_zoo.arguments import check_seed
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, UnknownModelError
from fmae_zoo.hub.address import HUB_PREFIX, HubAddress
from fmae_zoo.hub.options import TIMEOUT, HubOptions
from fmae_zoo.layout import PARTS
from fmae_zoo.registry import find_entry, is_registered


def load(
    source: str | Path,
    *,
    pretrained: bool | None = None,
    part: str | None = None,
    seed: int = 0,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    timeout: float = TIMEOUT,
    precision: str | None = None,
) -> Any:
    """Return a model by name, with or without its pretrained weights.

    Requests to the Hub are made only for a repo (`hf://`), for a `revision`, or if the package's
    copy of a published entry is missing or damaged. Every file is verified: the package's files
    against the manifest, a repo's files against the Hub's digests and the repo's manifest.

    Args:
        source: A registered name (`conv-ae-bn`, or with its tag `conv-ae-bn.fmnist`);
            `local:FOLDER`, a folder written by `save` or `train`; or
            `hf://NAMESPACE/NAME[@REVISION]`, a repo written by `push`.
        pretrained: Whether to read the weights, after checking their SHA-256. The default is
            False for a registered name, and True for a folder, a repo or a revision.
        part: `encoder` or `decoder` to return only that part, a Functional `keras.Model`, and to
            read only its file.
        seed: Seed of the weights if they are not read.
        revision: Branch, tag or commit of the repo, or of the repo where a name is published.
        token: Token of the Hub's user; by default the one in `HF_TOKEN` or of `hf auth login`.
        cache_dir: Folder for downloads; by default the Hub's own cache (`HF_HUB_CACHE`).
        local_files_only: Whether to make no request and use only the cache.
        timeout: Largest total time of requests to the Hub, in seconds.
        precision: Keras dtype policy, for example `mixed_bfloat16`, or `auto` for the fastest on
            this machine. The default is float32, or for a classifier the precision it was saved
            with. Published figures and goldens are computed in float32.

    Returns:
        An `Autoencoder`, the part asked for, or the `Classifier` that a folder or repo holds.

    Raises:
        UnknownModelError: There is no such name, folder or part.
        NoWeightsError: Pretrained weights are asked for and there are none: a model is never
            silently random.
        WeightsError: The weights are damaged or altered.
        SpecError: The spec or the manifest is damaged, or the spec was edited after the training.
        ArgumentError: The source is neither text nor a path, the seed is out of range, there is
            no such precision, the source cannot take `revision`, or a part of a classifier is
            asked for.
        HubError: A request to the Hub failed; each reason has its own subclass.
        BackendError: No Keras backend is installed.
    """
    require_backend()
    if part is not None and part not in PARTS:
        raise UnknownModelError(f"part is {part!r}; expected one of {', '.join(PARTS)}, or None")
    check_seed(seed)
    options = HubOptions(token, cache_dir, local_files_only, timeout)
    entry = _at_revision(source, revision, options)
    if pretrained is None:
        pretrained = revision is not None or not is_registered(source)
    return entry.build(pretrained=pretrained, part=part, seed=seed, precision=precision)


def _at_revision(source: str | Path, revision: str | None, options: HubOptions) -> Entry:
    if revision is None:
        return find_entry(source, options)
    if isinstance(source, str) and source.startswith(HUB_PREFIX):
        if "@" in source:
            raise ArgumentError(f"{source!r} has a revision already; revision={revision!r} too")
        return find_entry(str(HubAddress(HubAddress.parse(source).repo, revision)), options)
    entry = find_entry(source)
    if not is_registered(source) or not entry.pretrained or not entry.manifest.hub.repo:
        raise ArgumentError(
            f"revision is {revision!r}, but {source} is not published on the Hub: it has none"
        )
    published = find_entry(str(HubAddress(entry.manifest.hub.repo, revision)), options)
    if published.title != entry.title:
        raise UnknownModelError(
            f"{entry.manifest.hub.repo} holds {published.title} at {revision}, and not "
            f"{entry.title}"
        )
    return published
