"""`pull`: copy the files of an entry from the Hub or the package into a user's folder."""

import shutil
from pathlib import Path

from fmae_zoo.arguments import check_folder
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
    """Fetch and verify all files of an entry, and copy them into a folder if one is given.

    Args:
        source: Registered name or `hf://NAMESPACE/NAME[@REVISION]`. Files of a registered name come
            from the package if their digests are as recorded, else from the Hub.
        folder: Folder to copy to, created if needed. `local:FOLDER` can then be loaded, trained
            on or pushed. Without a folder, the files stay in the cache for use without a network.
        token, cache_dir, local_files_only, timeout: As in `load`.

    Returns:
        The folder. If none was given, the package's folder, or the cache's folder if a file of the
        package was missing or damaged; the cache's folder then holds only those files.

    Raises:
        ArgumentError: The folder is a file, or holds another spec, other weights or another kind
            of model.
        NoWeightsError: The entry was never trained.
        WeightsError: A file is missing or damaged, and no other copy is published.
        HubError: The Hub cannot provide the files.
        OSError: The folder cannot be written.
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
        # An existing card is kept: the user may have edited it.
        paths[CARD_FILE] = entry.folder / CARD_FILE
    check_folder_for(entry.spec, folder, entry.is_classifier)
    for name in entry.weights_files:
        path = folder / name
        if path.exists() and not has_digest(path, entry.record(name).sha256):
            raise ArgumentError(
                f"{path}: other weights than those to be pulled, which would be lost. Choose "
                "another folder."
            )
    folder.mkdir(parents=True, exist_ok=True)
    paths |= {name: entry.folder / name for name in (SPEC_FILE, MANIFEST_FILE)}
    with prepared(folder) as new:
        for name, path in paths.items():
            shutil.copyfile(path, new / name)
    return folder
