"""What runs a model well on the backend in use."""

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree
from keras.src.models.functional import Functional

from fmae_zoo.accelerate.plain import is_plain
from fmae_zoo.latents.sampling import GaussianSampling

RESIDENT_BYTES = 2 << 30
"""Of arrays that are put into an accelerator's memory as a whole; more goes batch by batch."""

STEPS_AT_ONCE = 8
"""Steps in one call of a network without convolutions, which else waits for its calls."""


@contextmanager
def accelerated(model: Any) -> Iterator[None]:
    """Run a model inside the block: fast, and on JAX so that errors do it no harm."""
    backend = keras.backend.backend()
    if backend == "jax":
        from fmae_zoo.accelerate.on_jax import compiled_well, restored

        with restored(model), compiled_well():
            yield
    elif backend == "torch" and not is_plain():
        from fmae_zoo.accelerate.on_torch import fast_calls

        with fast_calls(model):
            yield
    else:
        yield


@contextmanager
def replaced(changes: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    """Give objects other methods inside the block: `(owner, name, method)`."""
    before = [(owner, name, vars(owner).get(name)) for owner, name, _ in changes]
    try:
        for owner, name, method in changes:
            vars(owner)[name] = method
        yield
    finally:
        for owner, name, own in before:
            if own is None:
                vars(owner).pop(name, None)
            else:
                vars(owner)[name] = own


def convolved(layer: Any, inputs: Any, kernel: Any, bias: Any, rectified: bool) -> Any:
    """Return what the layer's convolution gives with another kernel, `completed`."""
    if keras.backend.backend() == "torch" and has_fast_conv(layer):
        from fmae_zoo.accelerate.on_torch import conv

        return conv(layer, inputs, kernel, bias, rectified)
    return completed(layer.convolution_op(inputs, kernel), bias, rectified)


def completed(outputs: Any, bias: Any, rectified: bool) -> Any:
    """Return a linear layer's outputs plus a bias, if any; `rectified`, the positive part."""
    outputs = outputs if bias is None else _biased(outputs, bias)
    return ops.relu(outputs) if rectified else outputs


def _biased(outputs: Any, bias: Any) -> Any:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # This addition, and no other, TensorFlow computes in one with the convolution.
        return tf.nn.bias_add(outputs, bias)
    return outputs + bias


def fast_call_of(layer: Any) -> Any:
    """Return what PyTorch calls in a layer's place inside `accelerated`, or None."""
    call = vars(layer).get("call")
    return call if getattr(call, "__module__", "") == "fmae_zoo.accelerate.on_torch" else None


def has_fast_conv(layer: Any) -> bool:
    """Whether a layer is a plain convolution that keeps the size of its map."""
    odd_same = layer.padding == "same" and all(size % 2 for size in layer.kernel_size)
    unit = set(layer.strides) == set(layer.dilation_rate) == {1}
    return type(layer) is layers.Conv2D and odd_same and unit and layer.groups == 1


def is_on_cpu() -> bool:
    """Whether Keras computes on the CPU."""
    backend = keras.backend.backend()
    if backend == "torch":
        return bool(ops.convert_to_tensor(0.0).device.type == "cpu")
    if backend == "jax":
        import jax

        return bool(jax.default_backend() == "cpu")
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


def is_resident(arrays: Any) -> bool:
    """Whether arrays are small enough to lie in an accelerator's memory as a whole."""
    return sum(array.nbytes for array in tree.flatten(arrays)) <= RESIDENT_BYTES


def is_convolutional(model: Any) -> bool:
    """Whether a model has convolutions, beside which the time of a call is nothing."""
    return any(isinstance(layer, layers.Conv2D) for layer in model._flatten_layers())


def is_steady(model: Any) -> bool:
    """Whether a dense network's step is its tensors' operations, and no more.

    Its class says so, and no layer but one that samples a Gaussian draws random numbers.
    """
    drawing = [each for each in model._flatten_layers() if each._seed_generators]
    only_samples = all(type(each) is GaussianSampling for each in drawing)
    says_so = vars(type(model)).get("is_steady", False)
    return says_so and only_samples and not is_convolutional(model)


def batch_of(arrays: Any, rows: Any) -> Any:
    """Return the rows of each array."""
    return tree.map_structure(operator.itemgetter(rows), arrays)


def stacked(arrays: Any, batches: list[Any]) -> Any:
    """Return batches of one size as one array each: `(STEPS_AT_ONCE, batch, ...)`.

    Where there are fewer batches, the last is repeated, so that all stacks have one shape.
    """
    padded = batches + batches[-1:] * (STEPS_AT_ONCE - len(batches))

    def stack(array: Any) -> Any:
        parts = [array[rows] for rows in padded]
        return np.stack(parts) if isinstance(array, np.ndarray) else ops.stack(parts)

    return tree.map_structure(stack, arrays)


def is_plain_graph(model: Any) -> bool:
    """Whether a model does no more than its layers' graph says."""
    return isinstance(model, keras.Function) and type(model).call is Functional.call


def kept_steps(model: Any) -> dict[Any, Any]:
    """Return the compiled steps that a model keeps until it is compiled anew."""
    kept: dict[Any, Any] = model.__dict__.setdefault("_fmae_zoo_steps", {})
    # A model that is compiled again has another tracker.
    if kept.get("of") is not model._loss_tracker:
        kept.clear()
        kept["of"] = model._loss_tracker
    return kept


def is_plain_relu(layer: Any) -> bool:
    """Whether a layer is a ReLU that returns the positive part of its inputs, and no more."""
    plain = type(layer) is layers.ReLU and layer.max_value is None
    return plain and not layer.negative_slope and not layer.threshold


def has_plain_batch_norm(layer: Any) -> bool:
    """Whether a layer is a BatchNorm that the frameworks' fused operation computes."""
    if type(layer) is not layers.BatchNormalization or not layer.built:
        return False
    rank = layer.input_spec.ndim
    last = layer.axis in (-1, rank - 1) and rank in (2, 4)
    last = last and layer.variable_dtype == "float32" and layer.compute_dtype != "float64"
    return last and layer.scale and layer.center and not layer.renorm and not layer.synchronized
