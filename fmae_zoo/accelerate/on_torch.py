"""PyTorch: a Functional model's layers by torch's own operations, one after another."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import torch
from keras import layers, tree
from torch.nn import functional as F

from fmae_zoo.accelerate.calls import (
    STEPS_AT_ONCE,
    has_fast_conv,
    has_plain_batch_norm,
    is_on_cpu,
    is_plain_graph,
    is_plain_relu,
    is_resident,
    kept_steps,
    replaced,
)
from fmae_zoo.accelerate.memory import keep_freed_memory
from fmae_zoo.accelerate.torch_adam import has_fused_adam, update_of
from fmae_zoo.accelerate.torch_graph import Graph, can_be_traced

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
"""The compute dtypes that the fast calls know."""


class Steps:
    """Steps of a model; inside `fast_calls`. Where nobody sees each, from a graph if it has one."""

    def __init__(self, model: Any, arrays: tuple[Any, ...], training: bool) -> None:
        moved = not is_on_cpu() and is_resident(arrays)
        self._arrays = tree.map_structure(_as_tensor, arrays) if moved else arrays
        self._flat = tree.flatten(self._arrays)
        self._structure = tree.map_structure(lambda array: 0, arrays)
        self._model, self._training = model, training
        self._step = model.train_step if training else torch.no_grad()(model.test_step)
        traced = training and is_on_cpu() and can_be_traced(model)
        self.at_once = STEPS_AT_ONCE if traced else 1
        self._graphs = kept_steps(model).setdefault("graphs", {})

    def start(self) -> None:
        """Put the modules into the mode of the steps."""
        self._model.train(self._training)
        if self._training:
            _drop_denormals(self._model.optimizer)
        if not all(graph.fits for graph in self._graphs.values()):
            self._graphs.clear()

    def __call__(self, batches: list[Any]) -> dict[str, Any]:
        """Take a step for each batch; return the last one's logs."""
        graph = None
        for rows in batches:
            tensors = [_as_tensor(array[rows]) for array in self._flat]
            if len(batches) == 1:
                logs = self._step(tree.pack_sequence_as(self._structure, tensors))
            else:
                graph = graph or self._graph(tensors)
                logs = graph(tensors)
        return dict(logs)

    def _graph(self, tensors: list[Any]) -> Graph:
        """Return the graph for batches of this structure and these shapes."""
        kinds = [(each.dtype, each.shape, each.stride()) for each in tensors]
        key = repr(tree.pack_sequence_as(self._structure, kinds))
        if key not in self._graphs:
            self._graphs[key] = Graph(self._model, self._structure)
        return self._graphs[key]

    def finish(self) -> None:
        """Put the modules into the mode of inference, as Keras leaves them."""
        self._model.eval()


def _drop_denormals(optimizer: Any) -> None:
    """Make zeros of numbers that are too small for float32's full precision.

    The moments of weights that get no gradient any more decay to such numbers, and stay so; CPUs
    take up to a hundred times as long for each. TensorFlow and JAX make them zeros in every step.
    """
    with torch.no_grad():
        for variable in optimizer.variables:
            value = variable._value
            if value.is_floating_point():
                value.masked_fill_(value.abs() < torch.finfo(torch.float32).tiny, 0.0)


def _as_tensor(array: Any) -> Any:
    """Return an array as a tensor of its own: a layer may write to it."""
    if isinstance(array, np.ndarray):
        own = array.flags.owndata and array.flags.writeable
        array = array if own else array.copy()
        if array.dtype in (np.uint8, np.float32):
            # Keras copies each array, and takes longer for it.
            array = torch.from_numpy(array)
    return keras.ops.convert_to_tensor(array)


@contextmanager
def fast_calls(model: Any) -> Iterator[None]:
    """Give the layers, the Functional models and the optimizer of a model their fast calls."""
    keep_freed_memory()
    changes = []

    def replace(owner: Any, name: str, call: Callable[..., Any] | None) -> None:
        if call is not None and name not in owner.__dict__:
            changes.append((owner, name, call))

    calls: dict[int, Callable[..., Any]] = {}
    parts = [each for each in model._flatten_layers() if isinstance(each, keras.Function)]
    outputs = {id(tensor) for part in parts for tensor in tree.flatten(part.outputs)}
    for layer in model._flatten_layers():
        if isinstance(layer, keras.Function):
            continue
        call = _fast_call(layer, outputs)
        if call is not None:
            calls[id(layer)] = call
            replace(layer, "call", call)
    for part in parts:
        if is_plain_graph(part):
            replace(part, "call", _run(part, calls))
    optimizer = getattr(model, "optimizer", None)
    if has_fused_adam(optimizer):
        replace(optimizer, "_parallel_update_step", update_of(optimizer))
    with replaced(changes):
        yield


