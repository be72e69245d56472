"""Outputs of a model for many images: BatchNorm folded into the layers, in compiled calls."""

import functools
import weakref
from collections.abc import Iterable
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops, tree

from fmae_zoo import layers
from fmae_zoo._backend import is_on_cpu
from fmae_zoo.arguments import check_integer
from fmae_zoo.internals import xla_options
from fmae_zoo.memory import keep_freed_memory
from fmae_zoo.training.loop import restored

CHUNK = 128
"""Images in one call of a convolutional network on a CPU, whose cache holds no more maps."""

Weights: TypeAlias = list[np.ndarray]


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
    activate = keras.activations.get(activation)
    twin = None if layers.is_plain() else _twin_of(model)
    if twin is None:
        with restored(model):
            outputs = model.predict(inputs, batch_size=batch_size, verbose=0)
        return ops.convert_to_numpy(activate(ops.convert_to_tensor(outputs, "float32")))
    weights = folded_weights(model, twin)
    if not all(np.isfinite(each).all() for each in weights):
        # Operations that a framework fuses with a ReLU make zeros of NaN; single ones show it.
        starts = range(0, len(inputs), batch_size)
        parts = [model(inputs[start : start + batch_size], training=False) for start in starts]
        return np.concatenate(
            [ops.convert_to_numpy(activate(ops.cast(part, "float32"))) for part in parts]
        )
    in_parts = is_on_cpu() and any(len(each.output.shape) == 4 for each in twin.layers[1:])
    size = min(batch_size, CHUNK) if in_parts else batch_size
    call, types = _call_of(twin, activation), [variable.dtype for variable in twin.weights]
    tensors = [ops.convert_to_tensor(weight, kind) for weight, kind in zip(weights, types)]
    chunks = (_padded(inputs[start : start + size], size) for start in range(0, len(inputs), size))
    outputs = _fetched(call(tensors, ops.convert_to_tensor(chunk)) for chunk in chunks)
    return np.concatenate(outputs)[: len(inputs)]


def _padded(chunk: np.ndarray, size: int) -> np.ndarray:
    """Return the last, shorter chunk with zeros up to a power of two: JAX compiles each size."""
    count = len(chunk)
    if keras.backend.backend() != "jax" or count == size:
        return chunk
    padding = min(size, 1 << (count - 1).bit_length()) - count
    return np.concatenate([chunk, np.zeros((padding, *chunk.shape[1:]), chunk.dtype)])


class _Folded(keras.layers.Layer):
    """In the place of a layer that is a part of the one before: hands its input on."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Return the inputs."""
        return inputs


def folded(model: Any) -> Any:
    """Return a copy of a Functional model in which each BatchNorm is folded into a layer.

    `gamma (W x - mean) / sqrt(variance + epsilon) + beta` is another kernel and a bias: each
    kernel is scaled once, and not each output. The ReLU after the BatchNorm becomes the layer's
    activation. The copy has the layers' names, and no weights yet: `folded_weights` gives them.
    """
    pairs = _foldable(model)
    norms = {norm.name for norm, _ in pairs.values()}
    relus = {relu.name for _, relu in pairs.values() if relu is not None}

    def copied(layer: Any) -> Any:
        if layer.name in norms | relus:
            return _Folded(name=layer.name, dtype=layer.compute_dtype)
        config = layer.get_config() | {"dtype": layer.compute_dtype}
        if layer.name in pairs:
            config["use_bias"] = True
            config["activation"] = "relu" if pairs[layer.name][1] is not None else "linear"
        return type(layer).from_config(config)

    with layers.without_random_weights():
        return keras.models.clone_model(model, clone_function=copied)


def folded_weights(model: Any, twin: Any) -> Weights:
    """Return a model's weights as they are now, for its `folded` copy, in the order of that."""
    pairs, found = _foldable(model), []
    for layer in twin.layers:
        if not layer.weights:
            continue
        own = [ops.convert_to_numpy(each.value) for each in model.get_layer(layer.name).weights]
        if layer.name in pairs:
            own = _merged(own, model.get_layer(layer.name), pairs[layer.name][0])
        found += own
    return found


