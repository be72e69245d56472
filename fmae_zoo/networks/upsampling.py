"""Nearest-neighbour upsampling and the convolution after it, in one layer."""

from typing import Any

import keras
from keras import layers, ops

from fmae_zoo.accelerate import completed, is_plain


@keras.saving.register_keras_serializable(package="fmae_zoo")
class UpsampledConv2D(layers.Conv2D):
    """A 2x nearest-neighbour upsampling, then a 3x3 convolution with padding "same".

    The upsampled map holds each value four times, so nine products of a kernel meet only four
    different values: 4/9 of the products give the same sums. A transposed convolution of stride
    2 whose kernel is the 3x3 one summed over 2x2 squares computes them (Odena et al. 2016,
    Deconvolution and Checkerboard Artifacts, Distill; Shi et al. 2016, arXiv 1609.07009). JAX,
    whose strided convolutions are slow on CPUs, computes each of the four phases of the output
    by a 2x2 convolution.

    Input `(n, height, width, channels)`, output `(n, 2 height, 2 width, filters)`; the weights
    are those of `Conv2D`.

    Args:
        filters: channels of the output.
        **kwargs: of `Conv2D`; kernel size, padding and data format are fixed.
    """

    def __init__(self, filters: int, **kwargs: Any) -> None:
        fixed = {"kernel_size": (3, 3), "padding": "same", "data_format": "channels_last"}
        super().__init__(filters, **{**kwargs, **fixed})

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Return the convolution of the upsampled inputs, without bias."""
        if is_plain():
            repeated = ops.repeat(ops.repeat(inputs, 2, axis=1), 2, axis=2)
            return super().convolution_op(repeated, kernel)
        return upsampled_conv(inputs, ops.convert_to_tensor(kernel))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output."""
        batch, height, width, _ = input_shape
        doubled = (None if extent is None else 2 * extent for extent in (height, width))
        return (batch, *doubled, self.filters)


def upsampled_conv(inputs: Any, kernel: Any, bias: Any = None, rectified: bool = False) -> Any:
    """Return what a 3x3 convolution gives for the 2x upsampled inputs.

    Args:
        inputs: `(n, height, width, channels)`.
        kernel: `(3, 3, channels, filters)`.
        bias: `(filters,)`, that is added.
        rectified: whether to return the positive part alone.
    """
    if keras.backend.backend() == "torch":
        from fmae_zoo.accelerate.on_torch import doubling_conv

        return doubling_conv(inputs, _transposed_kernel(kernel), bias, rectified)
    if keras.backend.backend() == "jax":
        outputs = _by_phases(inputs, kernel)
    else:
        kernel = ops.transpose(_transposed_kernel(kernel), (0, 1, 3, 2))
        outputs = ops.conv_transpose(inputs, kernel, strides=2, padding="same")
    return completed(outputs, bias, rectified)


def _by_phases(inputs: Any, kernel: Any) -> Any:
    _, height, width, _ = inputs.shape
    filters = kernel.shape[-1]
    padded = ops.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = []
    for row, high in enumerate(_phase_kernels(kernel, axis=0)):
        window = padded[:, row : row + height + 1]
        rows.append(
            ops.stack(
                [
                    ops.conv(window[:, :, column : column + width + 1], both, padding="valid")
                    for column, both in enumerate(_phase_kernels(high, axis=1))
                ],
                axis=3,
            )
        )
    outputs = ops.stack(rows, axis=2)
    return ops.reshape(outputs, (-1, 2 * height, 2 * width, filters))


def _phase_kernels(kernel: Any, axis: int) -> list[Any]:
    """Return the 2 taps along an axis that outputs at even, and at odd, places see."""
    first, second, third = ops.split(kernel, 3, axis=axis)
    return [
        ops.concatenate([first, second + third], axis=axis),
        ops.concatenate([first + second, third], axis=axis),
    ]


def _transposed_kernel(kernel: Any) -> Any:
    """Return the kernel `(4, 4, ...)` of the transposed convolution of stride 2."""
    for axis in (0, 1):
        first, second, third = ops.split(kernel, 3, axis=axis)
        taps = [third, second + third, first + second, first]
        kernel = ops.concatenate(taps, axis=axis)
    return kernel
