"""The Keras layer that owns what a latent learns, and its noise."""

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
    """Return a seed far from those of neighbouring seeds: on torch, nearby ones overlap."""
    return (seed + 1) * 2_654_435_761 % 2**31


class LatentLayer(keras.layers.Layer):
    """A latent with its weights.

    Args:
        latent: what it computes.
        seed: of the noise. The same seed gives other numbers on another backend.
        seeds: of the weights.
        image_shape: height, width and channels.

    Attributes:
        parameters_of: from images to the latent's parameters, for a prior that asks the encoder
            (Tomczak and Welling 2018, arXiv 1705.07120).
        always_draws: whether a model draws codes outside training too, as in a run's validation.
    """

    parameters_of: Callable[..., dict[str, Any]]
    always_draws: bool = False

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
        """Create a weight as Keras does; read as float32 by a model of mixed precision too."""
        return super().add_weight(*args, **{"autocast": False, **options})

    def prepare(self, images: np.ndarray, seed: int = 0) -> None:
        """Take what the latent needs of the training images, as `LatentComponent.prepare` says."""
        self.latent.prepare(self, images, seed)

    def code(self, parameters: dict[str, Tensor]) -> Tensor:
        """Return the deterministic code `(n, size)`."""
        return self.latent.code(parameters, self)

    def draw(
        self,
        parameters: dict[str, Tensor],
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return codes of images as `LatentComponent.draw` says."""
        tensors = {name: ops.convert_to_tensor(value) for name, value in parameters.items()}
        noise = None if noise is None else ops.convert_to_tensor(noise, "float32")
        return self.latent.draw(tensors, self, samples, training, noise)

    def prior(self, noise: Tensor) -> Tensor:
        """Return the codes `(n, size)` of standard normal noise `(n, noise_size)`."""
        return self.latent.prior(ops.convert_to_tensor(noise, "float32"), self)

    def nearest(self, codes: Tensor) -> Tensor:
        """Return the codes that the latent has nearest to any `(n, size)`."""
        return self.latent.nearest(ops.convert_to_tensor(codes, "float32"), self)

    @property
    def kinds(self) -> int:
        """Codes that a group of values may have; 0 where none is discrete."""
        return self.latent.kinds

    def code_of(self, index: np.ndarray) -> np.ndarray:
        """Return the code of indices as `LatentComponent.code_of` says."""
        return self.latent.code_of(index, self)

    def noise(self, shape: Any) -> Tensor:
        """Return the next standard normal numbers of a shape."""
        if keras.backend.backend() == "tensorflow":
            return _tensorflow_normal(shape, self.seed_generator.next())
        return keras.random.normal(shape, seed=self.seed_generator)


def _tensorflow_normal(shape: Any, seed: Any) -> Tensor:
    """Return what `keras.random.normal` does, also where XLA compiles it.

    TensorFlow and XLA make other numbers of the same random bits, so that a compiled step would
    have other noise than a plain one. Here the bits become numbers as TensorFlow does it:
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
