"""Outputs of a folded copy are the model's own."""

import keras
import numpy as np
import pytest
from keras import ops

from fmae_zoo import Autoencoder, layers
from fmae_zoo.errors import ArgumentError
from fmae_zoo.folding import steps_of
from fmae_zoo.inference import predicted
from fmae_zoo.layers import plain_keras
from tests.conftest import run_python, tiny_spec


def network(*own_layers):
    """A network whose BatchNorm has statistics and weights that do something."""
    model = keras.Sequential([keras.Input((6, 8, 3)), *own_layers])
    model = keras.Model(model.inputs[0], model.outputs[0])
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.2, 1.0, w.shape).astype("float32") for w in model.weights])
    return model


def inputs(count=5):
    return np.random.default_rng(0).standard_normal((count, 6, 8, 3)).astype("float32")


def norms_of(model):
    """Return the BatchNorms that are computed, and not folded into a layer."""
    kind = keras.layers.BatchNormalization
    return [step.layer for step in steps_of(model) if isinstance(step.layer, kind)]


NETWORKS = {
    "conv and norm": lambda: [
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        keras.layers.ReLU(),
    ],
    "relu that is cut": lambda: [
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        keras.layers.ReLU(max_value=1.0),
    ],
    "leaky relu": lambda: [
        layers.Conv2D(4, 3),
        layers.BatchNormalization(),
        keras.layers.ReLU(negative_slope=0.5),
    ],
    "upsampled, with relu": lambda: [
        layers.UpsampledConv2D(4),
        layers.BatchNormalization(),
        keras.layers.ReLU(),
    ],
    "dense, with relu": lambda: [
        keras.layers.Flatten(),
        layers.Dense(4),
        layers.BatchNormalization(),
        keras.layers.ReLU(),
    ],
    "no bias": lambda: [layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization()],
    "no scale": lambda: [layers.Conv2D(4, 3), layers.BatchNormalization(scale=False)],
    "no center": lambda: [layers.Conv2D(4, 3), layers.BatchNormalization(center=False)],
    "upsampled": lambda: [layers.UpsampledConv2D(4, use_bias=False), layers.BatchNormalization()],
    "dense": lambda: [keras.layers.Flatten(), layers.Dense(4), layers.BatchNormalization()],
    "activation between": lambda: [
        layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(),
    ],
    "another axis": lambda: [layers.Conv2D(4, 3), layers.BatchNormalization(axis=1)],
    "norm alone": lambda: [layers.BatchNormalization(), layers.Conv2D(4, 3)],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_folding_changes_nothing(name):
    model = network(*NETWORKS[name]())
    with plain_keras():
        plain = predicted(model, inputs(), 500)
    np.testing.assert_allclose(predicted(model, inputs(), 500), plain, rtol=1e-5, atol=1e-5)


def test_a_convolution_that_something_else_reads_is_not_folded():
    image = keras.Input((6, 8, 3))
    convolution = layers.Conv2D(3, 3, padding="same")(image)
    norm = layers.BatchNormalization()(convolution)
    model = keras.Model(image, keras.layers.Add()([convolution, norm]))
    assert len(norms_of(model)) == 1
    _as_keras(model, inputs(), atol=1e-5)


@pytest.mark.parametrize("kept", ["norm", "norm and relu"])
def test_a_norm_that_is_an_output_is_not_rectified(kept):
    model = network(*NETWORKS["conv and norm"]())
    norm = model.layers[2].output
    added = norm if kept == "norm" else keras.layers.Add()([norm, model.output])
    cut = keras.Model(model.input, added)
    assert (predicted(keras.Model(model.input, norm), inputs(), 8) < 0).any()
    assert not norms_of(cut)
    _as_keras(cut, inputs(), atol=1e-5)


@pytest.mark.parametrize("name", ["conv and norm", "upsampled, with relu"])
def test_weights_that_are_nan_show_in_the_outputs(name):
    model = network(*NETWORKS[name](), layers.Conv2D(4, 3), layers.BatchNormalization())
    kernel = model.layers[1].kernel
    kernel.assign(np.full(kernel.shape, np.nan, "float32"))
    assert np.isnan(predicted(model, inputs(), 500)).all()


def test_outputs_are_those_of_the_weights_as_they_are_now():
    model = network(*NETWORKS["conv and norm"]())
    before = predicted(model, inputs(), 500)
    model.set_weights([2.0 * weight for weight in model.get_weights()])
    after = predicted(model, inputs(), 500)
    with plain_keras():
        plain = predicted(model, inputs(), 500)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3, 128, 300])
