"""The networks in JAX, as a function of their weights."""

from typing import Any

import jax
from jax import lax, nn, numpy as jnp

from benchmarks.peers.weights import EPSILON, MOMENTUM
from fmae_zoo.spec import ModelSpec

Arrays = dict[str, jax.Array]


class Network:
    """One pass through a network, whose weights have the zoo's keys.

    In training it collects the new running statistics in `statistics`.
    """

    def __init__(self, spec: ModelSpec, dtype: Any, weights: Arrays, training: bool) -> None:
        self._spec = spec
        self._dtype = dtype
        self._weights = weights
        self._training = training
        self.statistics: Arrays = {}

    def posterior(self, images: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """Return latent means of `(n, 28, 28, 1)`, and log-variances where there are any."""
        network, latent = self._spec.network, self._spec.latent
        if network.type == "dense":
            x = images.reshape(len(images), -1)
            for number in range(1, len(network.units) + 1):
                x = nn.relu(self._dense(x, f"encoder{number}_dense"))
        else:
            x = images
            for number, stage in enumerate(network.encoder, 1):
                x = self._convs(x, f"stage{number}", stage.filters)
                x = _pooled(x, stage.pool)
            x = x.reshape(len(x), -1)
        if latent.type == "spatial":
            return x.astype(jnp.float32), None
        mean = self._dense(x, "latent", jnp.float32)
        if latent.type == "deterministic":
            return mean, None
        return mean, 10.0 * jnp.tanh(self._dense(x, "latent_log_variance", jnp.float32))

    def decode(self, code: jax.Array) -> jax.Array:
        """Return float32 logits `(n, 784)`."""
        network = self._spec.network
        x = code
        if network.type == "dense":
            for number in range(1, len(network.units) + 1):
                x = nn.relu(self._dense(x, f"decoder{number}_dense"))
            return self._dense(x, "logits_dense", jnp.float32)
        if "base_dense.kernel" in self._weights:
            x = self._dense(x, "base_dense").reshape(-1, *network.base)
            x = self._batch_norm_relu(x, "base_bn")
        x = x.reshape(-1, *network.base)
        for number, stage in enumerate(network.decoder, 1):
            if stage.upsample:
                x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
            x = self._convs(x, f"up{number}", stage.filters)
        x = self._conv(x, "logits_conv") + self._weights["logits_conv.bias"].astype(self._dtype)
        logits = x.reshape(len(x), -1).astype(jnp.float32)
        if not network.shortcut:
            return logits
        return logits + self._dense(code, "shortcut_dense", jnp.float32)

    def _dense(self, x: jax.Array, name: str, dtype: Any = None) -> jax.Array:
        dtype = dtype or self._dtype
        x = x.astype(dtype) @ self._weights[f"{name}.kernel"].astype(dtype)
        bias = self._weights.get(f"{name}.bias")
        return x if bias is None else x + bias.astype(dtype)

    def _convs(self, x: jax.Array, name: str, filters: tuple[int, ...]) -> jax.Array:
        for position in range(1, len(filters) + 1):
            conv = f"{name}_conv{position}"
            x = self._batch_norm_relu(self._conv(x, conv), f"{conv}_bn")
        return x

    def _conv(self, x: jax.Array, name: str) -> jax.Array:
        kernel = self._weights[f"{name}.kernel"].astype(self._dtype)
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x.astype(self._dtype), kernel, (1, 1), "SAME", dimension_numbers=layout
        )

    def _batch_norm_relu(self, x: jax.Array, name: str) -> jax.Array:
        wide = x.astype(jnp.float32)
        old = [self._weights[f"{name}.moving_{each}"] for each in ("mean", "variance")]
        mean, variance = old
        if self._training:
            mean = wide.mean((0, 1, 2))
            variance = jnp.square(wide).mean((0, 1, 2)) - jnp.square(mean)
            for each, before, now in zip(("mean", "variance"), old, (mean, variance)):
                moved = MOMENTUM * before + (1.0 - MOMENTUM) * now
                self.statistics[f"{name}.moving_{each}"] = moved
        scale = self._weights[f"{name}.gamma"] * lax.rsqrt(variance + EPSILON)
        shift = self._weights[f"{name}.beta"] - mean * scale
        return nn.relu(wide * scale + shift).astype(x.dtype)


def _pooled(x: jax.Array, pool: str) -> jax.Array:
    if pool == "none":
        return x
    # A reshape, because the gradient of `reduce_window` is slow on CPUs.
    count, height, width, channels = x.shape
    squares = x.reshape(count, height // 2, 2, width // 2, 2, channels)
    return squares.max((2, 4)) if pool == "max" else squares.mean((2, 4))
