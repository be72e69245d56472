"""The data sets that are known by name, as table.toml lists them."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

DEFAULT = "fashion-mnist"


@dataclass(frozen=True)
class Listed:
    """A data set of the table.

    Attributes:
        name: by which `load_data` knows it.
        title: as its publishers write it.
        format: `idx`, `npz`, `cifar` or `emnist`: how its files are read.
        shape: height, width and channels of an image.
        classes: names of the classes, in the order of their numbers.
        licence: as the publisher names it.
        homepage: where it is described.
        url: of the folder that its files are downloaded from.
        files: digest of each file, `ALGORITHM:HEX`.
        packed: suffix of the files on the server, where the digests are of what is packed.
    """

    name: str
    title: str
    format: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    licence: str
    homepage: str
    url: str
    files: Mapping[str, str]
    packed: str = ""


def _listed() -> Iterator[Listed]:
    text = resources.files("fmae_zoo.datasets").joinpath("table.toml").read_text(encoding="utf-8")
    for publisher in tomllib.loads(text).values():
        shared = {key: value for key, value in publisher.items() if not isinstance(value, dict)}
        for name, own in publisher.items():
            if isinstance(own, dict):
                facts: dict[str, Any] = {**shared, **own}
                shape, classes = tuple(facts.pop("shape")), tuple(facts.pop("classes"))
                yield Listed(name, shape=shape, classes=classes, **facts)


TABLE: dict[str, Listed] = {each.name: each for each in _listed()}
"""Every data set that is known by name."""


def unknown(name: str) -> str:
    """Say that a name is neither in the table nor a path, and which names are near it."""
    near = difflib.get_close_matches(name.lower(), TABLE, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known are {', '.join(TABLE)}."
    return f"There is no data set {name[:120]!r}, and no such file or folder. {hint}"
