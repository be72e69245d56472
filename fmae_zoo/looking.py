"""Interpolation between codes, and traversal of the single values of a code."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.arguments import PREDICT_BATCH, check_integer, check_number
from fmae_zoo.errors import ArgumentError, ImagesError
from fmae_zoo.images import array_shape, as_images, to_numpy

if TYPE_CHECKING:
    from fmae_zoo.layers.latent import LatentLayer
    from fmae_zoo.spec import ModelSpec

MOST_USED = 8
"""Default number of values of a code that `traverse` moves."""

_Mixin: Any = object


def linear(first: np.ndarray, second: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return `(1 - t) first + t second` for codes `(n, size)` and each of T shares t.

    The result has the shape `(n, T, size)`.
    """
    t = shares[:, None]
    return (1.0 - t) * first[:, None] + t * second[:, None]


def spherical(first: np.ndarray, second: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return `(sin((1 - t) a) first + sin(t a) second) / sin(a)` for each of T shares t.

    `a` is the angle between the codes `(n, size)`; the result has the shape `(n, T, size)`. Between
    codes of equal length the length stays the same, unlike on a straight line. If the codes lie on
    one line through 0, or one of them is 0, the interpolation is linear.

    Source: White 2016, Sampling Generative Networks, arXiv 1609.04468.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = (first * second).sum(axis=1) / np.maximum(lengths, 1e-30)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))[:, None, None]
    sine, t = np.sin(angle), shares[:, None]
    is_line = (sine < 1e-6) | (lengths == 0.0)[:, None, None]
    before, after = np.sin((1.0 - t) * angle), np.sin(t * angle)
    curved = before * first[:, None] + after * second[:, None]
    way = curved / np.where(is_line, 1.0, sine)
    return np.where(is_line, linear(first, second, shares), way)


METHODS: dict[str, Callable[..., np.ndarray]] = {"linear": linear, "spherical": spherical}
"""Methods of interpolation between two codes."""


def kl_of_values(mean: np.ndarray, log_variance: np.ndarray) -> np.ndarray:
    """Return the KL of each value of a code to a standard normal, in nats: `(size,)`.

    It is the mean of `(mean^2 + variance - 1 - log(variance)) / 2` over the posteriors `(n, size)`
    of n images.
    """
    kl: np.ndarray = 0.5 * np.mean(mean**2 + np.exp(log_variance) - 1.0 - log_variance, axis=0)
    return kl


