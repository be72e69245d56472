"""Checks of image arrays, and reading of image files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fmae_zoo.component import Shape
from fmae_zoo.errors import DataError, ImagesError
from fmae_zoo.types import Tensor

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm"}
ARRAY_SUFFIXES = {".npy", ".npz"}


def array_shape(shape: Shape) -> tuple[int, ...]:
    """Return the shape of an image in stored arrays; a grey image has no channel axis there."""
    return shape[:2] if shape[2] == 1 else shape


def shape_of(images: np.ndarray) -> Shape:
    """Return height, width and channels of images `(n, height, width[, channels])`."""
    height, width, *channels = images.shape[1:]
    return height, width, channels[0] if channels else 1


def as_images(images: Any, shape: Shape) -> np.ndarray:
    """Return images as float32 `(n, height, width, channels)` with values in [0, 1].

    Args:
        images: Array or backend tensor of that shape; grey images also `(n, height, width)`.
            uint8 in 0..255, or floats in [0, 1].
        shape: Expected height, width and channels.

    Raises:
        ImagesError: The shape or dtype is another, or floats are NaN or outside [0, 1].
    """
    array = to_numpy(images)
    if shape[2] == 1 and array.ndim == 3 and array.shape[1:] == shape[:2]:
        array = array[..., np.newaxis]
    _check_shape_and_dtype(array, shape, without_channels=True)
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255.0)
    if array.size and np.isnan(array.min()):
        raise ImagesError("Expected float images in [0, 1]; received NaN.")
    _check_range(array)
    return np.asarray(array, dtype=np.float32)


def has_bright_border(images: np.ndarray) -> np.ndarray:
    """Return which grey images `(n, height, width)` have a bright background: bool `(n,)`.

    The background is bright if the median of the border pixels is above two thirds of white. This
    holds for none of Fashion-MNIST's 70,000 images, and for all but 4 of them when inverted.
    """
    sides = (images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1])
    white = 255 if images.dtype == np.uint8 else 1.0
    return np.median(np.concatenate(sides, axis=1), axis=1) > 2 / 3 * white


def check_training_images(x: Any, y: Any, shape: Shape) -> None:
    """Raise if arrays are not valid training images, so that training on them would be wrong.

    The target (`y`, or `x` if there is no `y`) must be in the range of images. Other inputs may
    exceed it, because they may be noisy. NaN is not checked, because it shows in the loss.

    Args:
        x: Input images, an array.
        y: Target images: an array, a dictionary with the array as `image`, or None.
        shape: Expected height, width and channels.

    Raises:
        ImagesError: There are no images, or their shape, dtype or range is wrong.
    """
    target = x if y is None else y.get("image", x) if isinstance(y, dict) else y
    if isinstance(target, np.ndarray) and target.ndim <= 2:
        raise ImagesError(
            f"Expected images as the target; received shape {target.shape}, as labels have. Give "
            "an autoencoder images alone, or pairs of an image and the image to make of it."
        )
    for array in (x, target):
        if not isinstance(array, np.ndarray):
            raise ImagesError(
                f"Expected an array of images; received a {type(array).__name__}. Of a list of "
                "images numpy.stack makes one."
            )
        _check_shape_and_dtype(array, shape)
        if not len(array):
            raise ImagesError("Expected images; received none.")
    if target.dtype != np.uint8:
        _check_range(target)


def _check_shape_and_dtype(array: np.ndarray, shape: Shape, without_channels: bool = False) -> None:
    if array.shape[1:] != shape:
        height, width, channels = shape
        expected = f"(n, {height}, {width}, {channels})"
        if without_channels and channels == 1:
            expected += f" or (n, {height}, {width})"
        hint = ""
        if array.shape in (shape, array_shape(shape)):
            hint = " One image needs a batch axis: images[None]."
        elif array.shape[1:] == array_shape(shape):
            hint = " Add the axis of channels: images[..., None]."
        elif array.shape[1:] == (channels, height, width):
            hint = " Put the channels last: images.transpose(0, 2, 3, 1)."
        raise ImagesError(
            f"Expected images of shape {expected}; received shape {array.shape}.{hint}"
        )
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise ImagesError(
            f"Expected uint8 images in 0..255 or float images in [0, 1]; "
            f"received dtype {array.dtype}."
        )


def _check_range(array: np.ndarray) -> None:
    if array.size:
        # fmin and fmax ignore NaN.
        low, high = (float(find.reduce(array, axis=None)) for find in (np.fmin, np.fmax))
        if low < 0.0 or high > 1.0:
            raise ImagesError(
                f"Expected float images in [0, 1]; received values in [{low:g}, {high:g}]. "
                "Divide by 255, or pass uint8."
            )


def in_unit_range(images: Tensor) -> Tensor:
    """Return images in [0, 1]: uint8 images divided by 255, others unchanged."""
    from keras import backend, ops

    if backend.standardize_dtype(images.dtype) != "uint8":
        return images
    return ops.cast(images, "float32") / 255.0


def to_numpy(values: Any, what: str = "images") -> np.ndarray:
    """Return a backend's tensor or a list as a NumPy array.

    Raises:
        ImagesError: The values cannot become an array, or are a masked array; the message calls
            them `what`.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise ImagesError(f"Expected an array of {what}; received a masked one: fill it first.")
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise ImagesError(
            f"Expected an array of {what}; received {type(values).__name__}."
        ) from error