def _merged(own: Weights, layer: Any, norm: Any) -> Weights:
    values = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    gamma, beta, mean, variance = (ops.convert_to_numpy(each.value) for each in values)
    scale = gamma / np.sqrt(variance + np.float32(norm.epsilon))
    bias = own[1] if layer.use_bias else np.float32(0.0)
    return [own[0] * scale, (bias - mean) * scale + beta]


def _foldable(model: Any) -> dict[str, tuple[Any, Any]]:
    """Return the BatchNorm that alone reads a linear layer, and the ReLU after it or None.

    By the name of the linear layer.
    """
    # A subclass may compute something else.
    kinds = (layers.Conv2D, layers.Dense, layers.UpsampledConv2D)
    readers: dict[int, list[Any]] = {id(output): [None] for output in tree.flatten(model.outputs)}
    for layer in model.layers:
        for tensor in tree.flatten(layer.input):
            readers.setdefault(id(tensor), []).append(layer)

    def only_reader(layer: Any) -> Any:
        found = readers.get(id(layer.output), [])
        return found[0] if len(found) == 1 else None

    pairs = {}
    for layer in model.layers:
        linear = type(layer) in kinds and layer.activation is keras.activations.linear
        last = getattr(layer, "data_format", "channels_last") == "channels_last"
        norm = only_reader(layer) if linear and last else None
        whole = type(norm) is layers.BatchNormalization and norm.scale and norm.center
        if norm is not None and whole and norm.axis in (-1, len(layer.output.shape) - 1):
            relu = only_reader(norm)
            pairs[layer.name] = (norm, relu if _is_plain_relu(relu) else None)
    return pairs


def _is_plain_relu(layer: Any) -> bool:
    """Whether a layer returns the positive part of its inputs, and no more."""
    plain = type(layer) is keras.layers.ReLU and layer.max_value is None
    return plain and not layer.negative_slope and not layer.threshold


_twins: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""The folded copy of a model, and the layers and activations that it was made from."""


def _twin_of(model: Any) -> Any:
    """Return the folded copy of a model, or None where it is no graph of layers used once."""
    if not _is_told_by_config(model):
        return None
    settings = [
        (layer, getattr(layer, "activation", None)) for layer in getattr(model, "layers", [])
    ]
    if model not in _twins or _twins[model][0] != settings:
        graph = isinstance(model, keras.Model) and type(model).call in _GRAPH_CALLS
        try:
            twin = folded(model) if graph else None
        except (AttributeError, ValueError):
            twin = None
        _twins[model] = (settings, twin)
    return _twins[model][1]


def _is_told_by_config(layer: Any) -> bool:
    """Whether a copy by the configuration, with all parts of a model, computes the same."""
    changed = layer.quantization_mode is not None or getattr(layer, "lora_enabled", False)
    own = "call" not in vars(layer) and not changed
    return own and all(map(_is_told_by_config, getattr(layer, "layers", [])))


_image = keras.Input((1,))
_GRAPH_CALLS = (type(keras.Model(_image, _image)).call, keras.Sequential.call)
"""What a Functional and a Sequential model do when called, if no subclass has changed it."""


def _call_of(twin: Any, activation: str) -> Any:
    """Return the compiled function of weights and images; the folded copy keeps it."""
    kept = vars(twin).setdefault("_compiled_calls", {})
    if activation not in kept:
        activate = keras.activations.get(activation)

        def outputs_of(weights: Any, inputs: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(twin.weights, weights))):
                return activate(ops.cast(twin(inputs, training=False), "float32"))

        kept[activation] = _compiled(outputs_of)
    return kept[activation]


def _compiled(function: Any) -> Any:
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function, compiler_options=xla_options())
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # A partial has no code that models share: TensorFlow warns where one is traced often.
        return tf.function(functools.partial(function), reduce_retracing=True, autograph=False)
    import torch

    keep_freed_memory()
    return torch.inference_mode()(function)


def _fetched(outputs: Iterable[Any]) -> list[np.ndarray]:
    """Return tensors as arrays; each is waited for when the next has been begun."""
    arrays: list[np.ndarray] = []
    late = None
    for output in outputs:
        if late is not None:
            arrays.append(ops.convert_to_numpy(late))
        late = output
    return [*arrays, ops.convert_to_numpy(late)]