def _run(model: Any, calls: dict[int, Callable[..., Any]]) -> Callable[..., Any] | None:
    """Return a Functional model's call without what Keras does around that of each layer.

    None where the model takes more than a tensor, or one of its layers does other than give a
    tensor for one or several, or makes masks.
    """
    program = []
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            arguments = node.arguments
            inputs = arguments.args[0] if len(arguments.args) == 1 else "several"
            plain = all(value is None for value in arguments.kwargs.values())
            operation = node.operation
            masks = isinstance(operation, layers.Masking | layers.Embedding)
            tensors = all(isinstance(each, keras.KerasTensor) for each in tree.flatten(inputs))
            if not tensors or not plain or masks or len(node.outputs) != 1:
                return None
            fast = calls.get(id(operation))
            read = tree.map_structure(id, inputs)
            trains = fast is not None or getattr(operation, "_call_has_training_arg", False)
            program.append((fast or operation, read, id(node.outputs[0]), trains))
    if len(model.inputs) != 1 or model.inputs[0].dtype not in DTYPES:
        return None
    source, wanted = id(model.inputs[0]), tree.map_structure(id, model._outputs_struct)
    shape, dtype = model.inputs[0].shape, DTYPES[model.inputs[0].dtype]

    def call(inputs: Any, training: Any = None, mask: Any = None, **options: Any) -> Any:
        fits = isinstance(inputs, torch.Tensor) and inputs.ndim == len(shape)
        if not fits or mask is not None or options:
            return type(model).call(model, inputs, training=training, mask=mask, **options)
        values = {source: inputs.to(dtype)}
        for function, read, written, trains in program:
            value = tree.map_structure(values.__getitem__, read)
            values[written] = function(value, training=training) if trains else function(value)
        return tree.map_structure(values.__getitem__, wanted)

    return call


def _fast_call(layer: Any, outputs: set[int]) -> Callable[..., Any] | None:
    """Return the fast call of a layer, or None where only Keras' own is right.

    It takes an input of any float type and casts it, and the weights, as the layer's own would.

    Args:
        layer: that may have one.
        outputs: the symbolic tensors, by `id`, that a model returns: none is overwritten.
    """
    regularized = getattr(layer, "activity_regularizer", None) is not None
    if layer.compute_dtype not in DTYPES or not layer.built or regularized:
        return None
    kind = type(layer)
    if kind is layers.Identity:
        cast = _cast(layer)
        return lambda inputs, training=None, mask=None: cast(inputs)
    if kind is layers.Dense:
        return _dense(layer) if layer.quantization_mode is None and not layer.lora_enabled else None
    if kind is layers.Reshape and None not in layer.target_shape and -1 not in layer.target_shape:
        return _reshape(layer)
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return None
    if kind is layers.Flatten:
        return _flatten(layer)
    if kind is layers.Conv2D:
        return _conv(layer) if has_fast_conv(layer) and not layer.lora_enabled else None
    if kind is layers.BatchNormalization:
        return _batch_norm(layer) if has_plain_batch_norm(layer) else None
    if kind in (layers.MaxPooling2D, layers.AveragePooling2D):
        plain = layer.padding == "valid" and layer.strides == layer.pool_size
        return _pool(layer) if plain else None
    if kind is layers.UpSampling2D:
        return _upsample(layer) if layer.interpolation == "nearest" else None
    return _relu(layer, outputs) if is_plain_relu(layer) else None


def _cast(layer: Any) -> Callable[[Any], Any]:
    dtype = DTYPES[layer.compute_dtype]
    return lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor


def _dense(layer: Any) -> Callable[..., Any]:
    cast, activation = _cast(layer), _activation(layer)

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        bias = None if layer.bias is None else cast(layer.bias._value)
        return activation(F.linear(cast(inputs), cast(layer.kernel._value).t(), bias))

    return call


def _activation(layer: Any) -> Callable[[Any], Any]:
    own = {keras.activations.linear: lambda value: value, keras.activations.relu: F.relu}
    return own.get(layer.activation, layer.activation)


def _flatten(layer: Any) -> Callable[..., Any]:
    cast = _cast(layer)
    return lambda inputs, training=None, mask=None: cast(inputs).reshape(len(inputs), -1)


def _reshape(layer: Any) -> Callable[..., Any]:
    cast, shape = _cast(layer), layer.target_shape
    return lambda inputs, training=None, mask=None: cast(inputs).reshape(-1, *shape)


def _relu(layer: Any, outputs: set[int]) -> Callable[..., Any]:
    cast = _cast(layer)
    if not _alone_reads_batch_norm(layer, outputs):
        return lambda inputs, training=None, mask=None: F.relu(cast(inputs))
    return lambda inputs, training=None, mask=None: F.relu_(cast(inputs))


def _alone_reads_batch_norm(relu: Any, outputs: set[int]) -> bool:
    """Whether nothing else needs what the ReLU reads: BatchNorm's gradient does not."""
    if len(relu._inbound_nodes) != 1 or id(relu.input) in outputs:
        return False
    norm = relu.input._keras_history.operation
    fast = type(norm) is layers.BatchNormalization and _fast_call(norm, outputs) is not None
    return fast and len(norm._outbound_nodes) == len(norm._inbound_nodes) == 1