@dataclass
class ImageFiles:
    """Iterable over the images of files, in batches.

    Pictures and `.npy` files are read piece by piece; an array of an `.npz` file and an IDX file
    are read whole.

    Iterating yields `(names, images)`: a list of strings and an array `(n, height, width)`, or
    `(n, height, width, 3)` in colour. Images are uint8, or float32 in [0, 1] from files of floats.
    A name is the path of the file, followed by `[index]` if the file holds several images.

    Attributes:
        paths: Pictures, folders of pictures (searched recursively), `.npy`, `.npz` or IDX files
            (gzipped or not). Pictures are rotated as their EXIF data say, converted to grey or
            colour and resized. Transparent areas become black, the background of Fashion-MNIST.
        shape: Height, width and channels of the images.
        batch_size: Largest number of images in a batch.
        unreadable: Files that could not be read, each with the reason; filled while iterating.
        on_white: Number of grey images with a bright background; counted while iterating.
    """

    paths: list[Path]
    shape: Shape
    batch_size: int = 512
    unreadable: dict[str, str] = field(default_factory=dict)
    on_white: int = 0

    def __iter__(self) -> Iterator[tuple[list[str], np.ndarray]]:
        for names, images in self._batches():
            if images.ndim == 3:
                self.on_white += int(has_bright_border(images).sum())
            yield names, images

    def _batches(self) -> Iterator[tuple[list[str], np.ndarray]]:
        names: list[str] = []
        pictures: list[np.ndarray] = []
        for path in self.files():
            arrays = _holds_arrays(path)
            if not arrays:
                picture = self._picture(path)
                if picture is not None:
                    names.append(_printable(path))
                    pictures.append(picture)
            if names and (arrays or len(names) == self.batch_size):
                yield names, np.stack(pictures)
                names, pictures = [], []
            if arrays:
                yield from self._arrays(path)
        if names:
            yield names, np.stack(pictures)

    def files(self) -> Iterator[Path]:
        """Yield the files to read, those of a folder sorted; what is missing is noted."""
        for path in self.paths:
            path = Path(os.path.expanduser(path))
            # os.path, because the methods of Path raise if a name is too long.
            if os.path.isdir(path):
                yield from sorted(
                    file
                    for file in path.rglob("*")
                    if file.is_file()
                    and (file.suffix.lower() in PICTURE_SUFFIXES or _holds_arrays(file))
                )
            elif os.path.isfile(path):
                yield path
            else:
                exists = os.path.lexists(path)
                reason = "neither a file nor a folder" if exists else "no such file or folder"
                self.unreadable[_printable(path)] = reason

    def _picture(self, path: Path) -> np.ndarray | None:
        from PIL import Image, ImageOps

        try:
            with Image.open(path) as picture:
                if picture.mode == "F":
                    raise ImagesError("pixels that are floats have no known range")
                height, width, channels = self.shape
                mode = "L" if channels == 1 else "RGB"
                upright = on_black(ImageOps.exif_transpose(_eight_bits(picture)), mode)
                if upright.size != (width, height):
                    upright = upright.resize((width, height), Image.Resampling.BOX)
                return np.asarray(upright, dtype=np.uint8)
        except Exception as error:
            # Decoders raise many kinds of errors for damaged pictures.
            self.unreadable[_printable(path)] = f"not a readable picture: {error}"
            return None

    def _arrays(self, path: Path) -> Iterator[tuple[list[str], np.ndarray]]:
        start = 0
        try:
            for label, array in _arrays_in(path):
                start = 0
                if not len(array):
                    raise ImagesError(f"no images in it{label and ': ' + label[1:]}")
                while start < len(array):
                    batch = np.array(array[start : start + self.batch_size])
                    images = as_images(batch, self.shape)
                    images = images.reshape(len(images), *array_shape(self.shape))
                    stem = f"{_printable(path)}{label}"
                    names = [f"{stem}[{start + offset}]" for offset in range(len(images))]
                    yield names, batch.reshape(images.shape) if batch.dtype == np.uint8 else images
                    start += len(images)
        except Exception as error:
            # As above: damaged files raise many kinds of errors.
            rest = f"images from number {start} on: " if start else ""
            self.unreadable[_printable(path)] = f"{rest}{error or type(error).__name__}"


