"""Outputs of a model for many images: BatchNorm folded, one compiled call for each batch."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers, ops, tree

from fmae_zoo.accelerate import accelerated, completed, convolved, is_plain
from fmae_zoo.accelerate.calls import (
    fast_call_of,
    is_convolutional,
    is_on_cpu,
    is_plain_graph,
    is_plain_relu,
)
from fmae_zoo.arguments import check_integer
from fmae_zoo.networks.upsampling import UpsampledConv2D, upsampled_conv

CHUNK = 128
"""Images in one call of a convolutional network on a CPU, whose cache holds no more maps."""

FOLDS = (layers.Conv2D, layers.Dense, UpsampledConv2D)
"""The layers that a BatchNorm is folded into."""

Calls: TypeAlias = Callable[[Iterable[np.ndarray]], list[np.ndarray]]
"""From chunks of inputs to the outputs of each."""


def predicted(
    model: Any, inputs: np.ndarray, batch_size: int, activation: str = "linear"
) -> np.ndarray:
    """Return the float32 outputs of a model, activated, for inputs or for none.

    Raises:
        ArgumentError: the batch size is no integer of 1 or more.
    """
    check_integer("batch_size", batch_size, 1)
    if not len(inputs):
        return np.zeros((0, *model.output_shape[1:]), dtype=np.float32)
    if is_plain() or not _shows_nan(model):
        with accelerated(model):
            outputs = model.predict(inputs, batch_size=batch_size, verbose=0)
        outputs = keras.activations.get(activation)(ops.convert_to_tensor(outputs, "float32"))
        return ops.convert_to_numpy(outputs)
    in_parts = is_on_cpu() and is_convolutional(model)
    size = min(batch_size, CHUNK) if in_parts else batch_size
    chunks = (inputs[start : start + size] for start in range(0, len(inputs), size))
    return np.concatenate(_calls_of(model, activation)(chunks))


def _shows_nan(model: Any) -> bool:
    """Whether NaN among the weights, if there is any, is seen in the outputs.

    oneDNN, with which PyTorch and TensorFlow take a convolution and its ReLU in one, makes zeros
    of it.
    """
    if keras.backend.backend() == "jax" or not is_on_cpu():
        return True
    with np.errstate(all="ignore"):
        # A sum is finite where all that it is of is.
        return all(np.isfinite(ops.convert_to_numpy(each).sum()) for each in model.variables)


def _fetched(outputs: Iterable[Any]) -> list[np.ndarray]:
    """Return tensors as arrays; each is waited for when the next has been begun."""
    arrays: list[np.ndarray] = []
    late = None
    for output in outputs:
        if late is not None:
            arrays.append(ops.convert_to_numpy(late))
        late = output
    return [*arrays, ops.convert_to_numpy(late)]


def folded(model: Any, cached: bool = False) -> Callable[[Any], Any]:
    """Return a function to a model's outputs, with each BatchNorm folded into the layer before.

    `gamma (W x - mean) / sqrt(variance + epsilon) + beta` is another kernel and a bias: each
    kernel is scaled once, and not each output. The folding is a part of what is computed, so it
    always is that of the weights as they are; `cached` makes it that of the first call. A ReLU
    after the BatchNorm goes into the layer too.
    """
    # A Sequential model that knows its input's shape holds a Functional one.
    model = getattr(model, "_functional", None) or model
    if not is_plain_graph(model):
        return functools.partial(model, training=False)
    merged = functools.cache(_merged) if cached else _merged
    replaced: dict[int, Callable[..., Any]] = {}
    for kernel_layer, norm, relu in _foldable(model):
        whole = functools.partial(_with_norm, merged, kernel_layer, norm, relu is not None)
        replaced[id(kernel_layer)] = whole
        replaced |= {id(each): _handed_on for each in (norm, relu) if each is not None}

    def call_of(operation: Any) -> Any:
        # A fast call does all that a layer does; around its own, Keras does as much again.
        return replaced.get(id(operation)) or fast_call_of(operation) or operation

    # Functional.call without its handling of masks, and with other calls for some layers.
    return functools.partial(model._run_through_graph, operation_fn=call_of)


def _handed_on(outputs: Any, **_: Any) -> Any:
    return outputs


def _foldable(model: Any) -> list[tuple[Any, Any, Any]]:
    """Return the linear layers, each with the BatchNorm that alone reads it.

    And with the ReLU that alone reads that, or None.
    """
    readers: dict[int, list[Any]] = {id(output): [None] for output in tree.flatten(model.outputs)}
    for operation in model.operations:
        for node in operation._inbound_nodes:
            for tensor in node.arguments.keras_tensors:
                readers.setdefault(id(tensor), []).append(operation)
    found = []
    for norm in model.layers:
        if type(norm) is not layers.BatchNormalization or len(norm._inbound_nodes) != 1:
            continue
        before = norm.input._keras_history.operation
        linear = type(before) in FOLDS and before.activation is keras.activations.linear
        linear = linear and before.quantization_mode is None and len(before._inbound_nodes) == 1
        last = norm.axis in (-1, len(norm.input.shape) - 1)
        last = last and getattr(before, "data_format", "channels_last") == "channels_last"
        if linear and last and len(readers[id(norm.input)]) == 1:
            readers_of_norm = readers.get(id(norm.output), [])
            after: Any = readers_of_norm[0] if len(readers_of_norm) == 1 else None
            folds = is_plain_relu(after) and len(after._inbound_nodes) == 1
            found.append((before, norm, after if folds else None))
    return found


def _merged(layer: Any, norm: Any) -> tuple[Any, Any]:
    """Return the kernel and the bias of a linear layer and the BatchNorm after it."""
    dtype = layer.compute_dtype
    scale = ops.rsqrt(norm.moving_variance + norm.epsilon)
    if norm.scale:
        scale = scale * norm.gamma
    offset = -norm.moving_mean if layer.bias is None else layer.bias - norm.moving_mean
    bias = offset * scale if not norm.center else offset * scale + norm.beta
    return ops.cast(layer.kernel * scale, dtype), ops.cast(bias, dtype)


def _with_norm(
    merged: Callable[..., Any], layer: Any, norm: Any, rectified: bool, inputs: Any, **_: Any
) -> Any:
    kernel, bias = merged(layer, norm)
    inputs = ops.cast(inputs, layer.compute_dtype)
    if isinstance(layer, layers.Dense):
        return completed(ops.matmul(inputs, kernel), bias, rectified)
    if isinstance(layer, UpsampledConv2D):
        return upsampled_conv(inputs, kernel, bias, rectified)
    return convolved(layer, inputs, kernel, bias, rectified)


def _calls_of(model: Any, activation: str) -> Calls:
    """Return the compiled calls of a model; the model keeps them."""
    kept = model.__dict__.setdefault("_fmae_zoo_calls", {})
    parts = tuple(map(id, (*model.variables, *model._flatten_layers())))
    if kept.get("of") != parts:
        kept.clear()
        kept["of"] = parts
    if activation not in kept:
        compiled = {"tensorflow": _tensorflow_calls, "torch": _torch_calls, "jax": _jax_calls}
        kept[activation] = compiled[keras.backend.backend()](model, activation)
    return kept[activation]


def _activated(outputs_of: Callable[[Any], Any], activation: str) -> Callable[[Any], Any]:
    activate = keras.activations.get(activation)
    return lambda inputs: activate(ops.cast(outputs_of(inputs), "float32"))


def _tensorflow_calls(model: Any, activation: str) -> Calls:
    import tensorflow as tf

    signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    # A partial has no code that models share: TensorFlow warns where one is traced many times.
    outputs_of = functools.partial(_activated(folded(model), activation))
    compiled = tf.function(outputs_of, input_signature=[signature])
    return lambda chunks: _fetched(map(compiled, chunks))


def _torch_calls(model: Any, activation: str) -> Calls:
    import torch

    def calls(chunks: Iterable[np.ndarray]) -> list[np.ndarray]:
        outputs_of = _activated(folded(model, cached=True), activation)
        with torch.inference_mode(), accelerated(model):
            return _fetched(outputs_of(ops.convert_to_tensor(chunk)) for chunk in chunks)

    return calls


def _jax_calls(model: Any, activation: str) -> Calls:
    import jax

    from fmae_zoo.accelerate.on_jax import compiler_options, fast_calls

    variables, outputs_of = model.variables, _activated(folded(model), activation)

    @functools.partial(jax.jit, compiler_options=compiler_options())
    def compiled(values: list[Any], inputs: Any) -> Any:
        scope = keras.StatelessScope(state_mapping=list(zip(variables, values)))
        with scope, fast_calls(model):
            return outputs_of(inputs)

    def call(values: list[Any], inputs: np.ndarray) -> Any:
        count = len(inputs)
        # Padded to a power of two, so that few sizes are compiled.
        padding = (1 << (count - 1).bit_length()) - count if count < CHUNK else 0
        if padding:
            inputs = np.concatenate([inputs, np.zeros((padding, *inputs.shape[1:]), inputs.dtype)])
        outputs = compiled(values, inputs)
        return outputs[:count] if padding else outputs

    def calls(chunks: Iterable[np.ndarray]) -> list[np.ndarray]:
        values = [variable.value for variable in variables]
        return _fetched(call(values, chunk) for chunk in chunks)

    return calls