def conv(layer: Any, inputs: Any, kernel: Any, bias: Any, rectified: bool = False) -> Any:
    """Return a convolution of stride 1 and padding "same" with a layer's geometry, plus a bias.

    Of that the positive part where it is to be `rectified`.
    """
    kernel = kernel.permute(3, 2, 0, 1)
    if kernel.dtype == torch.float16:
        # Where the CPU has no fast convolution in float16, torch's slow one asks for this.
        kernel = kernel.contiguous()
    padding = [size // 2 for size in layer.kernel_size]
    images = inputs.permute(0, 3, 1, 2)
    if rectified and _fuses_relu(images):
        outputs = _rectified_conv(images, kernel, bias, padding)
    else:
        outputs = F.conv2d(images, kernel, bias, padding=padding)
        outputs = F.relu_(outputs) if rectified else outputs
    return outputs.permute(0, 2, 3, 1)


def doubling_conv(inputs: Any, kernel: Any, bias: Any = None, rectified: bool = False) -> Any:
    """Return the transposed convolution of stride 2 with a kernel `(4, 4, inputs, outputs)`.

    Plus a bias where there is one; of that the positive part where it is to be `rectified`.
    """
    # Permuted views are torch's channels-last layout: nothing is copied.
    images, kernel = inputs.permute(0, 3, 1, 2), kernel.permute(2, 3, 0, 1)
    if rectified and _fuses_relu(images):
        outputs = _rectified_doubling_conv(images, kernel, bias)
    else:
        outputs = F.conv_transpose2d(images, kernel, bias, stride=2, padding=1)
        outputs = F.relu_(outputs) if rectified else outputs
    return outputs.permute(0, 2, 3, 1)


def _fuses_relu(images: Any) -> bool:
    """Whether oneDNN takes a convolution and a ReLU in one, which has no gradient."""
    return (
        not torch.is_grad_enabled()
        and images.device.type == "cpu"
        and images.dtype in _fused_types()
        and torch.backends.mkldnn.enabled
    )


@functools.cache
def _fused_types() -> frozenset[torch.dtype]:
    """Return the types in which torch has oneDNN's fused convolutions: a private interface."""
    found = set()
    for dtype in (torch.float32, torch.bfloat16):
        image, kernel, bias = (torch.ones(shape, dtype=dtype) for shape in (4 * [1], 4 * [1], [1]))
        try:
            _rectified_conv(image, kernel, bias, [0, 0])
            _rectified_doubling_conv(image, torch.ones((1, 1, 4, 4), dtype=dtype), bias)
        except Exception:  # A torch without them, or with others of their names.
            continue
        found.add(dtype)
    return frozenset(found)


def _rectified_conv(images: Any, kernel: Any, bias: Any, padding: list[int]) -> Any:
    fused = torch.ops.mkldnn._convolution_pointwise
    return fused(images, kernel, bias, padding, [1, 1], [1, 1], 1, "relu", [], "")


def _rectified_doubling_conv(images: Any, kernel: Any, bias: Any) -> Any:
    fused, one, two = torch.ops.mkldnn._convolution_transpose_pointwise, [1, 1], [2, 2]
    return fused(images, kernel, bias, one, [0, 0], two, one, 1, "relu", [], "")


def _conv(layer: Any) -> Callable[..., Any]:
    cast, activation = _cast(layer), _activation(layer)

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        bias = cast(layer.bias._value) if layer.use_bias else None
        return activation(conv(layer, cast(inputs), cast(layer.kernel._value), bias))

    return call


def _batch_norm(layer: Any) -> Callable[..., Any]:
    cast = _cast(layer)

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        training = bool(training) and layer.trainable
        if mask is not None or (training and inputs.numel() == inputs.shape[-1]):
            # torch refuses a batch of one value a channel; Keras gives it a variance of zero.
            return type(layer).call(layer, inputs, training=training, mask=mask)
        mean, variance = layer.moving_mean._value, layer.moving_variance._value
        moving = variance.detach().clone() if training else variance
        inputs = cast(inputs)
        image = inputs.ndim == 4
        outputs = F.batch_norm(
            inputs.permute(0, 3, 1, 2) if image else inputs,
            mean,
            moving,
            layer.gamma._value,
            layer.beta._value,
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
    cast = _cast(layer)
    pool = F.max_pool2d if isinstance(layer, layers.MaxPooling2D) else F.avg_pool2d

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        outputs = pool(cast(inputs).permute(0, 3, 1, 2), layer.pool_size)
        return outputs.permute(0, 2, 3, 1)

    return call


def _upsample(layer: Any) -> Callable[..., Any]:
    cast = _cast(layer)
    scale = tuple(float(factor) for factor in layer.size)

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        images = cast(inputs).permute(0, 3, 1, 2)
        outputs = F.interpolate(images, scale_factor=scale, mode="nearest")
        return outputs.permute(0, 2, 3, 1)

    return call
