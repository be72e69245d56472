"""Images to codes and back, in NumPy's arrays."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.augmentation import fixed_mask, masked
from fmae_zoo.errors import ArgumentError, ImagesError
from fmae_zoo.images import as_images, to_numpy
from fmae_zoo.inference import PREDICT_BATCH, predicted
from fmae_zoo.training.classification import class_numbers
from fmae_zoo.types import Model

if TYPE_CHECKING:
    from fmae_zoo.spec import ModelSpec

_Mixin: Any = object


class Coding(_Mixin):
    """Mixed into an autoencoder: `encode`, `decode` and `reconstruct`."""

    spec: "ModelSpec"
    encoder: Model
    decoder: Model

    def encode(
        self, images: Any, batch_size: int = PREDICT_BATCH, *, mask: Any = None
    ) -> np.ndarray:
        """Return latent means: float32 `(n, latent size)`. Deterministic.

        They are computed by weights into which BatchNorm is folded: hooks of layers see `fit` and
        `ae(images)`, and not this.

        Args:
            images: uint8 in 0..255 or floats in [0, 1], `(n, height, width, channels)`,
                or grey ones `(n, height, width)`.
            batch_size: images in one call of the network.
            mask: pixels to hide, as the network was trained with hidden ones: True, or not 0,
                `(n, height, width)`.

        Raises:
            ImagesError: anything else.
        """
        array = as_images(images, self.spec.shape)
        if mask is not None:
            hidden = to_numpy(mask, "a mask")
            if hidden.shape != array.shape[:3]:
                raise ImagesError(
                    f"Expected a mask of shape {array.shape[:3]}; received {hidden.shape}"
                )
            if hidden.dtype.kind not in "biuf" or np.isnan(hidden).any():
                raise ImagesError("Expected a mask of booleans or numbers; received others")
            array = masked(array, hidden, self.spec.network.hidden)
        return predicted(self.encoder, array, batch_size)

    def decode(
        self, codes: Any, batch_size: int = PREDICT_BATCH, *, label: Any = None
    ) -> np.ndarray:
        """Return the images of codes `(n, latent size)`.

        They are float32 `(n, height, width, channels)` in [0, 1].

        Args:
            codes: as `encode` returns them.
            batch_size: codes in one call of the network.
            label: where the spec has classes, that of all images, or of each: integers `(n,)`.

        Raises:
            ArgumentError: the codes have another shape, or are no finite numbers; there is no
                label and the decoder is told one, or the other way round.
        """
        try:
            codes = np.asarray(to_numpy(codes), dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"Expected an array of codes: {error}") from error
        if codes.ndim != 2 or codes.shape[1] != self.spec.latent.size:
            raise ArgumentError(
                f"Expected codes of shape (n, {self.spec.latent.size}); received {codes.shape}."
            )
        if not np.isfinite(codes).all():
            raise ArgumentError("Expected finite codes; received NaN or infinity.")
        labels = self._class_numbers(len(codes), label)
        read = codes if labels is None else {"code": codes, "label": labels}
        return predicted(self.decoder, read, batch_size, activation="sigmoid")

    def _class_numbers(self, count: int, label: Any) -> np.ndarray | None:
        """Return the class of each of so many codes, for a decoder that is told it."""
        classes = self.spec.classes
        if (label is None) != (classes is None):
            expected = (
                "no label: its decoder is told none"
                if classes is None
                else (
                    f"label=, an integer in 0..{classes - 1} or one for each image: its decoder is "
                    "told the class"
                )
            )
            raise ArgumentError(f"{self.spec.name}: expected {expected}")
        if classes is None:
            return None
        each = to_numpy(label, "labels")
        each = np.full(count, each) if each.ndim == 0 else each
        return class_numbers(each, count, classes)

    def reconstruct(
        self,
        images: Any,
        batch_size: int = PREDICT_BATCH,
        *,
        label: Any = None,
        mask: Any = None,
    ) -> np.ndarray:
        """Return reconstructions of images as `encode` takes them.

        They are float32 `(n, height, width, channels)` in [0, 1].

        Args:
            images: as of `encode`.
            batch_size: images in one call of the network.
            label: as of `decode`; another one than the image's gives its style in that class.
            mask: as of `encode`; what it hides is made up. Where the loss was of hidden pixels
                alone, these are hidden as in training by default, and the others stay.

        Raises:
            ImagesError: as `encode`.
            ArgumentError: as `decode`.
        """
        if not self.spec.objective.reads_mask:
            return self.decode(self.encode(images, batch_size, mask=mask), batch_size, label=label)
        images = as_images(images, self.spec.shape)
        if mask is None:
            mask = fixed_mask(len(images), self.spec.shape, self.spec.recipe)
        made = self.decode(self.encode(images, batch_size, mask=mask), batch_size, label=label)
        return np.where(to_numpy(mask)[..., np.newaxis] != 0, made, images)
