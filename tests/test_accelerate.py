import keras
import numpy as np
import pytest
from keras import layers, ops

from fmae_zoo.accelerate import accelerated, fit


def model_of(*own_layers):
    return keras.Sequential([keras.Input((8, 8, 3)), *own_layers])


LAYERS = {
    "conv": lambda: layers.Conv2D(5, 3, padding="same", activation="relu"),
    "conv without bias": lambda: layers.Conv2D(5, 5, padding="same", use_bias=False),
    "strided conv": lambda: layers.Conv2D(5, 3, strides=2, padding="same"),
    "even conv": lambda: layers.Conv2D(5, 2, padding="same"),
    "valid conv": lambda: layers.Conv2D(5, 3),
    "grouped conv": lambda: layers.Conv2D(6, 3, padding="same", groups=3),
    "batch norm": lambda: layers.BatchNormalization(momentum=0.8),
    "batch norm without scale": lambda: layers.BatchNormalization(scale=False),
    "max pool": lambda: layers.MaxPooling2D(2),
    "average pool": lambda: layers.AveragePooling2D(2),
    "same max pool": lambda: layers.MaxPooling2D(3, padding="same"),
    "upsample": lambda: layers.UpSampling2D((2, 3)),
    "bilinear": lambda: layers.UpSampling2D(2, interpolation="bilinear"),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_a_layer_gives_the_same_outputs_and_statistics(name, training):
    model = model_of(LAYERS[name]())
    inputs = np.random.default_rng(0).standard_normal((4, 8, 8, 3)).astype("float32")
    start = model.get_weights()
    plain = ops.convert_to_numpy(model(inputs, training=training))
    moved = model.get_weights()
    model.set_weights(start)
    with accelerated(model):
        fast = ops.convert_to_numpy(model(inputs, training=training))
    np.testing.assert_allclose(plain, fast, atol=1e-5)
    for one, other in zip(moved, model.get_weights()):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_training_gives_the_same_weights():
    def trained(fast):
        keras.utils.set_random_seed(0)
        model = model_of(
            layers.Conv2D(4, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.UpSampling2D(2),
            layers.Conv2D(3, 3, padding="same"),
        )
        model.compile("sgd", "mse")
        inputs = np.random.default_rng(0).standard_normal((32, 8, 8, 3)).astype("float32")
        if fast:
            with accelerated(model):
                model.fit(inputs, inputs, batch_size=8, epochs=2, shuffle=False, verbose=0)
        else:
            model.fit(inputs, inputs, batch_size=8, epochs=2, shuffle=False, verbose=0)
        return model.get_weights()

    for plain, fast in zip(trained(False), trained(True)):
        np.testing.assert_allclose(plain, fast, atol=1e-4)


def test_the_layers_are_as_they_were_afterwards_even_after_an_error():
    model = model_of(layers.BatchNormalization(), layers.Conv2D(2, 3, padding="same"))
    with pytest.raises(RuntimeError), accelerated(model):
        raise RuntimeError
    assert not any("call" in layer.__dict__ for layer in model.layers)


def test_a_frozen_batch_norm_keeps_its_statistics():
    layer = layers.BatchNormalization()
    model = model_of(layer)
    layer.trainable = False
    with accelerated(model):
        model(np.full((2, 8, 8, 3), 9.0, "float32"), training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.moving_mean.value), np.zeros(3))


def test_a_batch_of_one_value_a_channel_trains():
    model = keras.Sequential([keras.Input((6,)), layers.BatchNormalization()])
    inputs = np.ones((1, 6), dtype="float32")
    plain = ops.convert_to_numpy(model(inputs, training=True))
    with accelerated(model):
        fast = ops.convert_to_numpy(model(inputs, training=True))
    np.testing.assert_allclose(plain, fast, atol=1e-6)


def test_an_error_while_it_runs_leaves_a_model_its_weights():
    model = model_of(layers.Conv2D(2, 3), layers.BatchNormalization())
    model.compile("adam", "mse")
    before = model.get_weights()

    def breaks():
        yield np.zeros((2, 8, 8, 3), "float32"), np.zeros((2, 6, 6, 2), "float32")
        raise ValueError("broken")

    for method in (model.predict, model.evaluate):
        with pytest.raises(Exception, match="broken"), accelerated(model):
            method(breaks(), verbose=0)
        for one, other in zip(before, model.get_weights()):
            np.testing.assert_array_equal(one, other)
    with accelerated(model):
        assert model.predict(np.zeros((3, 8, 8, 3)), verbose=0).shape == (3, 6, 6, 2)


@pytest.mark.parametrize("shuffle", [False, True])
def test_fit_sees_each_image_once_in_the_order_asked_for(shuffle):
    seen = []

    class Watching(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, inputs):
            return self.dense(inputs)

    model = Watching()
    model.compile("sgd", "mse", run_eagerly=True)
    inputs = np.arange(10, dtype="float32")[:, None]

    def step(*arguments):
        data = arguments[-1]
        seen.extend(ops.convert_to_numpy(data[0])[:, 0].tolist())
        return (({"loss": 0.0}, arguments[0])) if len(arguments) > 1 else {"loss": 0.0}

    model.train_step = step
    fit(model, inputs, inputs, batch_size=4, shuffle=shuffle, verbose=0)
    assert sorted(seen) == list(range(10))
    assert shuffle or seen == list(range(10))
