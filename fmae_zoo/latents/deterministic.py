"""A plain bottleneck: one dense layer, no noise."""

from typing import Any, Literal

from fmae_zoo.component import LAYOUT, Component, Width


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

    def parameters(self, features: Any) -> dict[str, Any]:
        """Connect features to `{"mean": (n, size)}`."""
        from keras import layers

        x = layers.Flatten(data_format=LAYOUT, name="flat_features")(features)
        return {"mean": layers.Dense(self.size, name="latent", dtype="float32")(x)}

    def sampler(self, seed: int) -> None:
        """Nothing is sampled: the code is the mean."""
