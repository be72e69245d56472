"""Numeric precision of a model: a Keras dtype policy, or the best one for the machine."""

import functools
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from fmae_zoo.errors import ArgumentError

Precision: TypeAlias = Literal["float32", "mixed_bfloat16", "mixed_float16", "auto"]
"""Keras dtype policies, and `auto`: bfloat16 if the machine computes faster in it, else float32."""

PRECISIONS: tuple[str, ...] = get_args(Precision)


def resolve(precision: str) -> str:
    """Return the dtype policy of a precision; `auto` depends on the device and the backend.

    `auto` is `mixed_bfloat16` on GPUs that compute in bfloat16, on TPUs, and on CPUs that compute
    in it faster than in float32 (AMX, and AVX-512 of AMD) if the backend makes use of this
    (TensorFlow and PyTorch do, JAX does not). Else it is `float32`.

    Raises:
        ArgumentError: There is no such precision.
    """
    if precision not in PRECISIONS:
        raise ArgumentError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if _has_bfloat16() else "float32"


@functools.cache
def _has_bfloat16() -> bool:
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        if jax.default_backend() != "gpu":
            return jax.default_backend() == "tpu"
        # Of AMD's GPUs it is a name, "gfx90a" for example: float32 is right on all of them.
        capability = str(getattr(jax.devices()[0], "compute_capability", 0))
        return capability.replace(".", "").isdigit() and float(capability) >= 8.0
    if backend == "torch":
        import torch

        if torch.cuda.is_available():
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    else:
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU")
        if devices:
            details = tf.config.experimental.get_device_details(
                tf.config.list_physical_devices("GPU")[0]
            )
            return details.get("compute_capability", (0, 0)) >= (8, 0)
    features = cpu_features()
    # Without AMX, bfloat16 on Intel is slower than float32: its AVX-512 has half the rate.
    by_amd = "avx512_bf16" in features and "AuthenticAMD" in _cpuinfo("vendor_id")
    return by_amd or "amx_bf16" in features


def cpu_features() -> set[str]:
    """Return the CPU's feature flags as Linux names them; empty on other systems."""
    return _cpuinfo("flags")


def _cpuinfo(field: str) -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    lines = (line.partition(":") for line in text.splitlines())
    return {word for name, _, words in lines if name.strip() == field for word in words.split()}
