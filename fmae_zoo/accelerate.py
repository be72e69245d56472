"""Running Keras models: a faster path for plain layers on PyTorch, a safe one on JAX.

Keras' PyTorch backend copies each activation twice around every channels-last
convolution and pooling, and computes BatchNorm from several unfused operations. Here
the same layers hand torch a permuted view, which is torch's own channels-last layout,
and call its fused BatchNorm. The layers, their variables and what they compute are the
same; only the calls are others, and only inside `accelerated`.

While Keras' JAX backend runs a model, the model's variables hold nothing. An error or an
interrupt would leave them so; inside `accelerated` they get their values back.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from fmae_zoo.arguments import check_integer


@contextmanager
def accelerated(model: Any) -> Iterator[None]:
    """Run a model inside the block: fast on PyTorch, and on JAX so that errors do it no harm.

    TensorFlow needs neither.
    """
    if keras.backend.backend() == "jax":
        with _restored(model):
            yield
        return
    if keras.backend.backend() != "torch":
        yield
        return
    changed = []
    for layer in model._flatten_layers():
        call = _fast_call(layer)
        if call is not None and "call" not in layer.__dict__:
            layer.__dict__["call"] = call
            changed.append(layer)
    try:
        yield
    finally:
        for layer in changed:
            layer.__dict__.pop("call", None)


def predicted(model: Any, inputs: np.ndarray, batch_size: int, verbose: int = 0) -> np.ndarray:
    """Return the model's float32 outputs for inputs, of which there may be none.

    Raises:
        ArgumentError: the batch size is no integer of 1 or more.
    """
    check_integer("batch_size", batch_size, 1)
    if not len(inputs):
        return np.zeros((0, *model.output_shape[1:]), dtype=np.float32)
    with accelerated(model):
        outputs = model.predict(inputs, batch_size=batch_size, verbose=verbose)
    return np.asarray(outputs, dtype=np.float32)


@contextmanager
def _restored(model: Any) -> Iterator[None]:
    """Give variables that an error left without a value the one that they came with."""
    before = [(variable, ops.copy(variable.value)) for variable in model.variables]
    try:
        yield
    except BaseException:
        model.jax_state_sync()
        for variable, value in before:
            held = variable._value
            if held is None or held.is_deleted():
                variable.assign(value)
        model._jax_state_synced, model._jax_state = True, None
        raise


def _fast_call(layer: Any) -> Callable[..., Any] | None:
    """Return the fast call of a layer, or None where only Keras' own is right."""
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return None
    if type(layer) is layers.Conv2D:
        odd_same = layer.padding == "same" and all(size % 2 for size in layer.kernel_size)
        unit = set(layer.strides) == set(layer.dilation_rate) == {1}
        return _conv(layer) if odd_same and unit and layer.groups == 1 else None
    if type(layer) is layers.BatchNormalization:
        plain = layer.axis == -1 and layer.scale and layer.center
        return _batch_norm(layer) if plain and not layer.renorm else None
    if type(layer) in (layers.MaxPooling2D, layers.AveragePooling2D):
        plain = layer.padding == "valid" and layer.strides == layer.pool_size
        return _pool(layer) if plain else None
    if type(layer) is layers.UpSampling2D:
        return _upsample(layer) if layer.interpolation == "nearest" else None
    return None


def _conv(layer: Any) -> Callable[..., Any]:
    import torch
    from torch.nn.functional import conv2d

    padding = tuple(size // 2 for size in layer.kernel_size)

    def call(inputs: Any) -> Any:
        kernel = layer.kernel
        kernel = getattr(kernel, "value", kernel).permute(3, 2, 0, 1)
        if kernel.dtype == torch.float16:
            # Where the CPU has no fast convolution in float16, torch's slow one asks for this.
            kernel = kernel.contiguous()
        bias = layer.bias.value if layer.use_bias else None
        outputs = conv2d(inputs.permute(0, 3, 1, 2), kernel, bias, padding=padding)
        return layer.activation(outputs.permute(0, 2, 3, 1))

    return call


def _batch_norm(layer: Any) -> Callable[..., Any]:
    import torch
    from torch.nn.functional import batch_norm

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        training = bool(training) and layer.trainable
        if training and inputs.numel() == inputs.shape[-1]:
            # torch refuses a batch of one value a channel; Keras gives it a variance of zero.
            return type(layer).call(layer, inputs, training=training, mask=mask)
        mean, variance = layer.moving_mean.value, layer.moving_variance.value
        moving = variance.detach().clone() if training else variance
        image = inputs.ndim == 4
        outputs = batch_norm(
            inputs.permute(0, 3, 1, 2) if image else inputs,
            mean,
            moving,
            layer.gamma.value,
            layer.beta.value,
            training,
            1.0 - layer.momentum,
            layer.epsilon,
        )
        if training:
            # torch moves towards the unbiased variance, Keras towards the biased one.
            count = inputs.numel() // inputs.shape[-1]
            biased = (count - 1) / count
            with torch.no_grad():
                variance.mul_(layer.momentum * (1.0 - biased)).add_(moving, alpha=biased)
        return outputs.permute(0, 2, 3, 1) if image else outputs

    return call


def _pool(layer: Any) -> Callable[..., Any]:
    from torch.nn.functional import avg_pool2d, max_pool2d

    pool = max_pool2d if isinstance(layer, layers.MaxPooling2D) else avg_pool2d

    def call(inputs: Any) -> Any:
        outputs = pool(inputs.permute(0, 3, 1, 2), layer.pool_size)
        return outputs.permute(0, 2, 3, 1)

    return call


def _upsample(layer: Any) -> Callable[..., Any]:
    from torch.nn.functional import interpolate

    def call(inputs: Any) -> Any:
        scale = tuple(float(factor) for factor in layer.size)
        outputs = interpolate(inputs.permute(0, 3, 1, 2), scale_factor=scale, mode="nearest")
        return outputs.permute(0, 2, 3, 1)

    return call
