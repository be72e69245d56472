"""A diagonal Gaussian posterior (Kingma and Welling 2013, arXiv 1312.6114)."""

from typing import TYPE_CHECKING, Any, Literal

from fmae_zoo.component import LAYOUT, Component, Width

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds


class GaussianLatent(Component):
    """`size` independent Gaussians; the prior is standard normal."""

    type: Literal["gaussian"]
    size: Width

    @property
    def has_prior(self) -> bool:
        """Whether codes can be drawn without an image."""
        return True

    def fits(self, features_size: int) -> bool:
        """Whether it can read features of so many values."""
        return True

    def parameters(self, features: Any, seeds: "Seeds") -> dict[str, Any]:
        """Connect features to `{"mean": (n, size), "log_variance": (n, size)}`.

        The log-variance is kept within +-10 by a scaled tanh, so that no early step
        can overflow the KL term.
        """
        from keras import layers

        from fmae_zoo.layers import family

        x = features
        if len(x.shape) > 2:
            x = layers.Flatten(data_format=LAYOUT, name="flat_features")(x)

        def dense(name: str, activation: str) -> Any:
            initial = seeds.glorot_uniform()
            return family().Dense(
                self.size,
                activation=activation,
                kernel_initializer=initial,
                name=name,
                dtype="float32",
            )

        scaled = layers.Rescaling(10.0, name="log_variance", dtype="float32")
        log_variance = scaled(dense("latent_log_variance", "tanh")(x))
        return {"mean": dense("latent", "linear")(x), "log_variance": log_variance}

    def sampler(self, seed: int) -> Any:
        """Return the layer that gives a code for the dictionary of parameters."""
        from fmae_zoo.latents.sampling import GaussianSampling, spaced

        return GaussianSampling(seed=spaced(seed), name="sampling", dtype="float32")
