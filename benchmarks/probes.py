"""Peak speed that a framework reaches on this machine, and name and memory of the GPU."""

import time
from collections.abc import Callable
from typing import Any

from benchmarks.case import Case

SIDE = 2048
BATCH, MAP, CHANNELS, KERNEL = 128, 14, 64, 3
REPEATS = 5
MOST_SECONDS = 5.0
"""Time after which a probe is not repeated, because some precisions are slow emulations."""

MATMUL_FLOPS = 2 * SIDE**3
CONVOLUTION_FLOPS = 2 * BATCH * MAP**2 * KERNEL**2 * CHANNELS**2


def probe(case: Case) -> dict[str, float]:
    """Return the GFLOP/s of a matrix product and of a 3x3 convolution, best of up to five runs."""
    make = {"torch": _torch, "tensorflow": _tensorflow, "jax": _jax}[case.backend]
    dtype = "bfloat16" if "bfloat16" in case.precision else "float32"
    matmul, convolution = make(dtype, case.device)
    return {
        "matmul_gflops": MATMUL_FLOPS / _best(matmul) / 1e9,
        "convolution_gflops": CONVOLUTION_FLOPS / _best(convolution) / 1e9,
    }


def _best(run: Callable[[], Any]) -> float:
    run()
    began, seconds = time.perf_counter(), []
    while len(seconds) < REPEATS and time.perf_counter() - began < MOST_SECONDS:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _torch(dtype: str, device: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import torch

    options: Any = {
        "dtype": getattr(torch, dtype),
        "device": "cuda" if device == "gpu" else "cpu",
    }
    a, b = torch.randn(SIDE, SIDE, **options), torch.randn(SIDE, SIDE, **options)
    layout = torch.channels_last
    images = torch.randn(BATCH, CHANNELS, MAP, MAP, **options).to(memory_format=layout)
    kernel = torch.randn(CHANNELS, CHANNELS, KERNEL, KERNEL, **options).to(memory_format=layout)

    def finished(run: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> None:
            with torch.inference_mode():
                run()
            if device == "gpu":
                torch.cuda.synchronize()

        return call

    return (
        finished(lambda: a @ b),
        finished(lambda: torch.nn.functional.conv2d(images, kernel, padding="same")),
    )


def _tensorflow(dtype: str, device: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import tensorflow as tf

    def random(*shape: int) -> Any:
        return tf.cast(tf.random.normal(shape), dtype)

    a, b = random(SIDE, SIDE), random(SIDE, SIDE)
    images, kernel = random(BATCH, MAP, MAP, CHANNELS), random(KERNEL, KERNEL, CHANNELS, CHANNELS)

    def finished(run: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> None:
            run()
            tf.test.experimental.sync_devices()

        return call

    return (
        finished(lambda: tf.matmul(a, b)),
        finished(lambda: tf.nn.conv2d(images, kernel, 1, "SAME")),
    )


def _jax(dtype: str, device: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    import jax

    key = jax.random.key(0)

    def random(*shape: int) -> Any:
        return jax.random.normal(key, shape, dtype)

    def convolve(images: Any, kernel: Any) -> Any:
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=layout
        )

    a, b = random(SIDE, SIDE), random(SIDE, SIDE)
    images, kernel = random(BATCH, MAP, MAP, CHANNELS), random(KERNEL, KERNEL, CHANNELS, CHANNELS)
    product, convolution = jax.jit(jax.numpy.matmul), jax.jit(convolve)
    return (
        lambda: product(a, b).block_until_ready(),
        lambda: convolution(images, kernel).block_until_ready(),
    )


def device_name(case: Case) -> str:
    """Return the name of the GPU that this process uses; empty on a CPU.

    Raises:
        RuntimeError: The case needs a GPU and the framework finds none.
    """
    if case.device == "cpu":
        return ""
    if case.backend == "torch":
        import torch

        names = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    elif case.backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        details = [tf.config.experimental.get_device_details(each) for each in found]
        names = [each.get("device_name", "GPU") for each in details]
    else:
        import jax

        names = [each.device_kind for each in jax.devices() if each.platform == "gpu"]
    if not names:
        raise RuntimeError(
            f"{case.backend} finds no GPU on this machine: measure with --device cpu"
        )
    return names[0]


def peak_device_mib(case: Case) -> float | None:
    """Return the peak GPU memory of this process in MiB; None on a CPU."""
    if case.device == "cpu":
        return None
    if case.backend == "torch":
        import torch

        peak = torch.cuda.max_memory_allocated()
    elif case.backend == "tensorflow":
        import tensorflow as tf

        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    else:
        import jax

        peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0)
    return peak / 2**20
