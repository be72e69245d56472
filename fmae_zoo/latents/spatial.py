"""The encoder's feature map, used as the code."""

from typing import TYPE_CHECKING, Literal

from fmae_zoo.component import LAYOUT
from fmae_zoo.latents.base import LatentComponent
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds


class SpatialLatent(LatentComponent):
    """The features, flattened to `size` values in height, width, channel order."""

    type: Literal["spatial"]

    def fits(self, features_size: int) -> bool:
        """Return whether the features have `size` values."""
        return self.size == features_size

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features with `size` values to `{"mean": (n, size)}`."""
        from keras import layers

        flatten = layers.Flatten(data_format=LAYOUT, name="latent", dtype="float32")
        return {"mean": flatten(features)}
