"""The networks and their loop written by hand in JAX, with optax."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import lax, nn, numpy as jnp

from benchmarks.case import Case
from benchmarks.entries import benchmark_spec
from benchmarks.peers.jax_network import Arrays, Network
from benchmarks.peers.weights import (
    ADAM_EPSILON,
    LEARNING_RATE,
    count,
    initial_weights,
    is_trainable,
)
from benchmarks.shape import IMAGE_SIZE, SIDE
from fmae_zoo.spec import ModelSpec

try:
    import optax
except ImportError as error:
    raise ImportError("The handwritten JAX loop needs optax: pip install optax") from error


def _loss(spec: ModelSpec, network: Network, images: jax.Array, key: jax.Array) -> jax.Array:
    objective = spec.objective
    mean, log_variance = network.posterior(images)
    code, kl = mean, 0.0
    if log_variance is not None:
        code = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
        kl = 0.5 * (jnp.square(mean) + jnp.exp(log_variance) - 1.0 - log_variance).sum(-1)
        kl = objective.beta * kl.mean()
    logits = network.decode(code)
    pixels = images.reshape(len(images), -1)
    if objective.type == "elbo" and objective.likelihood == "bernoulli":
        return (nn.softplus(logits) - pixels * logits).sum(-1).mean() + kl
    error = jnp.square(nn.sigmoid(logits) - pixels).sum(-1).mean()
    if objective.type == "squared_error":
        return error
    constant = 0.5 * IMAGE_SIZE * math.log(2.0 * math.pi * objective.sigma**2)
    return error / (2.0 * objective.sigma**2) + constant + kl


class JaxLoop:
    """A jitted step over a resident uint8 array; its state is donated."""

    def __init__(self, case: Case) -> None:
        self._spec = benchmark_spec(case.entry)
        self._batch_size = case.batch_size
        mixed = case.precision == "mixed_bfloat16"
        self._network = partial(Network, self._spec, jnp.bfloat16 if mixed else jnp.float32)
        self._optimizer = optax.adam(LEARNING_RATE, eps=ADAM_EPSILON)
        weights = initial_weights(self._spec)
        self.parameters = count(weights)
        self.assign(weights)
        self._train = jax.jit(self._train_step, static_argnames="size", donate_argnames="state")
        self._encode = jax.jit(self._encode_step, static_argnames="size")
        self._reconstruct = jax.jit(self._reconstruct_step, static_argnames="size")

    def assign(self, weights: dict[str, np.ndarray]) -> None:
        """Take weights under the zoo's keys."""
        held = jax.device_put({key: np.array(value) for key, value in weights.items()})
        trained = {key: value for key, value in held.items() if is_trainable(key)}
        statistics = {key: value for key, value in held.items() if not is_trainable(key)}
        optimizer = jax.jit(self._optimizer.init)(trained)
        self._state = (trained, statistics, optimizer, jax.random.key(0))

    def _train_step(self, state: Any, total: Any, data: Any, start: Any, size: int) -> Any:
        trained, statistics, optimizer, key = state
        key, noise = jax.random.split(key)
        images = _batch(data, start, size)

        def loss_of(trained: Arrays) -> tuple[jax.Array, Arrays]:
            network = self._network(trained | statistics, training=True)
            return _loss(self._spec, network, images, noise), network.statistics

        (loss, statistics), gradient = jax.value_and_grad(loss_of, has_aux=True)(trained)
        updates, optimizer = self._optimizer.update(gradient, optimizer)
        trained = optax.apply_updates(trained, updates)
        return (trained, statistics, optimizer, key), total + loss * size

    def _encode_step(self, weights: Arrays, data: Any, start: Any, size: int) -> jax.Array:
        return self._network(weights, training=False).posterior(_batch(data, start, size))[0]

    def _reconstruct_step(self, weights: Arrays, data: Any, start: Any, size: int) -> jax.Array:
        network = self._network(weights, training=False)
        return nn.sigmoid(network.decode(network.posterior(_batch(data, start, size))[0]))

    def train(self, images: np.ndarray) -> float:
        """Train one epoch; return its mean loss."""
        data, total = jax.device_put(images), jnp.zeros(())
        for start, size in self._slices(len(images)):
            self._state, total = self._train(self._state, total, data, start, size=size)
        return float(total) / len(images)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the codes."""
        return self._predict(self._encode, images)

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Return the reconstructions."""
        return self._predict(self._reconstruct, images).reshape(-1, SIDE, SIDE, 1)

    def _predict(self, step: Callable[..., jax.Array], images: np.ndarray) -> np.ndarray:
        data, weights = jax.device_put(images), self._state[0] | self._state[1]
        slices = self._slices(len(images))
        outputs = [step(weights, data, start, size=size) for start, size in slices]
        return np.concatenate(jax.device_get(outputs))

    def _slices(self, count: int) -> Iterator[tuple[int, int]]:
        for start in range(0, count, self._batch_size):
            yield start, min(self._batch_size, count - start)


def _batch(data: jax.Array, start: Any, size: int) -> jax.Array:
    images = lax.dynamic_slice_in_dim(data, start, size)
    return images.astype(jnp.float32)[..., None] / 255.0
