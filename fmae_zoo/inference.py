"""Outputs of a model for many images, computed by its folded steps in compiled calls."""

import functools
import weakref
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fmae_zoo import layers
from fmae_zoo._backend import is_on_cpu
from fmae_zoo.arguments import check_integer
from fmae_zoo.folding import Step, steps_of
from fmae_zoo.internals import xla_options
from fmae_zoo.memory import keep_freed_memory
from fmae_zoo.training.state import restored
from fmae_zoo.types import Model, Tensor

CHUNK = 128
"""Largest number of images in one call of a convolutional network on a CPU: its cache is small."""

_calls: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""Last compiled function of each model, with the values it was made from."""


def predicted(
    model: Any,
    inputs: np.ndarray | dict[str, np.ndarray],
    batch_size: int,
    activation: str = "linear",
) -> np.ndarray:
    """Return a model's float32 outputs after an activation; an empty array for no inputs.

    A model with several inputs, or whose graph cannot be folded, is run by its own `predict`.

    Raises:
        ArgumentError: The batch size is not an integer of 1 or more.
    """
    check_integer("batch_size", batch_size, 1)
    if not len(tree.flatten(inputs)[0]):
        return np.zeros((0, *model.output_shape[1:]), dtype=np.float32)
    steps = None if layers.is_plain() or isinstance(inputs, dict) else steps_of(model)
    if isinstance(inputs, dict) or steps is None or inputs.shape[1:] != model.input_shape[1:]:
        with restored(model):
            outputs = model.predict(inputs, batch_size=batch_size, verbose=0)
        outputs = ops.convert_to_tensor(outputs, "float32")
        return ops.convert_to_numpy(keras.activations.get(activation)(outputs))
    arrays = [(step.layer.compute_dtype, step.weights()) for step in steps]
    finite = all(np.isfinite(each).all() for _, own in arrays for each in own)
    weights = [[ops.convert_to_tensor(each, dtype) for each in own] for dtype, own in arrays]
    in_parts = is_on_cpu() and any(isinstance(step.layer, layers.Conv2D) for step in steps)
    size = min(batch_size, CHUNK) if in_parts else batch_size
    call, found = _call_of(model, steps, activation, is_compiled=finite), []
    for start in range(0, len(inputs), size):
        chunk = inputs[start : start + size]
        if keras.backend.backend() == "jax" and len(chunk) < size:
            # JAX compiles for each size: fill up to a power of two by repeating images.
            longer = min(size, 1 << (len(chunk) - 1).bit_length())
            chunk = np.resize(chunk, (longer, *chunk.shape[1:]))
        found.append(call(weights, ops.convert_to_tensor(chunk, model.inputs[0].dtype)))
        # Wait for a result only after the next call has started.
        found[-2:-1] = map(ops.convert_to_numpy, found[-2:-1])
    return np.concatenate([*found[:-1], ops.convert_to_numpy(found[-1])])[: len(inputs)]


def _call_of(model: Model, steps: list[Step], activation: str, is_compiled: bool) -> Any:
    """Return the function of weights and images that runs the steps and the activation."""
    image, made_from = id(model.inputs[0]), (steps, activation, is_compiled)

    def output_of(weights: Any, inputs: Tensor) -> Tensor:
        values = {image: inputs}
        for step, own in zip(steps, weights):
            values[step.output] = step(own, *(values[each] for each in step.inputs))
        output = ops.cast(values[steps[-1].output], "float32")
        return keras.activations.get(activation)(output)

    kept = _calls.get(model)
    if kept is None or kept[0] != made_from:
        # A ReLU fused by the compiler turns NaN into 0; uncompiled operations keep it.
        kept = _calls[model] = (made_from, compiled(output_of) if is_compiled else output_of)
    return kept[1]


def compiled(function: Any) -> Any:
    """Return a function of tensors prepared by the backend for inference, without gradients."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function, compiler_options=xla_options())
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # TensorFlow warns of many traces of the same code, which all models share; a partial
        # has no code of its own.
        return tf.function(functools.partial(function), reduce_retracing=True, autograph=False)
    import torch

    keep_freed_memory()
    return torch.inference_mode()(function)
