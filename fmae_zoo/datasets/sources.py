"""Sources of the data sets in the table: the cache, the publishers, Debian and the Hub."""

import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fmae_zoo._backend import keras_home
from fmae_zoo.datasets.dataset import Dataset
from fmae_zoo.datasets.idx import check_digest, read_idx_folder, write_idx
from fmae_zoo.datasets.readers import by_split, read_cifar, read_emnist, read_npz, read_parquet
from fmae_zoo.datasets.table import DEFAULT, Listed
from fmae_zoo.errors import AbsentDataError, ArgumentError, DataError, HubError
from fmae_zoo.extras import needed
from fmae_zoo.files import atomic_write
from fmae_zoo.hub.address import COMMIT, DEFAULT_REVISION, HUB_PREFIX, HubAddress
from fmae_zoo.hub.client import ATTEMPTS, HubClient
from fmae_zoo.hub.options import HubOptions

logger = logging.getLogger(__name__)

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
HUB_DATASET = "zalando-datasets/fashion_mnist"
HUB_FILES = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*\.parquet", re.ASCII)

TIMEOUT = 30.0
"""Maximum seconds without data from a server."""

DOWNLOAD_LIMIT = 3600.0
"""Maximum seconds for the download of one file."""

CHUNK = 1 << 20

READERS: dict[str, Callable[[Path, tuple[str, ...]], Dataset]] = {
    "npz": read_npz,
    "cifar": read_cifar,
    "emnist": read_emnist,
}
"""Readers of the table's formats that are a single file; an IDX data set has four files."""


def cache_folder(name: str = DEFAULT) -> Path:
    """Return the cache folder of a data set in the table; Fashion-MNIST shares it with Keras."""
    return keras_home() / "datasets" / name


def in_cache(listed: Listed) -> bool:
    """Return whether the cache has all files of a data set; their content is not checked."""
    cache = cache_folder(listed.name)
    return all(
        any((cache / f"{name}{suffix}").is_file() for suffix in {"", listed.packed})
        for name in listed.files
    )


def sources_of(listed: Listed) -> list[tuple[str, Callable[[], Dataset]]]:
    """Return the sources of a data set in the order to try them: a name and a function to read."""
    cache = cache_folder(listed.name)

    def filled(download: Callable[[Listed, Path], None]) -> Callable[[], Dataset]:
        return lambda: fill_cache(listed, download)

    first = (f"Keras cache {cache}", lambda: read_listed(listed, cache))
    if listed.name != DEFAULT:
        return [first, (f"Download from {listed.url}", filled(download_files))]
    return [
        first,
        (f"Debian package {DEBIAN_FOLDER}", lambda: read_listed(listed, DEBIAN_FOLDER)),
        ("Keras download", filled(download_files)),
        (f"Hub data set {HUB_DATASET}", filled(download_from_hub)),
        ("Debian package, downloaded", filled(download_from_debian)),
    ]


def read_listed(listed: Listed, folder: Path) -> Dataset:
    """Check the digests of a listed data set's files in a folder, then read it.

    Raises:
        AbsentDataError: If a file is missing.
        DataError: If a file is truncated or altered.
    """
    if listed.format == "idx":
        return read_idx_folder(folder, listed)
    ((name, digest),) = listed.files.items()
    path = folder / name
    if not path.is_file():
        raise AbsentDataError(f"no file {name} in {folder}")
    check_digest(path, path.read_bytes(), digest)
    dataset = READERS[listed.format](path, listed.classes)
    return replace(dataset, source=str(folder), listed=listed.name)


def fill_cache(listed: Listed, download: Callable[[Listed, Path], None]) -> Dataset:
    """Download into a temporary folder, check the files, then copy them into the cache."""
    cache = cache_folder(listed.name)
    with tempfile.TemporaryDirectory(prefix="fmae-download-") as temporary:
        download(listed, Path(temporary))
        dataset = read_listed(listed, Path(temporary))
        try:
            for path in [path for path in Path(temporary).iterdir() if path.is_file()]:
                with path.open("rb") as file, atomic_write(cache / path.name) as target:
                    shutil.copyfileobj(file, target)
                # A copy of the file in the other form (gzipped or not) may be damaged.
                stem = path.name.removesuffix(".gz")
                (cache / (stem if stem != path.name else f"{stem}.gz")).unlink(missing_ok=True)
        except OSError as error:
            logger.warning(
                "%s: cannot be written, so the data set is downloaded each time: %s. Name another "
                "folder: KERAS_HOME",
                cache,
                error,
            )
            return replace(dataset, source="a download that no cache could keep")
    return replace(dataset, source=str(cache))


