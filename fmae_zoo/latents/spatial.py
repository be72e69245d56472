"""The encoder's feature map itself as the code."""

from typing import Any, Literal

from fmae_zoo.component import Component, Width


class SpatialLatent(Component):
    """The features, flattened to `size` values in height, width, channel order."""

    type: Literal["spatial"]
    size: Width

    @property
    def has_prior(self) -> bool:
        """Whether codes can be drawn without an image."""
        return False

    def parameters(self, features: Any) -> dict[str, Any]:
        """Connect features to `{"mean": (n, size)}`.

        Raises:
            ValueError: the features do not have `size` values.
        """
        from keras import layers

        mean = layers.Flatten(name="latent", dtype="float32")(features)
        if mean.shape[-1] != self.size:
            shape = " x ".join(str(n) for n in features.shape[1:])
            raise ValueError(
                f"latent.size is {self.size}, but the network's features are {shape}: "
                f"a spatial latent of this network has size = {mean.shape[-1]}."
            )
        return {"mean": mean}

    def sampler(self, seed: int) -> None:
        """Nothing is sampled: the code is the mean."""
