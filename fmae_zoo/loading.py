"""`load`: from a name to a model."""

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
    """Return a model by name.

    The Hub is asked for a repo (`hf://`), for a `revision`, and where the package's own copy of a
    published entry is missing or damaged; otherwise no request is made. Every file is verified,
    the package's own against its manifest, a repo's against the Hub's digests and its manifest.

    Args:
        source: a registered name (`conv-ae-bn`, or with its tag `conv-ae-bn.fmnist`);
            `local:FOLDER`, a folder that `save` or `train` wrote; or
            `hf://NAMESPACE/NAME[@REVISION]`, a repo that `push` wrote.
        pretrained: read the weights, after checking their SHA-256. By default those of a folder,
            a repo or a revision are read, and those of a name are not.
        part: `encoder` or `decoder` builds the whole network but reads that part's file
            only, and returns that part: a plain Functional `keras.Model`.
        seed: of the weights, where they are not read.
        revision: branch, tag or commit of the repo, or of that in which a name is published.
        token: of the Hub's user; by default that of `HF_TOKEN` or `hf auth login`.
        cache_dir: of what is downloaded; by default the Hub's own, which `HF_HUB_CACHE` names.
        local_files_only: make no request; what is in the cache serves.
        timeout: seconds that may be spent on the Hub in total.
        precision: what the model computes with: a Keras dtype policy, `mixed_bfloat16` for
            example, or `auto`, the fastest that suits this machine. By default float32, and
            for a classifier what it was saved with. Published figures and goldens are float32's.

    Returns:
        An `Autoencoder`, or the part asked for; or the `Classifier` that a folder or a repo holds.

    Raises:
        UnknownModelError: there is no such name, folder or part.
        NoWeightsError: pretrained weights are asked for and there are none: a model is
            never silently random.
        WeightsError: the weights are damaged or altered.
        ArgumentError: the source is neither text nor a path, the seed out of range, there is
            no such precision, or a part of a classifier is asked for.
        HubError: the Hub does not give what was asked for; each reason is a class of its own.
        BackendError: no Keras backend is installed.
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
