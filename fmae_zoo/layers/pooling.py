"""Max and average pooling over windows that do not overlap."""

from typing import Any

import keras

from fmae_zoo.types import Tensor

_BACKEND = keras.backend.backend()
if _BACKEND == "torch":
    from torch.nn import functional


class _Whole(keras.layers.Layer):
    """Mixin that checks whether a pooling layer can use the faster operation."""

    def _is_whole(self: Any) -> bool:
        plain = self.padding == "valid" and tuple(self.strides) == tuple(self.pool_size)
        return plain and self.data_format == "channels_last"


@keras.saving.register_keras_serializable(package="fmae_zoo")
class MaxPooling2D(_Whole, keras.layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D`; on PyTorch it reads a permuted view and copies nothing."""

    def call(self, inputs: Tensor) -> Tensor:
        """Return the maximum of each window."""
        if _BACKEND != "torch" or not self._is_whole():
            return super().call(inputs)
        outputs = functional.max_pool2d(inputs.permute(0, 3, 1, 2), self.pool_size)
        return outputs.permute(0, 2, 3, 1)


@keras.saving.register_keras_serializable(package="fmae_zoo")
class AveragePooling2D(_Whole, keras.layers.AveragePooling2D):
    """`keras.layers.AveragePooling2D`; a permuted view on PyTorch, a mean over axes on JAX.

    On CPUs, XLA compiles a mean to faster code than a moving window.
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Return the mean of each window."""
        if _BACKEND == "tensorflow" or not self._is_whole():
            return super().call(inputs)
        if _BACKEND == "torch":
            outputs = functional.avg_pool2d(inputs.permute(0, 3, 1, 2), self.pool_size)
            return outputs.permute(0, 2, 3, 1)
        count, height, width, channels = inputs.shape
        high, wide = self.pool_size
        rows, columns = height // high, width // wide
        whole = inputs[:, : rows * high, : columns * wide]
        return whole.reshape(count, rows, high, columns, wide, channels).mean((2, 4))
