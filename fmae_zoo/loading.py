"""`load`: from a name to a model."""

from pathlib import Path
from typing import Any

from fmae_zoo._backend import require_backend
from fmae_zoo.arguments import check_seed
from fmae_zoo.entry import PARTS
from fmae_zoo.errors import UnknownModelError
from fmae_zoo.registry import find_entry, is_registered


def load(
    source: str | Path,
    *,
    pretrained: bool | None = None,
    part: str | None = None,
    seed: int = 0,
) -> Any:
    """Return a model by name.

    Args:
        source: a registered name (`conv-ae-bn`, or with its tag `conv-ae-bn.fmnist`), or
            `local:FOLDER`, a folder that `save` or `train` wrote.
        pretrained: read the weights, after checking their SHA-256. By default a folder's
            weights are read and a name's are not.
        part: `encoder` or `decoder` builds the whole network but reads that part's file
            only, and returns that part: a plain Functional `keras.Model`.
        seed: of the weights, where they are not read.

    Returns:
        An `Autoencoder`, or the part asked for.

    Raises:
        UnknownModelError: there is no such name, folder or part.
        NoWeightsError: pretrained weights are asked for and there are none: a model is
            never silently random.
        WeightsError: the weights are damaged or altered.
        ArgumentError: the source is neither text nor a path, or the seed out of range.
        BackendError: no Keras backend is installed.
    """
    require_backend()
    if part is not None and part not in PARTS:
        raise UnknownModelError(f"part is {part!r}; expected one of {', '.join(PARTS)}, or None")
    check_seed(seed)
    entry = find_entry(source)
    if pretrained is None:
        pretrained = not is_registered(source)
    return entry.build(pretrained=pretrained, part=part, seed=seed)
