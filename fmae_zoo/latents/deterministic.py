"""A plain bottleneck: one dense layer, no noise."""

from typing import TYPE_CHECKING, ClassVar, Literal

from fmae_zoo.component import LAYOUT
from fmae_zoo.latents.base import LatentComponent
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds


class DeterministicLatent(LatentComponent):
    """A linear bottleneck of `size` values."""

    gives: ClassVar[frozenset[str]] = frozenset({"mean", "affine"})

    type: Literal["deterministic"]

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `{"mean": (n, size)}`."""
        return {"mean": projected(features, self.size, "latent", seeds)}


def flattened(features: Tensor) -> Tensor:
    """Return features of any rank flattened to `(n, values)`."""
    from keras import layers

    if len(features.shape) == 2:
        return features
    return layers.Flatten(data_format=LAYOUT, name="flat_features")(features)


def projected(
    features: Tensor, size: int, name: str, seeds: "Seeds", activation: str = "linear"
) -> Tensor:
    """Connect features of any rank to `(n, size)` by a dense layer, in float32."""
    from fmae_zoo.layers import family

    features = flattened(features)
    dense = family().Dense(
        size,
        activation=activation,
        kernel_initializer=seeds.glorot_uniform(),
        name=name,
        dtype="float32",
    )
    return dense(features)