def download_files(listed: Listed, folder: Path) -> None:
    """Download the files of a data set from its publisher.

    Keras' `get_file` is not used: it has no time limit, and does not check Fashion-MNIST's digests.

    Raises:
        AbsentDataError: If the server cannot be reached, lacks a file, or is too slow.
    """
    for name in listed.files:
        url = f"{listed.url}{name}{listed.packed}"
        end = time.monotonic() + DOWNLOAD_LIMIT
        logger.info("downloading %s", url)
        try:
            with (
                urllib.request.urlopen(url, timeout=TIMEOUT) as answer,
                atomic_write(folder / f"{name}{listed.packed}") as target,
            ):
                while chunk := answer.read(CHUNK):
                    target.write(chunk)
                    if time.monotonic() > end:
                        raise TimeoutError(f"not done within {DOWNLOAD_LIMIT:g} s")
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise AbsentDataError(f"{url}: {error}") from error


def download_from_hub(listed: Listed, folder: Path) -> None:
    """Download Fashion-MNIST's Parquet files from the Hub, and write them as IDX files."""
    try:
        data = read_hub(HUB_DATASET, attempts=1)
    except ArgumentError as error:
        raise AbsentDataError(f"the Hub has Parquet files: {error}") from None
    except HubError as error:
        data = _in_the_cache_of_the_hub(error)
    arrays = (data.train_images, data.labels[0], data.test_images, data.labels[1])
    for name, array in zip(listed.files, arrays):
        write_idx(folder / name, array)


def _in_the_cache_of_the_hub(reason: HubError) -> Dataset:
    """Return Fashion-MNIST as another program has downloaded it from the Hub."""
    client = HubClient(HubOptions(local_files_only=True))
    names = [f"fashion_mnist/{split}-00000-of-00001.parquet" for split in ("train", "test")]
    try:
        files = [
            (name, client.download(HUB_DATASET, DEFAULT_REVISION, name, kind="dataset"))
            for name in names
        ]
    except HubError:
        raise AbsentDataError(f"the Hub cannot be reached: {reason}") from None
    return read_parquet(by_split(files), HUB_DATASET)


def download_from_debian(listed: Listed, folder: Path) -> None:
    """Download Debian's package of Fashion-MNIST and unpack it, without installing it."""
    if not Path("/etc/debian_version").exists():
        raise AbsentDataError("this is not a Debian system")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        _run(["apt-get", "download", "dataset-fashion-mnist"], temporary)
        [package] = Path(temporary).glob("dataset-fashion-mnist*.deb")
        _run(["dpkg-deb", "-x", package.name, temporary], temporary)
        for name in listed.files:
            unpacked = Path(temporary) / DEBIAN_FOLDER.relative_to("/") / f"{name}.gz"
            os.replace(unpacked, folder / unpacked.name)


def _run(command: list[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise DataError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


def read_hub(text: str, attempts: int = ATTEMPTS) -> Dataset:
    """Read the Parquet files of a Hub data set, `hf://[datasets/]NAMESPACE/NAME[@REVISION]`.

    Args:
        text: Address of the data set.
        attempts: Number of attempts to reach the Hub.

    Raises:
        DataError: If there are no Parquet files, or they belong to several data sets.
        HubError: If the Hub does not provide them.
        ArgumentError: If `text` is not such an address, or pyarrow is not installed.
    """
    needed("pyarrow", "parquet")
    address = HubAddress.parse(HUB_PREFIX + text.removeprefix(HUB_PREFIX).removeprefix("datasets/"))
    client = HubClient(HubOptions(timeout=DOWNLOAD_LIMIT))
    repo, revision = address.repo, address.revision
    info: Any = client.call(
        client.api.dataset_info,
        repo,
        revision=revision,
        timeout=TIMEOUT,
        request=client.request("read", repo, revision),
        attempts=attempts,
    )
    names = sorted(str(file.rfilename) for file in info.siblings or ())
    names = [name for name in names if HUB_FILES.fullmatch(name) and ".." not in name]
    folders = {name.partition("/")[0] if "/" in name else "" for name in names}
    if len(folders) != 1 or not COMMIT.fullmatch(str(info.sha)):
        found = ", ".join(sorted(folders)) or "none"
        raise DataError(f"{text}: expected Parquet files of one data set; found {found}")
    files = [(name, client.download(repo, info.sha, name, kind="dataset")) for name in names]
    return read_parquet(by_split(files), f"{HUB_PREFIX}{repo}@{info.sha}")
