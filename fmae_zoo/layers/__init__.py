"""Keras layers computed by the operations that are fastest on each backend.

Each layer subclasses the Keras layer of the same name and has the same arguments, weights and
results; only the backend's operations differ. The zoo builds its models from these layers; `stock`
returns the same model with Keras' own layers, to publish it or to read it without fmae_zoo.

To add a layer, write a file with a registered subclass whose `call` uses Keras' own `call` for
every setting that it does not support, and add its name to `__all__`.
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
    """Return the module with the layers for networks: this one, or `keras.layers` if plain."""
    import fmae_zoo.layers

    return keras.layers if is_plain() else fmae_zoo.layers
