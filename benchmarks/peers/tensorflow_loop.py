"""The networks and their loop written by hand in TensorFlow."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.entries import benchmark_spec
from benchmarks.peers.tensorflow_network import Network
from benchmarks.peers.weights import (
    ADAM_EPSILON,
    LEARNING_RATE,
    count,
    initial_weights,
)
from benchmarks.shape import IMAGE_SIZE, SIDE
from fmae_zoo.spec import ModelSpec


def _loss(spec: ModelSpec, network: Network, images: tf.Tensor) -> tf.Tensor:
    objective = spec.objective
    mean, log_variance = network.posterior(images, training=True)
    code, kl = mean, 0.0
    if log_variance is not None:
        code = mean + tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(mean))
        kl = 0.5 * tf.reduce_sum(tf.square(mean) + tf.exp(log_variance) - 1.0 - log_variance, -1)
        kl = objective.beta * tf.reduce_mean(kl)
    logits = network.decode(code, training=True)
    pixels = tf.reshape(images, (-1, IMAGE_SIZE))
    if objective.type == "elbo" and objective.likelihood == "bernoulli":
        nats = tf.nn.sigmoid_cross_entropy_with_logits(pixels, logits)
        return tf.reduce_mean(tf.reduce_sum(nats, -1)) + kl
    error = tf.math.squared_difference(tf.sigmoid(logits), pixels)
    error = tf.reduce_mean(tf.reduce_sum(error, -1))
    if objective.type == "squared_error":
        return error
    constant = 0.5 * IMAGE_SIZE * math.log(2.0 * math.pi * objective.sigma**2)
    return error / (2.0 * objective.sigma**2) + constant + kl


class TensorflowLoop:
    """A step in a `tf.function` over a resident uint8 tensor; compiled by XLA on a GPU."""

    def __init__(self, case: Case) -> None:
        self._spec = benchmark_spec(case.entry)
        self._batch_size = case.batch_size
        mixed = case.precision == "mixed_bfloat16"
        weights = initial_weights(self._spec)
        self.parameters = count(weights)
        self._network = Network(self._spec, tf.bfloat16 if mixed else tf.float32, weights)
        self._adam = _Adam([v for v in self._network.variables.values() if v.trainable])
        self._total = tf.Variable(0.0, trainable=False)
        compiled = tf.function(jit_compile=case.device == "gpu", reduce_retracing=False)
        self._train = compiled(self._train_step)
        self._encode = compiled(self._encode_step)
        self._reconstruct = compiled(self._reconstruct_step)

    def assign(self, weights: dict[str, np.ndarray]) -> None:
        """Take weights under the zoo's keys."""
        for key, value in weights.items():
            self._network.variables[key].assign(value)

    def _train_step(self, data: tf.Tensor, start: tf.Tensor, size: int) -> None:
        with tf.GradientTape() as tape:
            loss = _loss(self._spec, self._network, _batch(data, start, size))
        self._adam.apply(tape.gradient(loss, self._adam.variables))
        self._total.assign_add(loss * size)

    def _encode_step(self, data: tf.Tensor, start: tf.Tensor, size: int) -> tf.Tensor:
        return self._network.posterior(_batch(data, start, size), training=False)[0]

    def _reconstruct_step(self, data: tf.Tensor, start: tf.Tensor, size: int) -> tf.Tensor:
        return tf.sigmoid(self._network.decode(self._encode_step(data, start, size), False))

    def train(self, images: np.ndarray) -> float:
        """Train one epoch; return its mean loss."""
        data = tf.constant(images)
        self._total.assign(0.0)
        for start, size in self._slices(len(images)):
            self._train(data, start, size)
        return float(self._total) / len(images)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the codes."""
        return self._predict(self._encode, images)

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Return the reconstructions."""
        return self._predict(self._reconstruct, images).reshape(-1, SIDE, SIDE, 1)

    def _predict(self, step: Callable[..., tf.Tensor], images: np.ndarray) -> np.ndarray:
        data, slices = tf.constant(images), self._slices(len(images))
        return tf.concat([step(data, start, size) for start, size in slices], 0).numpy()

    def _slices(self, count: int) -> Iterator[tuple[tf.Tensor, int]]:
        for start in range(0, count, self._batch_size):
            yield tf.constant(start), min(self._batch_size, count - start)


class _Adam:
    """TensorFlow's fused kernel of Adam: one operation for a variable."""

    def __init__(self, variables: list[tf.Variable]) -> None:
        self.variables = variables
        self._moments = [
            [tf.Variable(tf.zeros_like(variable), trainable=False) for _ in range(2)]
            for variable in variables
        ]
        self._powers = [tf.Variable(beta, trainable=False) for beta in (0.9, 0.999)]

    def apply(self, gradients: list[tf.Tensor]) -> None:
        """Take a step."""
        first, second = (tf.identity(power) for power in self._powers)
        for variable, (m, v), gradient in zip(self.variables, self._moments, gradients):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=first,
                beta2_power=second,
                lr=LEARNING_RATE,
                beta1=0.9,
                beta2=0.999,
                epsilon=ADAM_EPSILON,
                grad=gradient,
            )
        for power, beta in zip(self._powers, (0.9, 0.999)):
            power.assign(power * beta)


def _batch(data: tf.Tensor, start: tf.Tensor, size: int) -> tf.Tensor:
    images = tf.slice(data, [start, 0, 0], [size, SIDE, SIDE])
    return tf.cast(images, tf.float32)[..., tf.newaxis] / 255.0
