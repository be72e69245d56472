"""The reparameterised draw from a Gaussian posterior."""

import math
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
        if keras.backend.backend() == "tensorflow":
            return _tensorflow_normal(shape, self.seed_generator.next())
        return keras.random.normal(shape, seed=self.seed_generator)

    def compute_output_shape(self, parameters_shape: dict[str, Any]) -> Any:
        """The code has the mean's shape."""
        return parameters_shape["mean"]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}


def _tensorflow_normal(shape: Any, seed: Any) -> Any:
    """Return what `keras.random.normal` does, also where XLA compiles it.

    TensorFlow and XLA make other numbers of the same random bits, so that steps in a loop of XLA
    would have other noise than single ones. Here the bits become numbers as TensorFlow does it:
    Box and Muller 1958, in tensorflow/core/lib/random/random_distributions.h.
    """
    import tensorflow as tf

    seed = tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)
    count = tf.reduce_prod(shape)
    # Left to choose an algorithm, XLA chooses this one, in a loop in more time than a step.
    bits = tf.random.stateless_uniform(
        (count // 2 + count % 2, 2), seed, None, None, tf.int32, alg="philox"
    )
    mantissa = tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(bits, 0x7FFFFF), 0x3F800000)
    uniform, turn = tf.unstack(tf.bitcast(mantissa, tf.float32) - 1.0, axis=1)
    radius = tf.sqrt(-2.0 * tf.math.log(tf.maximum(uniform, 1e-7)))
    angle = 2.0 * math.pi * turn
    pairs = radius[:, tf.newaxis] * tf.stack([tf.sin(angle), tf.cos(angle)], axis=1)
    return tf.reshape(tf.reshape(pairs, (-1,))[:count], shape)
