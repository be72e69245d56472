"""Running Keras models: the same layers and results, by calls that suit each backend.

PyTorch: Keras copies each activation twice around every channels-last convolution and
pooling, and computes BatchNorm from several unfused operations. Here the same layers hand
torch a permuted view, which is torch's own channels-last layout, and call its fused BatchNorm.

JAX: XLA's default library for convolutions on CPUs takes twice as long as the one before it,
so functions are compiled without it. While Keras runs a model on JAX, the model's variables
hold nothing; an error or an interrupt would leave them so, and here gives them back.

TensorFlow: the input pipeline that Keras makes of arrays runs beside the training step in
threads that the step then lacks, which takes up to twice as long. Batches cut by NumPy do not.

`plain_keras` leaves all that out: the tests compare with it.
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree

_plain: ContextVar[bool] = ContextVar("plain", default=False)
PLAIN_VARIABLE = "FMAE_PLAIN_KERAS"
"""Environment variable: 1 leaves every faster path out."""


@contextmanager
def plain_keras() -> Iterator[None]:
    """Leave every faster path out of what is built and compiled inside the block."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def is_plain() -> bool:
    """Whether Keras alone runs the models."""
    return _plain.get() or os.environ.get(PLAIN_VARIABLE) == "1"


@contextmanager
def accelerated(model: Any) -> Iterator[None]:
    """Run a model inside the block: fast, and on JAX so that errors do it no harm."""
    backend = keras.backend.backend()
    if backend == "jax":
        with _restored(model), _compiled_well():
            yield
    elif backend == "torch" and not is_plain():
        with _fast_calls(model):
            yield
    else:
        yield


def fit(model: Any, x: Any, y: Any = None, **options: Any) -> Any:
    """Return what `keras.Model.fit` does, accelerated."""
    cut = ("sample_weight", "validation_split", "class_weight", "steps_per_epoch")
    arrays = all(isinstance(each, np.ndarray) for each in tree.flatten((x, y)) if each is not None)
    if (
        keras.backend.backend() == "tensorflow"
        and arrays
        and not is_plain()
        and not any(options.get(name) for name in cut)
    ):
        batch_size, shuffle = options.pop("batch_size", None), options.pop("shuffle", True)
        x, y = _Batches(x, y, batch_size or 32, bool(shuffle)), None
        options["shuffle"] = False
    with accelerated(model):
        return keras.Model.fit(model, x, y, **options)


class _Batches(keras.utils.PyDataset):
    """Arrays in batches, in another order each epoch where they are shuffled."""

    def __init__(self, x: Any, y: Any, batch_size: int, shuffle: bool) -> None:
        super().__init__()
        self.arrays = (x,) if y is None else (x, y)
        self.count = len(tree.flatten(x)[0])
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.order: Any = None
        self.on_epoch_begin()

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __getitem__(self, index: int) -> Any:
        part: Any = slice(index * self.batch_size, (index + 1) * self.batch_size)
        if self.order is not None:
            part = self.order[part]
        return tree.map_structure(lambda array: array[part], self.arrays)

    def on_epoch_begin(self) -> None:
        """Draw the order of the epoch."""
        if self.shuffle:
            self.order = np.random.permutation(self.count)


@contextmanager
def _fast_calls(model: Any) -> Iterator[None]:
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


@functools.cache
def compiler_options() -> dict[str, Any]:
    """Return the options by which JAX compiles for this device, empty where it knows none."""
    import jax

    if jax.default_backend() != "cpu":
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    try:
        jax.jit(lambda value: value, compiler_options=options)(0.0)
    except Exception:  # An XLA without the option; its class differs between versions.
        return {}
    return options


@contextmanager
def _compiled_well() -> Iterator[None]:
    """Compile with `compiler_options` the functions that Keras makes inside the block."""
    import jax
    from keras.src.backend.jax import trainer

    if is_plain() or getattr(trainer, "jit", None) is not jax.jit:
        yield
        return
    jit: Any = jax.jit
    trainer.jit = functools.partial(jit, compiler_options=compiler_options())
    try:
        yield
    finally:
        trainer.jit = jit


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
        return _conv(layer) if _has_fast_conv(layer) else None
    if type(layer) is layers.BatchNormalization:
        plain = layer.axis == -1 and layer.scale and layer.center
        return _batch_norm(layer) if plain and not layer.renorm else None
    if type(layer) in (layers.MaxPooling2D, layers.AveragePooling2D):
        plain = layer.padding == "valid" and layer.strides == layer.pool_size
        return _pool(layer) if plain else None
    if type(layer) is layers.UpSampling2D:
        return _upsample(layer) if layer.interpolation == "nearest" else None
    if type(layer) is layers.ReLU:
        return _relu_in_place if _alone_reads_batch_norm(layer) else None
    return None


def _alone_reads_batch_norm(relu: Any) -> bool:
    """Whether nothing else needs what the ReLU reads: BatchNorm's gradient does not."""
    plain = relu.max_value is None and not relu.negative_slope and not relu.threshold
    if not plain or len(relu._inbound_nodes) != 1:
        return False
    norm = relu.input._keras_history.operation
    alone = type(norm) is layers.BatchNormalization and len(norm._outbound_nodes) == 1
    return alone and len(norm._inbound_nodes) == 1


def _relu_in_place(inputs: Any) -> Any:
    from torch.nn.functional import relu_

    return relu_(inputs)


def _has_fast_conv(layer: Any) -> bool:
    odd_same = layer.padding == "same" and all(size % 2 for size in layer.kernel_size)
    unit = set(layer.strides) == set(layer.dilation_rate) == {1}
    return type(layer) is layers.Conv2D and odd_same and unit and layer.groups == 1


def convolved(layer: Any, inputs: Any, kernel: Any, bias: Any) -> Any:
    """Return what the layer's convolution gives with another kernel, plus the bias."""
    if keras.backend.backend() == "torch" and _has_fast_conv(layer):
        return _fast_conv(layer, inputs, kernel, bias)
    return layer.convolution_op(inputs, kernel) + bias


def _fast_conv(layer: Any, inputs: Any, kernel: Any, bias: Any) -> Any:
    import torch
    from torch.nn.functional import conv2d

    kernel = kernel.permute(3, 2, 0, 1)
    if kernel.dtype == torch.float16:
        # Where the CPU has no fast convolution in float16, torch's slow one asks for this.
        kernel = kernel.contiguous()
    padding = tuple(size // 2 for size in layer.kernel_size)
    outputs = conv2d(inputs.permute(0, 3, 1, 2), kernel, bias, padding=padding)
    return outputs.permute(0, 2, 3, 1)


def _conv(layer: Any) -> Callable[..., Any]:
    def call(inputs: Any) -> Any:
        kernel = getattr(layer.kernel, "value", layer.kernel)
        bias = layer.bias.value if layer.use_bias else None
        return layer.activation(_fast_conv(layer, inputs, kernel, bias))

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
