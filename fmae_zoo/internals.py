"""What the zoo asks of a framework that the framework does not promise to keep.

Where one of them is not there, it is left out, and models train all the same: by slower code
without XLA's option, by Adam's updates of convolutions without Muon's hook. Nothing else in the
package uses a private name of Keras, PyTorch, TensorFlow or JAX.
"""

import functools
from typing import Any

import keras
from keras import ops

from fmae_zoo._backend import is_on_cpu
from fmae_zoo.types import Tensor


@functools.cache
def xla_options() -> dict[str, Any]:
    """Return the options by which JAX compiles for this device, empty where it knows none.

    XLA's default library for convolutions on CPUs (YNN) takes twice as long as what XLA had
    before: of it the matrix products alone are used. The option is XLA's, and experimental.
    """
    import jax

    if not is_on_cpu():
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT"}
    try:
        jax.jit(lambda value: value, compiler_options=options)(0.0)
    except Exception:  # An XLA without the option; its class differs between versions.
        return {}
    return options


@keras.saving.register_keras_serializable(package="fmae_zoo")
class ConvMuon(keras.optimizers.Muon):
    """Muon that orthogonalises the updates of convolution kernels too, as Jordan 2024 does.

    Keras' own gives them Adam's: it asks a private method of itself, and no argument of it changes
    the answer for a kernel of four axes. Here a kernel `(height, width, inputs, outputs)` is a
    matrix of `height * width * inputs` rows; one with a single input or output channel keeps
    Adam's.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        if len(variable.shape) == 4:
            return min(variable.shape[2:]) == 1
        own = getattr(super(), "_should_use_adamw", None)
        return bool(own(variable)) if own is not None else len(variable.shape) < 2

    def zeropower_via_newtonschulz5(self, x: Tensor, steps: int) -> Tensor:
        """Return the update's orthogonal part, of the update's shape."""
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        return ops.reshape(super().zeropower_via_newtonschulz5(matrix, steps), x.shape)

    def lr_adjust(self, x: Tensor) -> Tensor:
        """Return the update scaled by its size as a matrix, as Liu et al. 2025 do."""
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        return ops.reshape(super().lr_adjust(matrix), x.shape)
