"""`pull`: the files of an entry, from the Hub or the package, into a folder of the user's."""

import shutil
from pathlib import Path

from fmae_zoo.arguments import check_folder
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, WeightsError
from fmae_zoo.files import has_digest
from fmae_zoo.hub.options import TIMEOUT, HubOptions
from fmae_zoo.layout import CARD_FILE, RECORDED_FILES
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.registry import find_entry
from fmae_zoo.saving import check_folder_for, prepared
from fmae_zoo.spec import SPEC_FILE


def pull(
    source: str | Path,
    folder: str | Path | None = None,
    *,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    timeout: float = TIMEOUT,
) -> Path:
    """Fetch and verify all files of an entry; copy them into a folder where one is given.

    Args:
        source: a registered name or `hf://NAMESPACE/NAME[@REVISION]`. A registered name's files
            come from the package where they are as recorded, else from the Hub.
        folder: made where it does not exist. It is a `local:FOLDER` then, to be loaded, trained
            on or pushed. Without one the files are in the cache, for use without a network.
        token, cache_dir, local_files_only, timeout: as of `load`.

    Returns:
        The folder; without one, that in the package, or in the cache where files came from there.

    Raises:
        ArgumentError: the folder is a file, or holds another spec, other weights or a model of
            another kind.
        NoWeightsError: the entry was never trained.
        WeightsError: a file is not what it must be.
        HubError: the Hub does not give the files.
        OSError: the folder cannot be written.
    """
    if folder is not None:
        folder = check_folder("folder", folder)
    entry = find_entry(source, HubOptions(token, cache_dir, local_files_only, timeout))
    names = [name for name in entry.manifest.files if name in RECORDED_FILES]
    found = dict(zip(names, entry.obtain(*names)))
    for path, digest in found.values():
        if not has_digest(path, digest):
            raise WeightsError(
                f"{path}: missing, damaged or altered, and not published, so there is no other "
                f"copy; SHA-256 expected {digest}"
            )
    paths = {name: path for name, (path, _) in found.items()}
    assert entry.folder is not None
    if folder is None:
        elsewhere = {path.parent for path in paths.values()} - {entry.folder}
        return next(iter(elsewhere), entry.folder)
    if entry.card() is not None and not (folder / CARD_FILE).exists():
        # A card in the folder may have been edited.
        paths[CARD_FILE] = entry.folder / CARD_FILE
    check_folder_for(entry.spec, folder, entry.is_classifier)
    _check_weights(entry, folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths |= {name: entry.folder / name for name in (SPEC_FILE, MANIFEST_FILE)}
    with prepared(folder) as new:
        for name, path in paths.items():
            shutil.copyfile(path, new / name)
    return folder


def _check_weights(entry: Entry, folder: Path) -> None:
    """Refuse a folder whose weights are others, which a user may have trained.

    Raises:
        ArgumentError: naming the file.
    """
    for name in entry.weights_files:
        path = folder / name
        if path.exists() and not has_digest(path, entry.record(name).sha256):
            raise ArgumentError(
                f"{path}: other weights than those to be pulled, which would be lost. Choose "
                "another folder."
            )
