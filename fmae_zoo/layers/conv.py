"""Convolution, and upsampling followed by a convolution."""

import functools
from typing import Any

import keras
from keras import ops

from fmae_zoo.layers.initial import WithKernel
from fmae_zoo.types import Tensor

_BACKEND = keras.backend.backend()
if _BACKEND == "torch":
    import torch
    from torch.nn import functional
elif _BACKEND == "tensorflow":
    import tensorflow as tf


@keras.saving.register_keras_serializable(package="fmae_zoo")
class Conv2D(WithKernel, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with the bias added by the operation that fuses with the convolution.

    On PyTorch, a convolution that keeps the height and width reads a permuted view of its input,
    which is torch's own channels-last layout; Keras copies each activation twice instead.
    """

    def call(self, inputs: Tensor) -> Tensor:
        """Convolve `(n, height, width, channels)`; return `(n, new height, new width, filters)`."""
        if self.data_format != "channels_last":
            return super().call(inputs)
        kernel = ops.convert_to_tensor(self.kernel)
        bias = None if self.bias is None else ops.convert_to_tensor(self.bias)
        outputs = self.convolved(inputs, kernel, bias)
        plain = _BACKEND != "torch" or torch.is_grad_enabled()
        if plain or self.activation is not keras.activations.relu:
            return self.activation(outputs)
        return functional.relu_(outputs)

    def convolved(self, inputs: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """Return the convolution with a kernel, plus the bias unless it is None."""
        if _BACKEND == "torch" and self._keeps_size():
            padding = [size // 2 for size in self.kernel_size]
            return _channels_first(functional.conv2d, inputs, kernel, bias, padding=padding)
        return _biased(self.convolution_op(inputs, kernel), bias)

    def _keeps_size(self) -> bool:
        same = self.padding == "same" and all(size % 2 for size in self.kernel_size)
        unit = set(self.strides) == set(self.dilation_rate) == {1}
        return same and unit and self.groups == 1


@keras.saving.register_keras_serializable(package="fmae_zoo")
class UpsampledConv2D(Conv2D):
    """A 2x nearest-neighbour upsampling followed by a 3x3 convolution with padding "same".

    The upsampled map holds each value four times, so the nine products of a kernel use only four
    different values, and 4/9 of the products give the same sums. A transposed convolution of
    stride 2, whose kernel is the 3x3 kernel summed over 2x2 squares, computes these sums (Odena et
    al. 2016, Deconvolution and Checkerboard Artifacts, Distill; Shi et al. 2016, arXiv 1609.07009).
    Strided convolutions are slow in JAX on CPUs, so on JAX each of the four phases of the output
    is a 2x2 convolution.

    The input is `(n, height, width, channels)`, the output `(n, 2 height, 2 width, filters)`. The
    weights are the same as in `Conv2D`.

    Args:
        filters: Number of output channels.
        **kwargs: Arguments of `Conv2D`. Kernel size, strides, padding, dilation, groups and data
            format are fixed.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        fixed: dict[str, Any] = {
            "kernel_size": (3, 3),
            "padding": "same",
            "data_format": "channels_last",
        }
        fixed |= {"strides": (1, 1), "dilation_rate": (1, 1), "groups": 1}
        super().__init__(filters, **{**kwargs, **fixed})

    def convolved(self, inputs: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """Return the convolution of the upsampled inputs, plus the bias unless it is None."""
        if _BACKEND == "jax":
            return _biased(_by_phases(inputs, kernel), bias)
        kernel = _transposed_kernel(kernel)
        if _BACKEND == "torch":
            # (4, 4, channels, filters) becomes (channels, filters, 4, 4).
            transposed = functools.partial(functional.conv_transpose2d, stride=2, padding=1)
            return _channels_first(transposed, inputs, kernel, bias, kernel_axes=(2, 3, 0, 1))
        kernel = ops.transpose(kernel, (0, 1, 3, 2))
        outputs = ops.conv_transpose(
            inputs, kernel, strides=2, padding="same", data_format="channels_last"
        )
        return _biased(outputs, bias)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output, `(n, 2 height, 2 width, filters)`."""
        batch, height, width, _ = input_shape
        doubled = (None if extent is None else 2 * extent for extent in (height, width))
        return (batch, *doubled, self.filters)


def _channels_first(
    function: Any,
    inputs: Tensor,
    kernel: Tensor,
    bias: Tensor,
    kernel_axes: tuple[int, ...] = (3, 2, 0, 1),
    **options: Any,
) -> Tensor:
    """Apply a channels-first torch function to channels-last tensors, through views, not copies."""
    kernel = kernel.permute(*kernel_axes)
    if kernel.dtype in (torch.float16, torch.float64) or len(inputs) == 1:
        # torch may choose its slow convolution here, which needs a contiguous kernel.
        kernel = kernel.contiguous()
    outputs = function(inputs.permute(0, 3, 1, 2), kernel, bias, **options)
    return outputs.permute(0, 2, 3, 1)


def _biased(outputs: Tensor, bias: Tensor) -> Tensor:
    if bias is None:
        return outputs
    # bias_add is the only addition that TensorFlow fuses with the convolution.
    return tf.nn.bias_add(outputs, bias) if _BACKEND == "tensorflow" else outputs + bias


def _by_phases(inputs: Tensor, kernel: Tensor) -> Tensor:
    _, height, width, _ = inputs.shape
    filters = kernel.shape[-1]
    padded = ops.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)))
    options = {"padding": "valid", "data_format": "channels_last"}
    rows = []
    for row, high in enumerate(_phase_kernels(kernel, axis=0)):
        window = padded[:, row : row + height + 1]
        phases = [
            ops.conv(window[:, :, column : column + width + 1], both, **options)
            for column, both in enumerate(_phase_kernels(high, axis=1))
        ]
        rows.append(ops.stack(phases, axis=3))
    return ops.reshape(ops.stack(rows, axis=2), (-1, 2 * height, 2 * width, filters))


def _phase_kernels(kernel: Tensor, axis: int) -> list[Tensor]:
    """Return the kernels, 2 taps along an axis, of the outputs at even and at odd positions."""
    first, second, third = ops.split(kernel, 3, axis=axis)
    return [
        ops.concatenate([first, second + third], axis=axis),
        ops.concatenate([first + second, third], axis=axis),
    ]


def _transposed_kernel(kernel: Tensor) -> Tensor:
    """Return the kernel `(4, 4, ...)` of the equivalent transposed convolution of stride 2."""
    for axis in (0, 1):
        first, second, third = ops.split(kernel, 3, axis=axis)
        taps = [third, second + third, first + second, first]
        kernel = ops.concatenate(taps, axis=axis)
    return kernel
