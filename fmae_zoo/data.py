"""Fashion-MNIST: where it is found, how it is checked, how it is split.

The digests are of the decompressed IDX files: the gzip files differ between mirrors in
their headers.
"""

import gzip
import hashlib
import logging
import os
import subprocess
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from fmae_zoo._backend import keras_home
from fmae_zoo.arguments import check_file, check_folder
from fmae_zoo.component import IMAGE_SHAPE
from fmae_zoo.errors import AbsentDataError, ArgumentError, DataError, FmaeError, HubError
from fmae_zoo.files import atomic_write, regular, sha256_of

logger = logging.getLogger(__name__)

FILES: Mapping[str, str] = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""SHA-256 of each decompressed IDX file."""

FASHION_MNIST_DIGEST = "ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f"
"""Of the four arrays of the real data set: `Dataset.digest`."""

CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

VALIDATION_SIZE = 10_000
SPLIT_SEED = 20170825
"""Of the permutation of the training images whose last tenth-thousand validates."""

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
HUB_DATASET = "zalando-datasets/fashion_mnist"
TIMEOUT = 30.0
MAX_IDX_BYTES = 1 << 32


@dataclass(frozen=True)
class Dataset:
    """Images and labels of a data set, as published: uint8, in their original order.

    Attributes:
        train_images: uint8 `(n, 28, 28)`.
        train_labels: uint8 `(n,)`.
        test_images: uint8 `(m, 28, 28)`.
        test_labels: uint8 `(m,)`.
        source: where it was found.
        is_sample: whether this is only the small sample that ships with the package.
        files: SHA-256 of the content of each IDX file that it was read from.

    Raises:
        DataError: the arrays have other shapes or dtypes.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    source: str
    is_sample: bool = False
    files: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in ("train", "test"):
            images, labels = getattr(self, f"{kind}_images"), getattr(self, f"{kind}_labels")
            _check_arrays(f"{self.source}: {kind}", images, labels)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the four arrays, so that a run can say what it was trained on."""
        hasher = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            hasher.update(np.ascontiguousarray(array).tobytes())
        return hasher.hexdigest()

    @property
    def name(self) -> str:
        """`Fashion-MNIST` where the digest is that of the real arrays, else the source."""
        return "Fashion-MNIST" if self.digest == FASHION_MNIST_DIGEST else self.source

    @property
    def num_classes(self) -> int:
        """One more than the highest label."""
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1

    @cached_property
    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices into the training images: for fitting, and for validation.

        The last 10,000 (or the last sixth of a smaller set) after a permutation with a
        fixed seed validate.
        """
        count = len(self.train_images)
        order = np.random.default_rng(SPLIT_SEED).permutation(count)
        if count < 2:
            raise DataError(f"{self.source}: {count} training images; two are the least")
        size = min(VALIDATION_SIZE, max(count // 6, 1))
        return order[: count - size], order[count - size :]


def load_data(folder: str | Path | None = None) -> Dataset:
    """Return Fashion-MNIST from the first source that has it, checked by its digests.

    In this order: the folder given; the Keras cache; Debian's package, installed;
    Keras' download; the Hub data set; Debian's package, downloaded; and at last a small
    sample that ships with the package and says so.

    Args:
        folder: with the four IDX files, gzipped or not. When it is given, no other
            source is tried, and a data set other than Fashion-MNIST is taken too, with a
            warning: its bytes cannot be checked.

    Raises:
        DataError: a file in the folder given is missing or damaged; or some of its files are
            Fashion-MNIST's and another is not.
        ArgumentError: the folder is no path.
    """
    if folder is not None:
        return _read_folder(check_folder("folder", folder), any_data=True)
    dataset = find_data()
    if dataset is None:
        logger.warning(
            "No source has Fashion-MNIST: using the small sample in the package. "
            "Figures are of the sample. `fmae data` says why each source failed."
        )
        return load_sample()
    return dataset


def check_dataset(data: Any) -> None:
    """Refuse what is neither a Dataset nor None.

    Raises:
        ArgumentError: it is something else, the folder of a data set for example.
    """
    if data is not None and not isinstance(data, Dataset):
        raise ArgumentError(
            f"Expected data to be a Dataset, as load_data(FOLDER) gives it; "
            f"received {type(data).__name__}"
        )


def find_data(report: Callable[[str, Exception], None] | None = None) -> Dataset | None:
    """Return the real data set from the first source that has it, or None.

    Args:
        report: called with the name of each source that fails, and why. By default a
            source that is absent is logged as information, a damaged one as a warning.
    """
    report = report or _log_failure
    cache = cache_folder()
    sources: tuple[tuple[str, Callable[[], Dataset]], ...] = (
        (f"Keras cache {cache}", lambda: _read_folder(cache)),
        (f"Debian package {DEBIAN_FOLDER}", lambda: _read_folder(DEBIAN_FOLDER)),
        ("Keras download", lambda: _fill_cache(_download_from_keras)),
        (f"Hub data set {HUB_DATASET}", lambda: _fill_cache(_download_from_hub)),
        ("Debian package, downloaded", lambda: _fill_cache(_download_from_debian)),
    )
    for name, read in sources:
        try:
            return read()
        except Exception as error:
            # Whatever goes wrong in one source, the next is tried.
            report(name, error)
    return None


def _log_failure(source: str, error: Exception) -> None:
    level = logging.INFO if isinstance(error, AbsentDataError) else logging.WARNING
    logger.log(level, "%s: %s", source, error)


def load_sample() -> Dataset:
    """Return the stratified slice of the real data that ships with the package."""
    with (
        resources.files("fmae_zoo").joinpath("sample.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return Dataset(
            train_images=arrays["train_images"],
            train_labels=arrays["train_labels"],
            test_images=arrays["test_images"],
            test_labels=arrays["test_labels"],
            source="the sample embedded in the package",
            is_sample=True,
        )


def cache_folder() -> Path:
    """Return the folder where Keras keeps Fashion-MNIST."""
    return keras_home() / "datasets" / "fashion-mnist"


def read_idx(path: str | Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not.

    Raises:
        DataError: no IDX file, truncated, or with bytes left over.
        ArgumentError: it is no path.
    """
    path = check_file("path", path)
    return parse_idx(_decompressed(path), str(path))


def parse_idx(content: bytes, source: str) -> np.ndarray:
    """Return the array in the content of an IDX file.

    Raises:
        DataError: as `read_idx`.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or not 1 <= content[3] <= 4:
        raise DataError(f"{source}: not an IDX file of unsigned bytes")
    rank = content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise DataError(f"{source}: truncated in its header")
    shape = tuple(
        int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank)
    )
    expected = 1
    for extent in shape:
        expected *= extent
    if len(content) - start != expected:
        raise DataError(
            f"{source}: its header promises {expected:,} bytes of data, "
            f"it has {len(content) - start:,}"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _decompressed(path: Path) -> bytes:
    try:
        content = regular(path).read_bytes()
        if content[:2] != b"\x1f\x8b":
            return content
        with gzip.open(path) as file:
            return file.read(MAX_IDX_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        expected = FILES.get(path.name.removesuffix(".gz"), "not known")
        raise DataError(
            f"{path}: truncated or damaged: {error} (SHA-256 of its content: expected "
            f"{expected}; received, as far as it can be read, {sha256_of(_salvaged(content))})"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _salvaged(content: bytes) -> bytes:
    """Return what can be decompressed of a damaged gzip file."""
    stream = zlib.decompressobj(wbits=31)
    pieces = []
    for start in range(0, len(content), 1024):
        try:
            pieces.append(stream.decompress(content[start : start + 1024], MAX_IDX_BYTES))
        except zlib.error:
            break
    return b"".join(pieces)


def _read_folder(folder: Path, any_data: bool = False) -> Dataset:
    arrays, received = {}, {}
    wrong: list[str] = []
    for name, digest in FILES.items():
        candidates = [folder / name, folder / f"{name}.gz"]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            raise AbsentDataError(f"no file {name}[.gz] in {folder}")
        content = _decompressed(path)
        received[name] = sha256_of(content)
        digests = f"SHA-256 of its content: expected {digest}, received {received[name]}"
        try:
            arrays[name] = parse_idx(content, str(path))
        except DataError as error:
            raise DataError(f"{error} ({digests})") from error
        if received[name] != digest:
            wrong.append(f"{path}: the file is truncated or altered ({digests})")
    if wrong and not any_data:
        raise DataError(wrong[0])
    if 0 < len(wrong) < len(FILES):
        raise DataError(f"{wrong[0]}; other files in the folder are Fashion-MNIST's")
    if wrong:
        logger.warning("%s: not Fashion-MNIST, so its digests cannot be checked", folder)
    images, labels, test_images, test_labels = arrays.values()
    if not len(images) or not len(test_images):
        raise DataError(f"{folder}: there are no {'test' if len(images) else 'training'} images")
    return Dataset(images, labels, test_images, test_labels, str(folder), files=received)


def _check_arrays(what: str, images: Any, labels: Any) -> None:
    if not isinstance(images, np.ndarray) or not isinstance(labels, np.ndarray):
        raise DataError(f"{what}: expected numpy arrays of images and labels")
    if images.shape[1:] != IMAGE_SHAPE[:2] or labels.shape != images.shape[:1]:
        raise DataError(
            f"{what}: images of shape {images.shape} and labels of shape {labels.shape}; "
            "expected (n, 28, 28) and (n,)"
        )
    if images.dtype != np.uint8 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{what}: images of dtype {images.dtype} and labels of dtype {labels.dtype}; "
            "expected uint8 and integers"
        )


def _fill_cache(download: Callable[[Path], None]) -> Dataset:
    """Download into a private folder, check, and only then write into the cache."""
    cache = cache_folder()
    with tempfile.TemporaryDirectory(prefix="fmae-download-") as temporary:
        download(Path(temporary))
        dataset = _read_folder(Path(temporary))
        try:
            for name in FILES:
                for path in Path(temporary).glob(f"{name}*"):
                    with atomic_write(cache / path.name) as target:
                        target.write(path.read_bytes())
                    other = name if path.suffix == ".gz" else f"{name}.gz"
                    (cache / other).unlink(missing_ok=True)
        except OSError as error:
            logger.warning(
                "%s: cannot be written, so the data set is downloaded each time: %s. Name another "
                "folder: KERAS_HOME",
                cache,
                error,
            )
            return replace(dataset, source="a download that no cache could keep")
    return _read_folder(cache)


def _download_from_keras(folder: Path) -> None:
    # The files keras.datasets.fashion_mnist loads. Fetched here, not by Keras, because its
    # get_file checks no digest and has no time limit.
    for name in FILES:
        file = f"{name}.gz"
        try:
            with urllib.request.urlopen(KERAS_URL + file, timeout=TIMEOUT) as answer:
                content = answer.read()
        except (urllib.error.URLError, TimeoutError) as error:
            raise AbsentDataError(f"{KERAS_URL + file}: {error}") from error
        with atomic_write(folder / file) as target:
            target.write(content)


def _download_from_hub(folder: Path) -> None:
    import io

    import pyarrow.parquet
    from PIL import Image

    from fmae_zoo.hub.client import HubClient
    from fmae_zoo.hub.options import HubOptions

    client = HubClient(HubOptions())
    request = client.request("read", HUB_DATASET)
    ask = client.api.dataset_info
    try:
        client.call(ask, HUB_DATASET, timeout=TIMEOUT, request=request, attempts=1)
    except FmaeError:
        # Without this one request a download would try again for half a minute; what the Hub's
        # cache has is still found.
        client = HubClient(HubOptions(local_files_only=True))
    for prefix, split in (("train", "train"), ("t10k", "test")):
        file = f"fashion_mnist/{split}-00000-of-00001.parquet"
        try:
            path = client.download(HUB_DATASET, "main", file, kind="dataset")
        except HubError as error:
            raise AbsentDataError(f"the Hub cannot be reached: {error}") from error
        table = pyarrow.parquet.read_table(path)
        pictures = [
            np.asarray(Image.open(io.BytesIO(row["bytes"])), dtype=np.uint8)
            for row in table.column("image").to_pylist()
        ]
        labels = np.asarray(table.column("label").to_pylist(), dtype=np.uint8)
        _write_idx(folder / f"{prefix}-images-idx3-ubyte", np.stack(pictures))
        _write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)


def _download_from_debian(folder: Path) -> None:
    if not Path("/etc/debian_version").exists():
        raise AbsentDataError("this is not a Debian system")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        _run(["apt-get", "download", "dataset-fashion-mnist"], temporary)
        package = next(Path(temporary).glob("dataset-fashion-mnist*.deb"), None)
        if package is None:
            raise DataError("apt-get download left no package")
        _run(["dpkg-deb", "-x", str(package), temporary], temporary)
        for name in FILES:
            unpacked = Path(temporary) / DEBIAN_FOLDER.relative_to("/") / f"{name}.gz"
            os.replace(unpacked, folder / unpacked.name)


def _run(command: list[str], folder: str) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    if result.returncode:
        raise DataError(f"{' '.join(command)}: {result.stderr.strip() or result.returncode}")


def _write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    with atomic_write(path) as file:
        file.write(header + array.tobytes())