@pytest.mark.parametrize("batch_size", [1, 500])
def test_any_number_of_images_in_any_batches(count, batch_size):
    if batch_size == 1 and count > 3:
        count = 4
    model = network(*NETWORKS["conv and norm"]())
    everything = predicted(model, inputs(300), 100)
    part = predicted(model, inputs(300)[:count], batch_size)
    assert part.dtype == np.float32
    np.testing.assert_allclose(part, everything[:count], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_size", [0, -1, 2.5, None])
def test_a_wrong_batch_size_is_refused(batch_size):
    with pytest.raises(ArgumentError, match="batch_size"):
        predicted(network(layers.Conv2D(4, 3)), inputs(), batch_size)


def test_an_activation_is_applied():
    model = network(layers.Conv2D(4, 3))
    outputs = predicted(model, inputs(), 500)
    squashed = predicted(model, inputs(), 500, activation="sigmoid")
    np.testing.assert_allclose(squashed, 1.0 / (1.0 + np.exp(-outputs)), rtol=1e-4, atol=1e-6)


def test_models_of_any_kind_are_taken():
    sequential = keras.Sequential([keras.Input((6, 8, 3)), *NETWORKS["conv and norm"]()])

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = sequential

        def call(self, inputs, training=False):
            return self.inner(inputs, training=training)

    class Doubled(keras.Sequential):
        def call(self, inputs, training=None, mask=None):
            return 2.0 * super().call(inputs, training=training)

    image = keras.Input((6, 8, 3))
    for model in (
        sequential,
        Own(),
        Doubled([keras.Input((6, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()]),
        keras.Model(image, sequential(image)),
        keras.Model(image, keras.layers.Flatten()(sequential(image))),
    ):
        _as_keras(model, inputs())


def test_keras_own_layers_are_computed_and_not_folded():
    stock = keras.layers
    own = [stock.Conv2D(4, 3), stock.BatchNormalization(), stock.ReLU()]
    model = network(*own, stock.MaxPooling2D(2), stock.Flatten(), stock.Dense(3))
    assert steps_of(model) is None
    _as_keras(model, inputs())


@pytest.mark.parametrize("name", ["conv and norm", "dense, with relu", "upsampled", "no bias"])
def test_a_norm_is_folded_where_it_can_be(name):
    model = network(*NETWORKS[name]())
    assert not norms_of(model)
    relus = [step for step in steps_of(model) if isinstance(step.layer, keras.layers.ReLU)]
    assert not relus


def test_a_model_that_was_left_to_keras_is_given_whole_batches():
    model = network(*NETWORKS["conv and norm"]())
    before = model.get_weights()
    with plain_keras():
        assert predicted(model, inputs(7), 3).shape == (7, 6, 8, 4)
    for one, other in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_folding_makes_no_change_to_the_model():
    model = network(*NETWORKS["conv and norm"]())
    before, config = model.get_weights(), model.get_config()
    predicted(model, inputs(), 8)
    assert model.get_config() == config
    for one, other in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, other)


def _as_keras(model, x, atol=1e-4):
    expected = ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(predicted(model, x, 8), expected, rtol=1e-5, atol=atol)


def test_a_convolution_of_channels_first_is_not_folded_over_the_last_axis():
    first = layers.Conv2D(5, 3, padding="same", data_format="channels_first")
    image = keras.Input((5, 5, 5))
    model = keras.Model(image, layers.BatchNormalization()(first(image)))
    assert steps_of(model) is None
    if keras.backend.backend() != "tensorflow":  # Its kernels for CPUs know channels last alone.
        _as_keras(model, np.ones((4, 5, 5, 5), "float32"))


def test_a_layer_that_is_called_twice_is_not_folded():
    inputs, shared = keras.Input((4,)), layers.Dense(3)
    normed = layers.BatchNormalization(moving_mean_initializer="ones")(shared(inputs))
    model = keras.Model(inputs, keras.layers.Add()([normed, shared(2.0 * inputs)]))
    _as_keras(model, np.ones((5, 4), "float32"))


def test_a_layer_with_a_call_of_its_own_is_not_folded():
    class Doubled(layers.Dense):
        def call(self, inputs, training=None):
            return 2.0 * super().call(inputs, training=training)

    norm = layers.BatchNormalization(moving_mean_initializer="ones")
    _as_keras(keras.Sequential([keras.Input((4,)), Doubled(3), norm]), np.ones((5, 4), "float32"))


def test_a_quantized_layer_is_not_folded():
    norm = layers.BatchNormalization(moving_mean_initializer="ones")
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), norm])
    model.layers[0].quantize("int8")
    _as_keras(model, np.ones((5, 4), "float32"))


