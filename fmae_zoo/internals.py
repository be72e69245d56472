"""Uses of framework internals, which may change in any version of the framework.

If one of them is missing, models still train: more slowly without XLA's option, and with Adam's
updates of convolutions without Muon's private method. No other module of the package uses a
private name of Keras, PyTorch, TensorFlow or JAX.
"""

import functools
from typing import Any

import keras
from keras import ops

from fmae_zoo._backend import is_on_cpu
from fmae_zoo.types import Tensor


@functools.cache
def xla_options() -> dict[str, Any]:
    """Return the compiler options for JAX on this device; empty if there are none.

    XLA's default library for CPUs (YNN) takes twice as long for convolutions as XLA's older code,
    so it is used only for matrix products. The XLA option for this is experimental.
    """
    import jax

    if not is_on_cpu():
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT"}
    try:
        jax.jit(lambda value: value, compiler_options=options)(0.0)
    except Exception:  # XLA lacks the option; the class of the error differs between versions.
        return {}
    return options


@keras.saving.register_keras_serializable(package="fmae_zoo")
class ConvMuon(keras.optimizers.Muon):
    """Muon that also orthogonalises the updates of convolution kernels, as in Jordan 2024.

    Keras' own Muon uses Adam for them: a private method decides this, and no argument changes its
    answer for kernels of four axes. Here a kernel `(height, width, inputs, outputs)` is treated as
    a matrix of `height * width * inputs` rows. Kernels with a single input or output channel keep
    Adam.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        if len(variable.shape) == 4:
            return min(variable.shape[2:]) == 1
        own = getattr(super(), "_should_use_adamw", None)
        return bool(own(variable)) if own is not None else len(variable.shape) < 2

    def zeropower_via_newtonschulz5(self, x: Tensor, steps: int) -> Tensor:
        """Return the orthogonalised update, in the shape of the update."""
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        return ops.reshape(super().zeropower_via_newtonschulz5(matrix, steps), x.shape)

    def lr_adjust(self, x: Tensor) -> Tensor:
        """Return the update scaled by its size as a matrix, as in Liu et al. 2025."""
        matrix = ops.reshape(x, (-1, x.shape[-1]))
        return ops.reshape(super().lr_adjust(matrix), x.shape)
