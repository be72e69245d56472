"""Registry of entries by name: lookup, wildcards, tags, suggestions, third-party registries."""

import contextlib
import difflib
import fnmatch
import logging
import os
import sys
import threading
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from fmae_zoo.arguments import check_folder
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, DuplicateModelError, SpecError, UnknownModelError
from fmae_zoo.hub.address import HUB_PREFIX, HubAddress
from fmae_zoo.hub.options import HubOptions
from fmae_zoo.spec import DEFAULT_TAG, SPEC_FILE, ModelSpec

logger = logging.getLogger(__name__)
_building = threading.RLock()
_unfinished: list[dict[str, Entry]] = []
"""Table that is being built, so that an entry point may call `register` itself."""

ENTRY_POINT_GROUP = "fmae_zoo.registries"
LOCAL_PREFIX = "local:"

_package = Path(__file__).resolve().parent
BUNDLED = next(
    (
        folder
        for folder in (_package / "_registry", _package.parent / "registry")
        if folder.is_dir()
    ),
    _package / "_registry",
)
"""Folder of the entries that come with the package."""


def register(source: ModelSpec | str | Path) -> str:
    """Add a spec or the entries of a folder to the registry of this process; return their names.

    Args:
        source: A `ModelSpec`, a folder with a spec.toml, or a folder of such folders.

    Returns:
        The full names, separated by commas.

    Raises:
        ArgumentError: The source is neither a spec nor a folder.
        DuplicateModelError: A name is already registered; nothing is added.
        SpecError: A spec is not valid, or there is none in the folder.
    """
    if not isinstance(source, (ModelSpec, str, os.PathLike)):
        raise ArgumentError(
            f"Expected a ModelSpec or a folder to register; received {type(source).__name__}. "
            "A dictionary becomes a spec with ModelSpec.from_dict."
        )
    if not isinstance(source, ModelSpec):
        source = check_folder("source", source)
    table = _table()
    added = _entries_in(source)
    _check_unique(added, table)
    table.update({entry.spec.full_name: entry for entry in added})
    return ", ".join(entry.spec.full_name for entry in added)


def unregister(name: str) -> None:
    """Remove an entry from the registry of this process.

    Raises:
        UnknownModelError: No entry has that name.
    """
    table = _table()
    key = _key(name, table)
    if key is None:
        raise UnknownModelError(_unknown(name, table))
    del table[key]


def list_models(
    pattern: str | Iterable[str] = "*",
    *,
    exclude: str | Iterable[str] = (),
    pretrained: bool = False,
    keyword: str | None = None,
) -> list[str]:
    """Return the names of the registered models, sorted.

    The default tag is left out of a name: `conv-ae-bn`, but `conv-ae-bn.mnist`.

    Args:
        pattern: One or several wildcards; names that match any of them are listed.
        exclude: One or several wildcards; names that match any of them are left out.
        pretrained: Whether to list only models that have weights.
        keyword: Keyword that a listed model's spec must have, or None.

    Raises:
        ArgumentError: A pattern is not text.
    """
    wanted, unwanted = _patterns(pattern), _patterns(exclude)
    return [
        short_name(entry)
        for entry in entries()
        if _matches(entry, wanted)
        and not _matches(entry, unwanted)
        and (entry.pretrained or not pretrained)
        and (keyword is None or keyword in entry.spec.keywords)
    ]


def entries() -> list[Entry]:
    """Return all registered entries, sorted by name and tag."""
    return sorted(_table().values(), key=lambda entry: (entry.spec.name, entry.spec.tag))


def bundled() -> list[Entry]:
    """Return the autoencoders that come with the package, sorted by name and tag."""
    found = [entry for entry in entries() if entry.folder and entry.folder.parent == BUNDLED]
    return [entry for entry in found if not entry.is_classifier]


def short_name(entry: Entry) -> str:
    """Return the full name of an entry, without the tag if it is the default one."""
    return entry.spec.full_name.removesuffix(f".{DEFAULT_TAG}")


def find_entry(source: str | Path, options: HubOptions | None = None) -> Entry:
    """Return the entry of a name (`conv-ae-bn`), a folder (`local:PATH`) or a repo (`hf://...`).

    A name may include its tag (`conv-ae-bn.fmnist`), and a repo its revision
    (`hf://NAMESPACE/NAME@REVISION`). A `Path`, or a string that is not a registered name but a
    folder with a spec.toml, also counts as a folder.

    Args:
        source: Name, folder or repo.
        options: Options for requests to the Hub, made for a repo or for missing files of a name.

    Raises:
        UnknownModelError: There is no such entry; the message suggests similar names.
        SpecError: The spec is not valid.
        HubError: The Hub does not return the repo.
        ArgumentError: The source is neither text nor a path.
    """
    if isinstance(source, str) and source.startswith(HUB_PREFIX):
        from fmae_zoo.hub.entry import HubEntry

        return HubEntry.open(HubAddress.parse(source), options or HubOptions())
    entry = _found(source)
    return entry if options is None else replace(entry, options=options)


def _found(source: str | Path) -> Entry:
    if isinstance(source, os.PathLike):
        return _read_local(source)
    if not isinstance(source, str):
        raise ArgumentError(
            f"Expected the name of a model or a folder; received {type(source).__name__}"
        )
    if source.startswith(LOCAL_PREFIX):
        return _read_local(source.removeprefix(LOCAL_PREFIX))
    table = _table()
    key = _key(source, table)
    if key is not None:
        return table[key]
    folder = os.path.expanduser(source)
    if os.path.isfile(os.path.join(folder, SPEC_FILE)):
        return Entry.read(folder)
    raise UnknownModelError(_unknown(source, table))


