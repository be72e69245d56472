"""Inference of a model as a list of steps, with each BatchNorm folded into a layer."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fmae_zoo import layers
from fmae_zoo.training.state import value_of
from fmae_zoo.types import Layer, Tensor


def _normed(layer: Layer, inputs: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    return inputs * scale + offset


# Functions that compute a layer with a given kernel and bias. The class must match exactly,
# because a subclass may compute something else.
COMPUTED = {
    layers.Conv2D: layers.Conv2D.convolved,
    layers.UpsampledConv2D: layers.UpsampledConv2D.convolved,
    **dict.fromkeys((layers.Dense, keras.layers.Dense), layers.Dense.multiplied),
    **dict.fromkeys((layers.BatchNormalization, keras.layers.BatchNormalization), _normed),
}
WEIGHTLESS = {layers.AveragePooling2D, layers.MaxPooling2D, keras.layers.UpSampling2D}
WEIGHTLESS |= {keras.layers.Flatten, keras.layers.Reshape, keras.layers.Identity, keras.layers.Add}
WEIGHTLESS |= {keras.layers.Activation, keras.layers.ReLU, keras.layers.Dropout}

_image = keras.Input((1,))
GRAPH_CALLS = (type(keras.Model(_image, _image)).call, keras.Sequential.call)
"""The `call` of a Functional and of a Sequential model that no subclass has overridden."""


@dataclass
class Step:
    """A layer of a graph, with the BatchNorm and the ReLU after it if they can be folded.

    `gamma (W x - mean) / sqrt(variance + epsilon) + beta` is again a kernel and a bias, so the
    kernel is scaled once instead of every output. A BatchNorm that is not folded into another
    layer has a kernel of 1. `inputs` and `output` are the `id` of symbolic tensors; `norm` is the
    folded BatchNorm, the layer itself if it is a BatchNorm, or None.
    """

    layer: Any
    inputs: list[int]
    output: int
    activation: Any
    norm: Any

    def folds(self, layer: Any) -> bool:
        """Fold in the only layer that reads the output, if possible; return whether it was."""
        linear = type(self.layer) in COMPUTED and self.activation is keras.activations.linear
        relu = type(layer) is keras.layers.ReLU and layer.max_value is None
        relu = relu and not layer.negative_slope and not layer.threshold
        norm = isinstance(layer, keras.layers.BatchNormalization) and self.norm is None
        if not linear or not (relu or norm) or layer.compute_dtype != self.layer.compute_dtype:
            return False
        self.activation = keras.activations.relu if relu else self.activation
        self.norm = layer if norm else self.norm
        self.output = id(layer.output)
        return True

    def weights(self) -> list[np.ndarray]:
        """Return the current kernel and bias, or only a kernel, or an empty list."""
        whole, own = self.norm is self.layer, self.layer.weights
        own = [np.float32(1.0)] if whole else [value_of(each) for each in own]
        if self.norm is None:
            return own
        scale = 1.0 / np.sqrt(value_of(self.norm.moving_variance) + np.float32(self.norm.epsilon))
        scale = scale * value_of(self.norm.gamma) if self.norm.scale else scale
        offset = (sum(own[1:]) - value_of(self.norm.moving_mean)) * scale
        offset = offset + value_of(self.norm.beta) if self.norm.center else offset
        return [own[0] * scale, offset]

    def __call__(self, weights: list[Tensor], *inputs: Tensor) -> Tensor:
        """Return the output for input tensors and the tensors of `weights`."""
        first, *others = [ops.cast(each, self.layer.compute_dtype) for each in inputs]
        if type(self.layer) in WEIGHTLESS:
            return self.layer.call([first, *others] if others else first)
        output = COMPUTED[type(self.layer)](self.layer, first, *[*weights, None][:2])
        if keras.backend.backend() == "torch" and self.activation is keras.activations.relu:
            return output.relu_()
        return self.activation(output)


def steps_of(model: Any) -> list[Step] | None:
    """Return the steps of a graph of known layers with one input and one output, else None.

    Keras reports the input and output of a layer's first call only. So a model that calls a
    layer twice, or uses an operation that is not a layer, has no steps.
    """
    graph = type(model).call in GRAPH_CALLS and "call" not in vars(model)
    if not graph or len(getattr(model, "inputs", [])) != 1:
        return None
    called = [each for each in model.layers if not isinstance(each, keras.layers.InputLayer)]
    reads = [[id(each) for each in tree.flatten(layer.input)] for layer in called]
    outputs = [id(each) for each in model.outputs]
    readers = Counter(sum(reads, start=outputs))
    steps: list[Step] = []
    makers: dict[int, Step | None] = {id(model.inputs[0]): None}
    for layer, inputs in zip(called, reads):
        if not _is_known(layer) or not makers.keys() >= set(inputs):
            return None
        step = makers[inputs[0]]
        if step is None or readers[step.output] > 1 or not step.folds(layer):
            norm = layer if isinstance(layer, keras.layers.BatchNormalization) else None
            activation = getattr(layer, "activation", keras.activations.linear)
            step = Step(layer, inputs, id(layer.output), activation, norm)
            steps.append(step)
        makers[step.output] = step
    return steps if outputs == [step.output for step in steps[-1:]] else None


def _is_known(layer: Any) -> bool:
    """Return whether a layer is of a known class, unmodified, and works on the last axis."""
    axis, rank = getattr(layer, "axis", -1), len(layer.output.shape)
    first = type(layer) in COMPUTED and getattr(layer, "data_format", "") == "channels_first"
    known = type(layer) in WEIGHTLESS or (type(layer) in COMPUTED and axis in (-1, rank - 1))
    changed = layer.quantization_mode is not None or getattr(layer, "lora_enabled", False)
    return known and not first and not changed and "call" not in vars(layer)
