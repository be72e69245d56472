import keras
import numpy as np
import pytest
from keras import layers, ops, tree

from fmae_zoo import inference
from fmae_zoo.accelerate import plain_keras
from fmae_zoo.errors import ArgumentError
from fmae_zoo.inference import folded, predicted
from fmae_zoo.networks.upsampling import UpsampledConv2D


def network(*own_layers):
    """A network whose BatchNorm has statistics and weights that do something."""
    model = keras.Sequential([keras.Input((6, 8, 3)), *own_layers])
    model = keras.Model(model.inputs[0], model.outputs[0])
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.2, 1.0, w.shape).astype("float32") for w in model.weights])
    return model


def inputs(count=5):
    return np.random.default_rng(0).standard_normal((count, 6, 8, 3)).astype("float32")


NETWORKS = {
    "conv and norm": lambda: [
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
    ],
    "relu that is cut": lambda: [
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(max_value=1.0),
    ],
    "leaky relu": lambda: [
        layers.Conv2D(4, 3),
        layers.BatchNormalization(),
        layers.ReLU(negative_slope=0.5),
    ],
    "upsampled, with relu": lambda: [
        UpsampledConv2D(4),
        layers.BatchNormalization(),
        layers.ReLU(),
    ],
    "dense, with relu": lambda: [
        layers.Flatten(),
        layers.Dense(4),
        layers.BatchNormalization(),
        layers.ReLU(),
    ],
    "no bias": lambda: [layers.Conv2D(4, 3, use_bias=False), layers.BatchNormalization()],
    "no scale": lambda: [layers.Conv2D(4, 3), layers.BatchNormalization(scale=False)],
    "no center": lambda: [layers.Conv2D(4, 3), layers.BatchNormalization(center=False)],
    "upsampled": lambda: [UpsampledConv2D(4, use_bias=False), layers.BatchNormalization()],
    "dense": lambda: [layers.Flatten(), layers.Dense(4), layers.BatchNormalization()],
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
    model = keras.Model(image, layers.Add()([convolution, norm]))
    plain = ops.convert_to_numpy(model(inputs(), training=False))
    fast = ops.convert_to_numpy(folded(model)(ops.convert_to_tensor(inputs())))
    np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kept", ["norm", "norm and relu"])
def test_a_norm_that_is_an_output_is_not_rectified(kept):
    model = network(*NETWORKS["conv and norm"]())
    norm = model.layers[2].output
    cut = keras.Model(model.input, norm if kept == "norm" else [norm, model.output])
    plain = tree.flatten(cut(inputs(), training=False))
    fast = tree.flatten(folded(cut)(ops.convert_to_tensor(inputs())))
    assert len(fast) == len(plain)
    for one, other in zip(fast, plain):
        one, other = ops.convert_to_numpy(one), ops.convert_to_numpy(other)
        assert (other < 0).any() or kept != "norm"
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["conv and norm", "upsampled, with relu"])
def test_weights_that_are_nan_show_in_the_outputs(name):
    model = network(*NETWORKS[name](), layers.Conv2D(4, 3), layers.BatchNormalization())
    kernel = model.layers[1].kernel
    kernel.assign(np.full(kernel.shape, np.nan, "float32"))
    assert np.isnan(predicted(model, inputs(), 500)).all()


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="on PyTorch alone has it none")
def test_gradients_flow_through_a_folded_network_where_what_is_fused_has_none():
    import torch

    model = network(*NETWORKS["upsampled, with relu"]())
    images = torch.from_numpy(inputs()).requires_grad_()
    folded(model)(images).sum().backward()
    assert images.grad.abs().sum() > 0


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


def test_upsampling_and_convolution_in_one_are_those_of_keras():
    layer = UpsampledConv2D(5)
    model = keras.Sequential([keras.Input((6, 8, 3)), layer])
    plain = keras.Sequential(
        [keras.Input((6, 8, 3)), layers.UpSampling2D(2), layers.Conv2D(5, 3, padding="same")]
    )
    weights = [np.random.default_rng(2).standard_normal(w.shape) for w in model.weights]
    model.set_weights(weights)
    plain.set_weights(weights)
    assert model.output_shape == (None, 12, 16, 5)
    outputs = ops.convert_to_numpy(plain(inputs()))
    np.testing.assert_allclose(ops.convert_to_numpy(model(inputs())), outputs, atol=1e-4)
    with plain_keras():
        np.testing.assert_allclose(ops.convert_to_numpy(model(inputs())), outputs, atol=1e-4)


def test_a_layer_of_upsampling_and_convolution_is_built_again_from_its_config():
    layer = UpsampledConv2D(5, use_bias=False, name="up1_conv1")
    again = UpsampledConv2D.from_config(layer.get_config())
    assert (again.filters, again.use_bias, again.name) == (5, False, "up1_conv1")


def test_a_sequential_model_and_one_of_ones_own_are_taken():
    sequential = keras.Sequential([keras.Input((6, 8, 3)), *NETWORKS["conv and norm"]()])

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = sequential

        def call(self, inputs, training=False):
            return self.inner(inputs, training=training)

    own = Own()
    plain = ops.convert_to_numpy(own(inputs()))
    np.testing.assert_allclose(predicted(sequential, inputs(), 500), plain, rtol=1e-5, atol=1e-5)
    fast = ops.convert_to_numpy(folded(own)(ops.convert_to_tensor(inputs())))
    np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-5)


def _as_keras(model, x):
    expected = ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(predicted(model, x, 8), expected, atol=1e-4)


def test_a_convolution_of_channels_first_is_not_folded_over_the_last_axis():
    first = layers.Conv2D(5, 3, padding="same", data_format="channels_first")
    image = keras.Input((5, 5, 5))
    model = keras.Model(image, layers.BatchNormalization()(first(image)))
    assert inference._foldable(model) == []


def test_a_layer_that_is_called_twice_is_not_folded():
    inputs, shared = keras.Input((4,)), layers.Dense(3)
    normed = layers.BatchNormalization(moving_mean_initializer="ones")(shared(inputs))
    model = keras.Model(inputs, layers.Add()([normed, shared(2.0 * inputs)]))
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
