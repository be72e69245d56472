"""A fully connected layer."""

from typing import Any

import keras
from keras import ops

from fmae_zoo.layers.initial import WithKernel
from fmae_zoo.types import Tensor

_BACKEND = keras.backend.backend()
if _BACKEND == "torch":
    from torch.nn import functional


@keras.saving.register_keras_serializable(package="fmae_zoo")
class Dense(WithKernel, keras.layers.Dense):
    """`keras.layers.Dense`; on PyTorch the product and the bias are one operation."""

    def call(self, inputs: Tensor, training: Any = None) -> Tensor:
        """Return `activation(inputs @ kernel + bias)`."""
        if _BACKEND != "torch":
            return super().call(inputs, training=training)
        bias = None if self.bias is None else ops.convert_to_tensor(self.bias)
        kernel = ops.convert_to_tensor(self.kernel)
        if inputs.dtype != kernel.dtype:
            # Keras accepts inputs of another type (integers, for example), torch does not.
            return super().call(inputs, training=training)
        return self.activation(self.multiplied(inputs, kernel, bias))

    def multiplied(self, inputs: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """Return the product with a kernel, plus the bias unless it is None."""
        if _BACKEND == "torch":
            return functional.linear(inputs, kernel.t(), bias)
        outputs = ops.matmul(inputs, kernel)
        return outputs if bias is None else ops.add(outputs, bias)

    def quantize(self, mode: Any = None, type_check: bool = True, **options: Any) -> None:
        """Quantise the weights as Keras does, without its type check, which rejects subclasses."""
        super().quantize(mode, type_check=False, **options)
