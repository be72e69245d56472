"""What a model computes at inference, step by step, with each BatchNorm folded into a layer."""

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


# What computes a layer with another kernel and bias, by its class: a subclass may do otherwise.
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
"""What a Functional and a Sequential model do when called, if no subclass has changed it."""


@dataclass
class Step:
    """A layer in a graph, with the BatchNorm and the ReLU after it where they can be folded.

    `gamma (W x - mean) / sqrt(variance + epsilon) + beta` is another kernel and a bias: each
    kernel is scaled once, and not each output. A BatchNorm that is not folded into another layer
    has a kernel of 1. Inputs and output are named by the `id` of the symbolic tensor.
    """

    layer: Any
    inputs: list[int]
    output: int
    activation: Any
    norm: Any

    def folds(self, layer: Any) -> bool:
        """Fold the layer that alone reads the output if it can be, and say whether it was."""
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
        """Return kernel and bias, or a kernel alone, or nothing: as they are now."""
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
        """Return the output for tensors."""
        first, *others = [ops.cast(each, self.layer.compute_dtype) for each in inputs]
        if type(self.layer) in WEIGHTLESS:
            return self.layer.call([first, *others] if others else first)
        output = COMPUTED[type(self.layer)](self.layer, first, *[*weights, None][:2])
        if keras.backend.backend() == "torch" and self.activation is keras.activations.relu:
            return output.relu_()
        return self.activation(output)


def steps_of(model: Any) -> list[Step] | None:
    """Return what a graph of known layers computes from one input to one output; else None.

    A layer tells the input and output of its first call. What comes of another call, or of an
    operation that is no layer, is the output of no step.
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
    """Whether a layer computes what its class says, over the last axis."""
    axis, rank = getattr(layer, "axis", -1), len(layer.output.shape)
    first = type(layer) in COMPUTED and getattr(layer, "data_format", "") == "channels_first"
    known = type(layer) in WEIGHTLESS or (type(layer) in COMPUTED and axis in (-1, rank - 1))
    changed = layer.quantization_mode is not None or getattr(layer, "lora_enabled", False)
    return known and not first and not changed and "call" not in vars(layer)
