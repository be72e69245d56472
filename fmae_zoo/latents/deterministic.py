"""A plain bottleneck: one dense layer, no noise."""

from typing import TYPE_CHECKING, Any, Literal

from fmae_zoo.component import LAYOUT, Component, Width

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds


class DeterministicLatent(Component):
    """A linear bottleneck of `size` values."""

    type: Literal["deterministic"]
    size: Width

    @property
    def has_prior(self) -> bool:
        """Whether codes can be drawn without an image."""
        return False

    def fits(self, features_size: int) -> bool:
        """Whether it can read features of so many values."""
        return True

    def parameters(self, features: Any, seeds: "Seeds") -> dict[str, Any]:
        """Connect features to `{"mean": (n, size)}`."""
        from keras import layers

        from fmae_zoo.layers import family

        x = features
        if len(x.shape) > 2:
            x = layers.Flatten(data_format=LAYOUT, name="flat_features")(x)
        initial = seeds.glorot_uniform()
        latent = family().Dense(
            self.size, kernel_initializer=initial, name="latent", dtype="float32"
        )
        return {"mean": latent(x)}

    def sampler(self, seed: int) -> None:
        """Nothing is sampled: the code is the mean."""
