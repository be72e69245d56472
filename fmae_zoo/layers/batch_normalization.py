"""Batch normalisation with the fused operations of PyTorch and TensorFlow."""

from typing import Any

import keras
from keras import ops

from fmae_zoo._backend import is_on_cpu
from fmae_zoo.types import Tensor

_BACKEND = keras.backend.backend()
if _BACKEND == "torch":
    import torch
    from torch.nn import functional

    class _SumOfProcesses(torch.autograd.Function):
        """The sum of a tensor over the processes; so is the gradient."""

        @staticmethod
        def forward(context: Any, tensor: Tensor) -> Tensor:
            total = tensor.clone()
            torch.distributed.all_reduce(total)
            return total

        @staticmethod
        def backward(context: Any, *gradients: Tensor) -> Tensor:
            return _SumOfProcesses.apply(gradients[0])
elif _BACKEND == "tensorflow":
    import tensorflow as tf


@keras.saving.register_keras_serializable(package="fmae_zoo")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis of `(n, c)` or `(n, h, w, c)`.

    Keras computes it in several operations. PyTorch, and TensorFlow on a CPU, use one fused
    operation, which also returns the mean and the variance of the batch; the moving statistics are
    updated from these by Keras' formula. Every other case is left to Keras.

    If `synchronized` is set to True, and a batch is divided among several devices, its statistics
    are those of the whole batch. On PyTorch the devices are the processes of `torch.distributed`.
    """

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor = None) -> Tensor:
        """Return the normalised inputs; in training also update the moving statistics."""
        training = bool(training) and self.trainable
        if _BACKEND == "torch" and training and self.synchronized:
            return self._over_processes(inputs)
        if mask is not None or not self._is_fused(inputs, training):
            return super().call(inputs, training=training, mask=mask)
        mean = ops.convert_to_tensor(self.moving_mean)
        variance = ops.convert_to_tensor(self.moving_variance)
        gamma, beta = ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
        fused = _torch if _BACKEND == "torch" else _tensorflow
        outputs, new_mean, unbiased, count = fused(
            inputs, mean, variance, gamma, beta, self.epsilon, training
        )
        if training:
            # The operations divide the variance by n - 1; Keras' moving variance divides by n.
            self._move(new_mean, unbiased * ((count - 1) / count))
        return outputs

    def _move(self, mean: Tensor, variance: Tensor) -> None:
        """Update the moving statistics by those of a batch."""
        keep, move = self.momentum, 1.0 - self.momentum
        self.moving_mean.assign(self.moving_mean * keep + mean * move)
        self.moving_variance.assign(self.moving_variance * keep + variance * move)

    def _over_processes(self, inputs: Tensor) -> Tensor:
        """Return inputs normalised by the statistics over all processes; each has as many rows."""
        values = inputs.float()
        axes = tuple(range(inputs.ndim - 1))
        count = torch.distributed.get_world_size()
        mean = _SumOfProcesses.apply(values.mean(axes)) / count
        variance = _SumOfProcesses.apply((values - mean).square().mean(axes)) / count
        self._move(mean.detach(), variance.detach())
        scale = torch.rsqrt(variance + self.epsilon) * self.gamma.value
        return ((values - mean) * scale + self.beta.value).to(inputs.dtype)

    def _is_fused(self, inputs: Tensor, training: bool) -> bool:
        rank = len(inputs.shape)
        plain = self.scale and self.center and not self.renorm and not self.synchronized
        types = self.variable_dtype == "float32" and self.compute_dtype != "float64"
        # The operations refuse other types of inputs, integers for example.
        types = types and keras.backend.standardize_dtype(inputs.dtype) == self.compute_dtype
        if not (plain and types and rank in (2, 4) and self.axis in (-1, rank - 1)):
            return False
        if _BACKEND == "torch":
            # torch refuses a batch with one value per channel; Keras uses a variance of zero.
            return not training or inputs.numel() > inputs.shape[-1]
        # On a GPU, XLA fuses Keras' separate operations better.
        return _BACKEND == "tensorflow" and is_on_cpu()


def _torch(
    inputs: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    training: bool,
) -> Tensor:
    if training:
        # With a momentum of 1 the "running" statistics become the statistics of the batch.
        mean, variance = torch.zeros_like(mean), torch.zeros_like(variance)
    maps = inputs.permute(0, 3, 1, 2) if inputs.ndim == 4 else inputs
    outputs = functional.batch_norm(maps, mean, variance, gamma, beta, training, 1.0, epsilon)
    outputs = outputs.permute(0, 2, 3, 1) if inputs.ndim == 4 else outputs
    return outputs, mean, variance, inputs.numel() // inputs.shape[-1]


def _tensorflow(
    inputs: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    training: bool,
) -> Tensor:
    maps = inputs if inputs.shape.rank == 4 else inputs[:, tf.newaxis, tf.newaxis, :]
    none = tf.zeros((0,))
    outputs, new_mean, new_variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=maps,
        scale=gamma,
        offset=beta,
        mean=none if training else mean,
        variance=none if training else variance,
        epsilon=epsilon,
        is_training=training,
    )
    outputs = outputs if inputs.shape.rank == 4 else outputs[:, 0, 0, :]
    count = tf.cast(tf.size(maps) // tf.shape(maps)[-1], "float32")
    return outputs, new_mean, new_variance, count
