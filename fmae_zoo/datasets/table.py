"""The table of data sets known by name, read from table.toml."""

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
        name: Name that `load_data` takes.
        title: Title as its publishers write it.
        format: File format, which selects the reader: `idx`, `npz`, `cifar` or `emnist`.
        shape: Height, width and channels of an image.
        classes: Class names in the order of the labels.
        licence: Licence as the publisher names it.
        homepage: Web address of its description.
        url: Web address of the folder that its files are downloaded from.
        files: Digest of each file, `ALGORITHM:HEX`, by file name.
        packed: Suffix of compressed files on the server if the digests are of the unpacked files.
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
"""All data sets known by name."""


def unknown(name: str) -> str:
    """Return a message that a name is neither in the table nor a path, with similar names."""
    near = difflib.get_close_matches(name.lower(), TABLE, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known are {', '.join(TABLE)}."
    return f"There is no data set {name[:120]!r}, and no such file or folder. {hint}"