class Looking(_Mixin):
    """Mixin of the autoencoder with `interpolate`, `traverse` and `use_of_values`.

    If a latent allows only some codes (one-hot vectors, vectors of a codebook, levels, points on
    a sphere), each code is replaced by the nearest allowed one (`LatentComponent.nearest`). Other
    latents use it unchanged; a k-sparse code may then have more than k non-zero values.
    """

    spec: "ModelSpec"
    latent: "LatentLayer"
    encode: Any
    decode: Any
    posterior: Any

    def interpolate(
        self, first: Any, second: Any, steps: int = 8, method: str = "linear", *, label: Any = None
    ) -> np.ndarray:
        """Return images decoded from interpolated codes, a row for each pair of images.

        They are float32 `(n, steps, height, width, channels)` in [0, 1]. The first and the last
        image of a row are the reconstructions of the pair.

        Args:
            first: First images of the pairs as for `encode`, or one image.
            second: Second images of the pairs, as many as `first`.
            steps: Number of images in a row, 2 or more, equally spaced.
            method: `linear`, or `spherical` (White 2016, arXiv 1609.04468), which suits codes of
                similar length, such as codes of a normal prior with many values.
            label: If the spec has classes: the class of all rows, or integers `(n,)`.

        Raises:
            ImagesError: As for `encode`; or `first` and `second` differ in number.
            ArgumentError: There is no such method, or steps is not an integer of 2 or more; or as
                for `decode`.
        """
        check_integer("steps", steps, 2)
        if not isinstance(method, str) or method not in METHODS:
            raise ArgumentError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
        codes = [self.encode(self._batch(images)) for images in (first, second)]
        if len(codes[0]) != len(codes[1]):
            raise ImagesError(
                f"Expected pairs of images; received {len(codes[0])} first images and "
                f"{len(codes[1])} second ones"
            )
        return self._decode_rows(METHODS[method](*codes, np.linspace(0.0, 1.0, steps)), label)

    def traverse(
        self,
        image_or_code: Any,
        values: Iterable[int] | None = None,
        steps: int = 8,
        extent: float = 3.0,
        *,
        images: Any = None,
        label: int | None = None,
    ) -> np.ndarray:
        """Return images decoded from a code with one value moved at a time, a row for each value.

        They are float32 `(k, steps, height, width, channels)` in [0, 1] for k values. With an odd
        number of steps the middle of each row is the image of the unchanged code.

        Args:
            image_or_code: An image as for `encode`, or a code `(latent size,)`.
            values: Indices of the values to move, from 0. The default is the 8 values that
                `use_of_values` finds the most used, in this order.
            steps: Number of images in a row, 2 or more, equally spaced.
            extent: Distance by which a value is moved to each side, in standard deviations.
            images: Images over which use and standard deviations are measured. The default is
                the package's sample of Fashion-MNIST, for models of this data set only.
            label: If the spec has classes: the class to decode with.

        Raises:
            ImagesError: As for `encode`; or there are several images to move, or fewer than two to
                measure over.
            ArgumentError: Steps, extent or values are out of range, the code has another shape, or
                `images` is missing for a model of other data; or as for `decode`.
        """
        check_integer("steps", steps, 2)
        check_number("extent", extent, zero=False)
        code = self._one_code(image_or_code)
        chosen = None if values is None else self._checked_values(values)
        use, deviation = self.use_of_values(images)
        if chosen is None:
            chosen = most_used(use)
        codes = np.tile(code, (len(chosen), steps, 1))
        for row, value in zip(codes, chosen):
            row[:, value] += np.linspace(-extent, extent, steps) * deviation[value]
        return self._decode_rows(codes, label)

    def use_of_values(self, images: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the use and the standard deviation of each value of a code, each `(size,)`.

        If the latent has a Gaussian posterior (`log_variance`), the use is its KL to a standard
        normal in nats, else the variance of the value over images.

        Args:
            images: Images to measure over, as for `traverse`.

        Raises:
            ImagesError, ArgumentError: As for `traverse`.
        """
        if images is None:
            if not self.spec.takes_fashion_mnist:
                raise ArgumentError(
                    f"{self.spec.name}: expected images=, some images of the model's data: the "
                    "package has a sample of Fashion-MNIST only"
                )
            from fmae_zoo.datasets import load_sample

            images = load_sample().train_images
        array = as_images(images, self.spec.shape)
        if len(array) < 2:
            raise ImagesError(f"Expected two images or more to measure over; received {len(array)}")
        codes = self.encode(array)
        deviation = codes.std(axis=0)
        if "log_variance" not in self.spec.latent.gives:
            return codes.var(axis=0), deviation
        found = self.posterior.predict(array, batch_size=PREDICT_BATCH, verbose=0)
        return kl_of_values(found["mean"], found["log_variance"]), deviation

    def _decode_rows(self, codes: np.ndarray, label: Any) -> np.ndarray:
        """Return the images `(n, steps, ...)` of codes `(n, steps, size)`."""
        count, steps, size = codes.shape
        if label is not None:
            each = to_numpy(label, "labels")
            if each.shape not in ((), (count,)):
                raise ArgumentError(
                    f"Expected a label, or one for each of {count} rows; received {each.shape}"
                )
            label = np.repeat(each, steps) if each.ndim else each
        if not np.isfinite(codes).all():
            raise ArgumentError("Expected finite codes; received NaN or infinity.")
        flat = self.latent.nearest(codes.reshape(-1, size).astype(np.float32))
        images: np.ndarray = self.decode(flat, label=label)
        return images.reshape(count, steps, *images.shape[1:])

    def _batch(self, images: Any) -> np.ndarray:
        """Return images as for `encode`, with a batch axis added to a single image."""
        array = to_numpy(images)
        shapes = (self.spec.shape, array_shape(self.spec.shape))
        return array[None] if array.shape in shapes else array

    def _one_code(self, image_or_code: Any) -> np.ndarray:
        array, size = to_numpy(image_or_code, "an image or a code"), self.spec.latent.size
        if array.ndim == 1:
            if array.shape != (size,) or array.dtype.kind not in "biuf":
                raise ArgumentError(
                    f"Expected a code of {size} numbers; received {array.dtype} of shape "
                    f"{array.shape}"
                )
            return array.astype(np.float32)
        codes: np.ndarray = self.encode(self._batch(array))
        if len(codes) != 1:
            raise ImagesError(f"Expected one image, or its code; received {len(codes)} images")
        return codes[0]

    def _checked_values(self, values: Any) -> np.ndarray:
        if not isinstance(values, Iterable):
            raise ArgumentError(f"values is {values!r}; expected numbers of values of the code")
        chosen = list(values)
        for each in chosen:
            check_integer("values: one", each, 0, self.spec.latent.size - 1)
        return np.array(chosen, dtype=np.int64)


def most_used(use: np.ndarray, count: int = MOST_USED) -> np.ndarray:
    """Return the indices of the most used values of a code, the most used first."""
    return np.argsort(-use, kind="stable")[:count]
