"""Models and comparisons that the tests of training share."""

import keras
import numpy as np
from keras import ops

from fmae_zoo import Autoencoder, layers
from fmae_zoo.training.trainable import Trainable
from tests.conftest import tiny_spec

BACKEND = keras.backend.backend()
X = np.random.default_rng(0).random((21, 4)).astype("float32")
Y = np.random.default_rng(1).random((21, 2)).astype("float32")
MAPS = np.random.default_rng(0).random((21, 8, 8, 1)).astype("float32")
LABELS = np.arange(21) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (165, 28, 28, 1), dtype=np.uint8)
"""Of 8 images a batch: two groups of eight, one of four, and a batch of 5."""


class Net(Trainable, keras.Sequential):
    """A network that the zoo trains, and that Keras' own `fit` may train too."""


class Graph(Trainable, keras.Model):
    """The same, of a graph."""


def sgd(rate=0.05):
    return keras.optimizers.SGD(rate)


def small(*own, kind=Net, optimizer=sgd, loss="mse", **options):
    """Return a compiled network of 4 numbers to 2, with the same weights each time."""
    keras.utils.set_random_seed(0)
    own = own or (layers.Dense(5, activation="relu"), layers.Dense(2))
    model = kind([keras.Input((4,)), *own])
    model.compile(optimizer(), loss, **options)
    return model


def convolutional(optimizer=sgd, dtype="float32", **options):
    """Return a compiled classifier of maps of three classes, of the zoo's layers and Keras'."""
    keras.utils.set_random_seed(0)
    stock = keras.layers
    model = Net(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same", use_bias=False, dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            stock.ReLU(dtype=dtype),
            layers.AveragePooling2D(2, dtype=dtype),
            layers.UpsampledConv2D(4, activation="relu", dtype=dtype),
            layers.MaxPooling2D(4, dtype=dtype),
            stock.Flatten(dtype=dtype),
            layers.Dense(6, use_bias=False, dtype=dtype),
            layers.BatchNormalization(momentum=0.8, dtype=dtype),
            stock.Dense(3, activation="softmax", dtype="float32"),
        ]
    )
    options = {"metrics": ["accuracy"]} | options
    model.compile(optimizer(), loss="sparse_categorical_crossentropy", **options)
    return model


def adam():
    return keras.optimizers.Adam(1e-3, epsilon=1e-2)


def autoencoder(kind=Autoencoder, optimizer=adam, dtype="float32", metrics=None, **changes):
    """Return a compiled small autoencoder."""
    model = kind(tiny_spec(**changes), seed=3, dtype=dtype)
    model.compile(optimizer(), metrics=metrics)
    return model


def taken(function, model, x, y=None, **options):
    """Fit, and return the history and the weights by name."""
    settings = {"batch_size": 8, "epochs": 2, "shuffle": False, "verbose": 0} | options
    history = function(model, x, y, **settings).history
    return history | {f"weight {i}": w for i, w in enumerate(model.get_weights())}


def assert_same(one, other, atol=1e-4, rtol=1e-3):
    assert list(one) == list(other)
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], rtol=rtol, atol=atol, err_msg=name)


def assert_as_keras(make, x, y=None, atol=1e-4, **options):
    """Compare a fit of what `make` returns with Keras' own fit of another such model."""
    plain = taken(keras.Model.fit, make(), x, y, **options)
    found = taken(lambda model, *data, **rest: model.fit(*data, **rest), make(), x, y, **options)
    assert_same(plain, found, atol)
    return found


def value_of(variable):
    return np.array(ops.convert_to_numpy(variable))