def _eight_bits(picture: Any) -> Any:
    """Return a picture with 16-bit grey values scaled to 8 bits; Pillow would clip them at 255."""
    from PIL import Image

    if not picture.mode.startswith("I"):
        return picture
    pixels = np.asarray(picture)
    if pixels.min() < 0 or pixels.max() > 65_535:
        raise ImagesError("pixels beyond 16 bits have no known range")
    return Image.fromarray((pixels // 257).astype(np.uint8))


def on_black(picture: Any, mode: str) -> Any:
    """Return a picture in a mode without transparency, on a black background."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert(mode)
    picture = picture.convert("RGBA")
    black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, picture).convert(mode)


def _printable(path: Path) -> str:
    """Return a path as valid text, with bytes that are not UTF-8 escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _arrays_in(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the arrays of images in a file, each with the text that names its key."""
    from fmae_zoo.datasets import read_idx

    if path.suffix.lower() == ".npy":
        yield "", np.load(path, mmap_mode="r", allow_pickle=False)
    elif path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            found = [key for key in archive.files if _rank(archive, key) >= 3]
            if not found:
                raise DataError(f"no array of images in it; it holds {archive.files}")
            for key in found:
                yield f":{key}" if len(found) > 1 else "", archive[key]
    else:
        yield "", read_idx(path)


def _rank(archive: Any, key: str) -> int:
    """Return the rank of an array in an .npz file, from its header; 0 for Python objects."""
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with archive.zip.open(f"{key}.npy") as file:
        version = np.lib.format.read_magic(file)
        if version not in read_header:
            return 0
        shape, _, dtype = read_header[version](file)
    return 0 if dtype.hasobject else len(shape)


def _holds_arrays(path: Path) -> bool:
    """Return whether a file holds arrays: .npy, .npz, or IDX by its name or first bytes."""
    suffix = path.suffix.lower()
    if suffix in ARRAY_SUFFIXES | PICTURE_SUFFIXES:
        return suffix in ARRAY_SUFFIXES
    if path.name.endswith(("-idx3-ubyte", "-idx3-ubyte.gz")):
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x00\x00\x08\x03"
    except OSError:
        return False
