"""Keras' layers, by the operations that suit each backend.

Each subclasses the layer of Keras of the same name, has its arguments, weights and results, and
differs in how the backend is asked to compute them. A model that is built here has these layers;
`stock` returns the same model with Keras' own, for what is published or read without fmae_zoo.

To add one: a file with a registered subclass whose `call` falls back to Keras' own for every
setting that it does not know, and its name in `__all__`.
"""

from types import ModuleType

import keras

from fmae_zoo.layers.batch_normalization import BatchNormalization
from fmae_zoo.layers.conv import Conv2D, UpsampledConv2D
from fmae_zoo.layers.conversion import stock
from fmae_zoo.layers.dense import Dense
from fmae_zoo.layers.initial import without_random_weights
from fmae_zoo.layers.plain import is_plain, plain_keras
from fmae_zoo.layers.pooling import AveragePooling2D, MaxPooling2D

__all__ = [
    "AveragePooling2D",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "MaxPooling2D",
    "UpsampledConv2D",
    "family",
    "is_plain",
    "plain_keras",
    "stock",
    "without_random_weights",
]


def family() -> ModuleType:
    """Return the module that a network takes its layers from: this one, or `keras.layers`."""
    import fmae_zoo.layers

    return keras.layers if is_plain() else fmae_zoo.layers
