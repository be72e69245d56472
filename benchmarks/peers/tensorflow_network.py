"""The networks in TensorFlow, on variables of their own."""

import numpy as np
import tensorflow as tf

from benchmarks.peers.weights import EPSILON, MOMENTUM, is_trainable
from benchmarks.shape import IMAGE_SIZE
from fmae_zoo.spec import ModelSpec


class Network:
    """An autoencoder; its variables have the zoo's keys."""

    def __init__(self, spec: ModelSpec, dtype: tf.DType, weights: dict[str, np.ndarray]) -> None:
        self._spec = spec
        self._dtype = dtype
        self.variables = {
            key: tf.Variable(value, trainable=is_trainable(key)) for key, value in weights.items()
        }

    def posterior(self, images: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Return latent means of `(n, 28, 28, 1)`, and log-variances where there are any."""
        network, latent = self._spec.network, self._spec.latent
        if network.type == "dense":
            x = tf.reshape(images, (-1, IMAGE_SIZE))
            for number in range(1, len(network.units) + 1):
                x = tf.nn.relu(self._dense(x, f"encoder{number}_dense"))
        else:
            x = images
            for number, stage in enumerate(network.encoder, 1):
                x = self._convs(x, f"stage{number}", stage.filters, training)
                if stage.pool != "none":
                    pool = {"max": tf.nn.max_pool2d, "average": tf.nn.avg_pool2d}[stage.pool]
                    x = pool(x, 2, 2, "VALID")
            x = tf.reshape(x, (-1, network.features_size(self._spec.shape)))
        if latent.type == "spatial":
            return tf.cast(x, tf.float32), None
        mean = self._dense(x, "latent", tf.float32)
        if latent.type == "deterministic":
            return mean, None
        return mean, 10.0 * tf.tanh(self._dense(x, "latent_log_variance", tf.float32))

    def decode(self, code: tf.Tensor, training: bool) -> tf.Tensor:
        """Return float32 logits `(n, 784)`."""
        network = self._spec.network
        x = code
        if network.type == "dense":
            for number in range(1, len(network.units) + 1):
                x = tf.nn.relu(self._dense(x, f"decoder{number}_dense"))
            return self._dense(x, "logits_dense", tf.float32)
        if "base_dense.kernel" in self.variables:
            x = tf.reshape(self._dense(x, "base_dense"), (-1, *network.base))
            x = self._batch_norm_relu(x, "base_bn", training)
        x = tf.reshape(x, (-1, *network.base))
        for number, stage in enumerate(network.decoder, 1):
            if stage.upsample:
                x = tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
            x = self._convs(x, f"up{number}", stage.filters, training)
        x = self._conv(x, "logits_conv")
        x = tf.nn.bias_add(x, tf.cast(self.variables["logits_conv.bias"], self._dtype))
        logits = tf.cast(tf.reshape(x, (-1, IMAGE_SIZE)), tf.float32)
        if not network.shortcut:
            return logits
        return logits + self._dense(code, "shortcut_dense", tf.float32)

    def _dense(self, x: tf.Tensor, name: str, dtype: tf.DType | None = None) -> tf.Tensor:
        dtype = dtype or self._dtype
        kernel = tf.cast(self.variables[f"{name}.kernel"], dtype)
        x = tf.matmul(tf.cast(x, dtype), kernel)
        bias = self.variables.get(f"{name}.bias")
        return x if bias is None else tf.nn.bias_add(x, tf.cast(bias, dtype))

    def _convs(
        self, x: tf.Tensor, name: str, filters: tuple[int, ...], training: bool
    ) -> tf.Tensor:
        for position in range(1, len(filters) + 1):
            conv = f"{name}_conv{position}"
            x = self._batch_norm_relu(self._conv(x, conv), f"{conv}_bn", training)
        return x

    def _conv(self, x: tf.Tensor, name: str) -> tf.Tensor:
        kernel = tf.cast(self.variables[f"{name}.kernel"], self._dtype)
        return tf.nn.conv2d(tf.cast(x, self._dtype), kernel, 1, "SAME")

    def _batch_norm_relu(self, x: tf.Tensor, name: str, training: bool) -> tf.Tensor:
        gamma, beta, mean, variance = (
            self.variables[f"{name}.{each}"]
            for each in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        x, new_mean, new_variance = tf.compat.v1.nn.fused_batch_norm(
            x,
            gamma,
            beta,
            mean=mean,
            variance=variance,
            epsilon=EPSILON,
            is_training=training,
            exponential_avg_factor=1.0 - MOMENTUM,
        )
        if training:
            mean.assign(new_mean)
            variance.assign(new_variance)
        return tf.nn.relu(x)
