"""Encoding of images and decoding of codes, with NumPy arrays."""

from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.arguments import PREDICT_BATCH
from fmae_zoo.augmentation import fixed_mask, masked
from fmae_zoo.component import Shape
from fmae_zoo.errors import ArgumentError, ImagesError
from fmae_zoo.images import as_images, to_numpy
from fmae_zoo.inference import predicted
from fmae_zoo.training.classification import class_numbers
from fmae_zoo.types import Model

if TYPE_CHECKING:
    from fmae_zoo.spec import ModelSpec

_Mixin: Any = object


class Coding(_Mixin):
    """Mixin of the autoencoder with `encode`, `decode` and `reconstruct`."""

    spec: "ModelSpec"
    encoder: Model
    decoder: Model

    @property
    def image_shape(self) -> Shape:
        """Height, width and channels of an image."""
        return self.spec.shape

    def encode(
        self, images: Any, batch_size: int = PREDICT_BATCH, *, mask: Any = None
    ) -> np.ndarray:
        """Return the deterministic codes of images, the latent means: float32 `(n, latent size)`.

        BatchNorm is folded into the weights for this, so hooks on layers are not called; `fit` and
        `ae(images)` do call them.

        Args:
            images: Images, uint8 in 0..255 or floats in [0, 1], `(n, height, width, channels)`;
                grey images also `(n, height, width)`.
            batch_size: Number of images in one call of the network.
            mask: Booleans or numbers `(n, height, width)`; pixels where it is not 0 are hidden as
                in training.

        Raises:
            ImagesError: The images or the mask have another shape, dtype or range.
        """
        array = as_images(images, self.image_shape)
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
        """Return images decoded from codes: float32 `(n, height, width, channels)` in [0, 1].

        Args:
            codes: Codes `(n, latent size)`, as `encode` returns them.
            batch_size: Number of codes in one call of the network.
            label: If the spec has classes: the class of all images, or integers `(n,)`.

        Raises:
            ArgumentError: The codes have another shape or are not finite numbers; or the label
                is missing, not expected or out of range.
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
        """Return the class of each of `count` codes, or None for a decoder without classes."""
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
        """Return reconstructions of images: float32 `(n, height, width, channels)` in [0, 1].

        Args:
            images: Images as for `encode`.
            batch_size: Number of images in one call of the network.
            label: As for `decode`; a class other than the image's own gives an image of that
                class in the same style.
            mask: As for `encode`; the decoder fills in the hidden pixels. If the objective's loss
                covers hidden pixels only, the default is a fixed mask drawn by the recipe, and
                visible pixels are returned unchanged.

        Raises:
            ImagesError: As for `encode`.
            ArgumentError: As for `decode`.
        """
        if not self.spec.objective.reads_mask:
            return self.decode(self.encode(images, batch_size, mask=mask), batch_size, label=label)
        images = as_images(images, self.image_shape)
        if mask is None:
            mask = fixed_mask(len(images), self.spec.shape, self.spec.recipe)
        made = self.decode(self.encode(images, batch_size, mask=mask), batch_size, label=label)
        return np.where(to_numpy(mask)[..., np.newaxis] != 0, made, images)
