"""Conversion of the zoo's layers to Keras' own."""

import keras

from fmae_zoo.errors import ArgumentError
from fmae_zoo.layers.batch_normalization import BatchNormalization
from fmae_zoo.layers.conv import Conv2D, UpsampledConv2D
from fmae_zoo.layers.dense import Dense
from fmae_zoo.layers.pooling import AveragePooling2D, MaxPooling2D
from fmae_zoo.types import Layer, Model

_STOCK = {
    AveragePooling2D: keras.layers.AveragePooling2D,
    BatchNormalization: keras.layers.BatchNormalization,
    Conv2D: keras.layers.Conv2D,
    Dense: keras.layers.Dense,
    MaxPooling2D: keras.layers.MaxPooling2D,
}


def stock(model: Model) -> Model:
    """Return a copy of a model with Keras' own layers, which Keras reads without fmae_zoo.

    The weights are copied in the same order. An `UpsampledConv2D` becomes a `Sequential` of
    Keras' upsampling and convolution.

    Args:
        model: A Functional or Sequential model, `ae.encoder` for example.

    Raises:
        ArgumentError: The model is neither Functional nor Sequential.
    """
    try:
        copy = keras.models.clone_model(model, clone_function=_stock_layer, recursive=True)
    except ValueError as error:
        raise ArgumentError(
            "Expected a Functional or Sequential model, as ae.encoder, ae.decoder and "
            f"classifier.as_functional() are; received {type(model).__name__}"
        ) from error
    copy.set_weights(model.get_weights())
    return copy


def _stock_layer(layer: Layer) -> Layer:
    config = layer.get_config()
    if type(layer) is UpsampledConv2D:
        name = config.pop("name")
        upsampling = keras.layers.UpSampling2D(
            2, data_format="channels_last", name="upsampling", dtype=layer.dtype_policy
        )
        convolution = keras.layers.Conv2D.from_config({**config, "name": "convolution"})
        return keras.Sequential([upsampling, convolution], name=name)
    return _STOCK.get(type(layer), type(layer)).from_config(config)
