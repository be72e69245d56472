"""The reparameterised draw from a Gaussian posterior."""

from typing import Any

import keras
from keras import ops


def spaced(seed: int) -> int:
    """Return a seed far from those of neighbouring seeds: on torch, nearby ones overlap."""
    return (seed + 1) * 2_654_435_761 % 2**31


@keras.saving.register_keras_serializable(package="fmae_zoo")
class GaussianSampling(keras.layers.Layer):
    """Draws `mean + exp(log_variance / 2) * noise` in training, returns the mean otherwise.

    Source: Kingma and Welling, "Auto-Encoding Variational Bayes", 2013, arXiv 1312.6114.

    Args:
        seed: of the noise. The same seed gives other numbers on another backend.
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, parameters: dict[str, Any], training: bool = False) -> Any:
        """Return codes `(n, size)` for a `mean` and a `log_variance` of that shape."""
        mean = parameters["mean"]
        if not training:
            return mean
        return mean + ops.exp(0.5 * parameters["log_variance"]) * self.noise(ops.shape(mean))

    def noise(self, shape: Any) -> Any:
        """Return the next standard normal numbers of a shape."""
        return keras.random.normal(shape, seed=self.seed_generator)

    def compute_output_shape(self, parameters_shape: dict[str, Any]) -> Any:
        """The code has the mean's shape."""
        return parameters_shape["mean"]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}