def test_a_layer_that_gets_further_weights_is_compiled_again():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    x = np.ones((5, 4), "float32")
    _as_keras(model, x)
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(np.ones((2, 3), "float32"))
    _as_keras(model, x)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow alone warns")
def test_many_models_that_encode_make_tensorflow_warn_of_no_retracing(tensorflow_log):
    for seed in range(8):
        inputs = keras.Input((4,))
        model = keras.Model(inputs, layers.Dense(seed + 1)(inputs))
        predicted(model, np.ones((3, 4), np.float32), 2)
    assert "retracing" not in tensorflow_log()


def test_an_activation_that_is_changed_later_is_computed():
    model = Autoencoder(tiny_spec()).encoder
    images = np.random.default_rng(0).random((3, 28, 28, 1)).astype("float32")
    predicted(model, images, 8)
    model.get_layer("encoder1_dense").activation = keras.activations.tanh
    expected = ops.convert_to_numpy(model(images, training=False))
    np.testing.assert_allclose(predicted(model, images, 8), expected, atol=1e-5)


def test_what_is_no_known_layer_is_computed_by_keras():
    image, dense = keras.Input((4,)), layers.Dense(3)
    dense(keras.Input((4,)))
    elsewhere = keras.Model(image, dense(image))
    operation = keras.Model(image, layers.Dense(3)(2.0 * image))
    two = keras.Input((4,), name="two")
    several = keras.Model([image, two], keras.layers.Add()([image, two]))
    replaced = keras.Model(image, layers.Dense(3)(image))
    _as_keras(replaced, np.ones((5, 4), "float32"))
    own = replaced.layers[1].call
    replaced.layers[1].call = lambda *args, **options: 2.0 * own(*args, **options)
    for model in (elsewhere, operation, replaced):
        _as_keras(model, np.ones((5, 4), "float32"))
    assert steps_of(elsewhere) is steps_of(operation) is steps_of(replaced) is None
    assert steps_of(several) is None


def test_a_model_with_a_call_of_its_own_is_computed_by_it():
    image = keras.Input((4,))
    model = keras.Model(image, layers.Dense(3)(image))
    own = model.call
    model.call = lambda *args, **options: 2.0 * own(*args, **options)
    _as_keras(model, np.ones((5, 4), "float32"))


@pytest.mark.parametrize("name", ["conv and norm", "dense, with relu", "norm alone"])
def test_a_mixed_precision_is_that_of_each_layer(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        last = keras.layers.Flatten(), layers.Dense(2, dtype="float32")
        model = network(*NETWORKS[name](), *last)
    finally:
        keras.config.set_dtype_policy("float32")
    assert steps_of(model)
    expected = ops.convert_to_numpy(model(inputs(), training=False))
    np.testing.assert_allclose(predicted(model, inputs(), 8), expected, rtol=0.03, atol=0.03)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="TensorFlow is not there for it")
def test_images_are_encoded_on_torch_without_tensorflow():
    code = """
import sys, numpy as np
from fmae_zoo import Autoencoder
from tests.conftest import run_python, tiny_spec
model = Autoencoder(tiny_spec())
before = "tensorflow" in sys.modules
model.reconstruct(np.zeros((3, 28, 28, 1), "float32"))
assert ("tensorflow" in sys.modules) == before
print("done")
"""
    done = run_python(code, backend="torch")
    assert "done" in done.stdout, done.stderr[-2000:]
