"""The Keras layer that holds the weights of a latent and draws its noise."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from fmae_zoo.component import Shape
from fmae_zoo.latents.base import Draw, LatentComponent
from fmae_zoo.layers.initial import Seeds
from fmae_zoo.types import Tensor, Variable


def spaced(seed: int) -> int:
    """Spread a seed far from its neighbours: on torch, the noise of nearby seeds overlaps."""
    return (seed + 1) * 2_654_435_761 % 2**31


class LatentLayer(keras.layers.Layer):
    """A latent with its weights.

    Args:
        latent: The latent component, which defines the computation.
        seed: Seed of the noise. The same seed gives different numbers on different backends.
        seeds: Initializers of the weights.
        image_shape: Height, width and channels of an image.

    Attributes:
        parameters_of: The encoder: a function from images, and whether in training, to the
            parameters of the latent.
        always_draws: True if a model draws codes outside training too, as in a run's validation.
        replica: Function that returns the number of this replica, and of all replicas that share a
            batch, if the model is trained on several devices.
    """

    parameters_of: Callable[..., dict[str, Any]]
    always_draws: bool = False
    replica: Callable[[], tuple[Any, int]] = staticmethod(lambda: (0, 1))

    def __init__(
        self,
        latent: LatentComponent,
        seed: int,
        seeds: Seeds,
        image_shape: Shape,
    ) -> None:
        super().__init__(name=latent.type, dtype="float32")
        self.latent, self.image_shape = latent, image_shape
        self.seed_generator = keras.random.SeedGenerator(spaced(seed))
        latent.build(self, seeds)
        self.built = True

    def add_weight(self, *args: Any, **options: Any) -> Variable:
        """Create a weight as Keras does, but never cast it in a model of mixed precision."""
        return super().add_weight(*args, **{"autocast": False, **options})

    def prepare(self, images: np.ndarray, seed: int = 0) -> None:
        """Set up the latent from the training images; see `LatentComponent.prepare`."""
        self.latent.prepare(self, images, seed)

    def code(self, parameters: dict[str, Tensor]) -> Tensor:
        """Return the deterministic code `(n, size)`."""
        return self.latent.code(parameters, self)

    def encoded(self, images: Tensor, training: bool = False) -> dict[str, Tensor]:
        """Return the parameters of images; see `LatentComponent.encoded`."""
        return self.latent.encoded(images, self, training)

    def draw(
        self,
        parameters: dict[str, Tensor],
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return codes of images; see `LatentComponent.draw`."""
        tensors = {name: ops.convert_to_tensor(value) for name, value in parameters.items()}
        noise = None if noise is None else ops.convert_to_tensor(noise, "float32")
        return self.latent.draw(tensors, self, samples, training, noise)

    def prior(self, noise: Tensor) -> Tensor:
        """Return the prior's codes `(n, size)` for standard normal noise `(n, noise_size)`."""
        return self.latent.prior(ops.convert_to_tensor(noise, "float32"), self)

    def nearest(self, codes: Tensor) -> Tensor:
        """Return the nearest valid code of the latent for each code `(n, size)`."""
        return self.latent.nearest(ops.convert_to_tensor(codes, "float32"), self)

    @property
    def kinds(self) -> int:
        """Number of codes that a group of values can take; 0 if the latent is not discrete."""
        return self.latent.kinds

    def code_of(self, index: np.ndarray) -> np.ndarray:
        """Return the code for indices; see `LatentComponent.code_of`."""
        return self.latent.code_of(index, self)

    def noise(self, shape: Any) -> Tensor:
        """Return an array of the given shape with the generator's next standard normal numbers.

        If replicas share a batch, each draws the noise of the whole batch and takes its own part.
        """
        number, replicas = self.replica()
        if replicas == 1:
            return self._noise(shape)
        count, *rest = shape
        return self._noise((count * replicas, *rest))[number * count : (number + 1) * count]

    def _noise(self, shape: Any) -> Tensor:
        if keras.backend.backend() == "tensorflow":
            return _tensorflow_normal(shape, self.seed_generator.next())
        return keras.random.normal(shape, seed=self.seed_generator)


def _tensorflow_normal(shape: Any, seed: Any) -> Tensor:
    """Return the same numbers as `keras.random.normal`, also in a step compiled by XLA.

    TensorFlow and XLA turn the same random bits into different normal numbers, so a compiled step
    would draw other noise than a plain one. This function converts the bits as TensorFlow does:
    Box and Muller 1958, in tensorflow/core/lib/random/random_distributions.h.
    """
    import tensorflow as tf

    seed = tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)
    count = tf.reduce_prod(shape)
    # XLA chooses philox by itself too, but then runs a loop that takes longer than a step.
    bits = tf.random.stateless_uniform(
        (count // 2 + count % 2, 2), seed, None, None, tf.int32, alg="philox"
    )
    mantissa = tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(bits, 0x7FFFFF), 0x3F800000)
    uniform, turn = tf.unstack(tf.bitcast(mantissa, tf.float32) - 1.0, axis=1)
    radius = tf.sqrt(-2.0 * tf.math.log(tf.maximum(uniform, 1e-7)))
    angle = 2.0 * math.pi * turn
    pairs = radius[:, tf.newaxis] * tf.stack([tf.sin(angle), tf.cos(angle)], axis=1)
    return tf.reshape(tf.reshape(pairs, (-1,))[:count], shape)