def is_registered(source: str | Path) -> bool:
    """Return whether a source is a registered name, with or without the default tag."""
    return not isinstance(source, os.PathLike) and _key(source, _table()) is not None


def find_spec(source: str | Path | ModelSpec) -> ModelSpec:
    """Return a spec as it is, or the spec of an entry's name, folder or repo."""
    return source if isinstance(source, ModelSpec) else find_entry(source).spec


def _key(name: str, table: dict[str, Entry]) -> str | None:
    """Return the full name of a registered model, adding a missing default tag; else None."""
    return next((key for key in (name, f"{name}.{DEFAULT_TAG}") if key in table), None)


def _read_local(given: str | os.PathLike[str]) -> Entry:
    folder = check_folder("source", given)
    if not os.path.isfile(folder / SPEC_FILE):
        raise UnknownModelError(f"{folder}: there is no {SPEC_FILE} in this folder")
    return Entry.read(folder)


def _table() -> dict[str, Entry]:
    with _building:
        return _unfinished[-1] if _unfinished else _built_table()


@cache
def _built_table() -> dict[str, Entry]:
    table: dict[str, Entry] = {}
    table.update({entry.spec.full_name: entry for entry in _entries_in(BUNDLED)})
    _unfinished.append(table)
    try:
        for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
            for source in _attempted(point, _given_by, point):
                for one in _attempted(point, _sources_in, source):
                    _attempted(point, _add, one, table)
    finally:
        _unfinished.pop()
    return table


def _add(source: ModelSpec | Path, table: dict[str, Entry]) -> None:
    entry = _entry_of(source)
    _check_unique([entry], table)
    table[entry.spec.full_name] = entry


def _attempted(point: Any, function: Any, *args: Any) -> list[Any]:
    """Return a function's results as a list; if it fails, log a warning and return none.

    An error of another package must not hide the bundled models or its own valid ones, and its
    prints must not mix with the output of a command.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            given = function(*args)
            return list(given or ())
    except (Exception, SystemExit) as error:
        logger.warning(
            "entry point %r of group %s (%s): left out: %s: %s",
            point.name,
            ENTRY_POINT_GROUP,
            point.value,
            type(error).__name__,
            error,
        )
        return []


def _given_by(point: Any) -> list[Any]:
    """Return the folders and specs that an entry point provides."""
    given = point.load()
    given = given() if callable(given) else given
    return [given] if isinstance(given, (str, Path, ModelSpec)) else list(given)


def _sources_in(source: ModelSpec | str | Path) -> list[ModelSpec | Path]:
    """Return a list of the spec or the spec's folder, or of the spec folders within a folder."""
    if isinstance(source, ModelSpec):
        return [source]
    folder = Path(source).resolve()
    if (folder / SPEC_FILE).is_file():
        return [folder]
    folders: list[ModelSpec | Path] = [
        spec.parent for spec in sorted(folder.glob(f"*/{SPEC_FILE}"))
    ]
    if not folders and folder != BUNDLED:
        raise SpecError(f"{folder}: neither a folder with a {SPEC_FILE} nor one of such folders")
    return folders


def _entries_in(source: ModelSpec | str | Path) -> list[Entry]:
    return [_entry_of(each) for each in _sources_in(source)]


def _entry_of(source: ModelSpec | Path) -> Entry:
    return Entry(source) if isinstance(source, ModelSpec) else Entry.read(source)


def _check_unique(added: list[Entry], table: dict[str, Entry]) -> None:
    seen = dict(table)
    for entry in added:
        name = entry.spec.full_name
        if name in seen:
            raise DuplicateModelError(
                f"{name} is registered already, by {seen[name].folder or 'a spec'}; "
                f"{entry.folder or 'the spec given'} needs another name or tag"
            )
        seen[name] = entry


def _patterns(given: str | Iterable[str]) -> list[str]:
    patterns = [given] if isinstance(given, str) else given
    if not isinstance(patterns, Iterable) or not all(isinstance(each, str) for each in patterns):
        raise ArgumentError(f"Expected one or several wildcards; received {given!r}")
    return list(patterns)


def _matches(entry: Entry, patterns: list[str]) -> bool:
    names = (short_name(entry), entry.spec.full_name)
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _unknown(source: str, table: dict[str, Entry]) -> str:
    name, _, tag = source.partition(".")
    tags = sorted(entry.spec.tag for entry in table.values() if entry.spec.name == name)
    if tag and tags:
        return f"{name} has no tag {tag!r}; it has: {', '.join(tags)}"
    with contextlib.suppress(ArgumentError):
        HubAddress.parse(f"{HUB_PREFIX}{source}")
        return (
            f"There is no model {source!r}, nor a folder with a {SPEC_FILE}. "
            f"A repo on the Hub is written with hf:// before it: {HUB_PREFIX}{source}"
        )
    known = sorted({short_name(entry) for entry in table.values()})
    near = difflib.get_close_matches(source.lower(), known, n=3, cutoff=0.5)
    if near:
        return f"There is no model {source!r}. Did you mean {' or '.join(near)}?"
    return (
        f"There is no model {source!r}. It may be a registered name ({', '.join(known)}), "
        "local:FOLDER, or hf://NAMESPACE/NAME."
    )
