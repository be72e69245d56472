"""The zoo's layers beside Keras' own, with the same configuration and weights."""

import keras
import numpy as np
import pytest
from keras import ops

from fmae_zoo import Autoencoder, layers
from fmae_zoo.layers import plain_keras, stock, without_random_weights
from tests.conftest import TINY_CONV, run_python, tiny_spec

BACKEND = keras.backend.backend()
MAP, FLAT = (6, 8, 4), (7,)
SAME = {"filters": 5, "kernel_size": 3, "padding": "same"}
FIRST = {"data_format": "channels_first"}
CASES = {
    "conv": ("Conv2D", MAP, SAME | {"activation": "relu"}),
    "conv without bias": ("Conv2D", MAP, SAME | {"kernel_size": 5, "use_bias": False}),
    "oblong conv": ("Conv2D", MAP, SAME | {"kernel_size": (1, 3)}),
    "strided conv": ("Conv2D", MAP, SAME | {"strides": 2}),
    "even conv": ("Conv2D", MAP, SAME | {"kernel_size": 2}),
    "valid conv": ("Conv2D", MAP, SAME | {"padding": "valid"}),
    "dilated conv": ("Conv2D", MAP, SAME | {"dilation_rate": 2}),
    "grouped conv": ("Conv2D", MAP, SAME | {"filters": 6, "groups": 2}),
    "channels first conv": ("Conv2D", MAP, SAME | FIRST),
    "bfloat16 conv": ("Conv2D", MAP, SAME | {"dtype": "mixed_bfloat16"}),
    "float16 conv": ("Conv2D", MAP, SAME | {"dtype": "mixed_float16"}),
    "float64 conv": ("Conv2D", MAP, SAME | {"dtype": "float64"}),
    "dense": ("Dense", FLAT, {"units": 3, "activation": "relu"}),
    "dense without bias": ("Dense", FLAT, {"units": 3, "use_bias": False}),
    "dense on maps": ("Dense", MAP, {"units": 3}),
    "bfloat16 dense": ("Dense", FLAT, {"units": 3, "dtype": "mixed_bfloat16"}),
    "float16 dense": ("Dense", FLAT, {"units": 3, "dtype": "mixed_float16"}),
    "float64 dense": ("Dense", FLAT, {"units": 3, "dtype": "float64"}),
    "norm": ("BatchNormalization", MAP, {"momentum": 0.8}),
    "flat norm": ("BatchNormalization", FLAT, {"epsilon": 0.1}),
    "norm of sequences": ("BatchNormalization", (5, 3), {}),
    "norm without scale": ("BatchNormalization", MAP, {"scale": False}),
    "norm without center": ("BatchNormalization", MAP, {"center": False}),
    "norm of another axis": ("BatchNormalization", MAP, {"axis": 1}),
    "norm of the last axis": ("BatchNormalization", MAP, {"axis": 3}),
    "renorm": ("BatchNormalization", FLAT, {"renorm": True}),
    "frozen norm": ("BatchNormalization", MAP, {"trainable": False}),
    "bfloat16 norm": ("BatchNormalization", MAP, {"dtype": "mixed_bfloat16"}),
    "float16 norm": ("BatchNormalization", MAP, {"dtype": "mixed_float16"}),
    "pure bfloat16 norm": ("BatchNormalization", MAP, {"dtype": "bfloat16"}),
    "float64 norm": ("BatchNormalization", MAP, {"dtype": "float64"}),
    "max pool": ("MaxPooling2D", MAP, {"pool_size": 2}),
    "max pool that leaves a rest": ("MaxPooling2D", MAP, {"pool_size": (4, 3)}),
    "same max pool": ("MaxPooling2D", MAP, {"pool_size": 3, "padding": "same"}),
    "strided max pool": ("MaxPooling2D", MAP, {"pool_size": 3, "strides": 2}),
    "channels first max pool": ("MaxPooling2D", MAP, {"pool_size": 2} | FIRST),
    "average pool": ("AveragePooling2D", MAP, {"pool_size": 2}),
    "average pool that leaves a rest": ("AveragePooling2D", MAP, {"pool_size": (4, 3)}),
    "same average pool": ("AveragePooling2D", MAP, {"pool_size": 3, "padding": "same"}),
    "strided average pool": ("AveragePooling2D", MAP, {"pool_size": 3, "strides": 2}),
    "channels first average pool": ("AveragePooling2D", MAP, {"pool_size": 2} | FIRST),
}
SKIPPED = {
    # Each is compiled for seconds, and most go to Keras' own there.
    "jax": ("float64", "float16", "strided", "oblong", "of the last", "frozen", "on maps"),
    # Its kernels for CPUs know channels last alone.
    "tensorflow": ("channels first",),
    "torch": (),
}[BACKEND]
TESTED = [name for name in CASES if not any(word in name for word in SKIPPED)]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape).astype("float32")


def random_weights(model):
    """Give a model weights, positive ones, for a variance is among them."""
    model.set_weights([0.6 + 0.4 * numbers(*w.shape, seed=i) for i, w in enumerate(model.weights)])


def networks(*makers, shape, dtype="float32"):
    """Return a network for each layer, all of the same weights; a gradient goes through it."""
    found = []
    for make in makers:
        first = keras.layers.Dense(shape[-1], dtype=dtype)
        found.append(keras.Sequential([keras.Input(shape), first, make()]))
    random_weights(found[0])
    for other in found[1:]:
        other.set_weights(found[0].get_weights())
    return found


def close(one, other, atol):
    one, other = (ops.convert_to_numpy(ops.cast(each, "float32")) for each in (one, other))
    np.testing.assert_allclose(one, other, atol=atol, rtol=atol)


def assert_same(own, other, shape, atol=1e-5, count=3):
    """Compare outputs, and what a training step makes of weights and statistics."""
    inputs = numbers(count, *shape)
    for training in (False, True):
        before = own.get_weights(), other.get_weights()
        outputs = [model(inputs, training=training) for model in (own, other)]
        close(*outputs, atol)
        for model, weights in zip((own, other), before):
            model.set_weights(weights)
    for model in (own, other):
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.train_on_batch(inputs, numbers(*outputs[0].shape, seed=1))
    for one, two in zip(own.get_weights(), other.get_weights()):
        close(one, two, atol)


@pytest.mark.parametrize("name", TESTED)
def test_a_layer_is_keras_own(name):
    kind, shape, options = CASES[name]
    makers = [lambda at=at: getattr(at, kind)(**options) for at in (layers, keras.layers)]
    dtype = options.get("dtype", "float32")
    own, other = networks(*makers, shape=shape, dtype=dtype)
    atol = {"32": 2e-5, "64": 2e-5}.get(dtype[-2:], 0.05) if "bfloat" not in dtype else 0.05
    assert_same(own, other, shape, atol)
    assert type(own.layers[1]) is getattr(layers, kind)


@pytest.mark.parametrize(
    ("kind", "options", "shape"), [("Dense", {"units": 3}, FLAT), ("Conv2D", SAME, MAP)]
)
def test_low_rank_adapters_are_trained_as_keras_does(kind, options, shape):
    own, other = networks(
        *[lambda at=at: getattr(at, kind)(**options) for at in (layers, keras.layers)], shape=shape
    )
    for model in (own, other):
        model.layers[1].enable_lora(2)
    random_weights(own)
    other.set_weights(own.get_weights())
    assert_same(own, other, shape)


@pytest.mark.parametrize("kind", ["Dense", "Conv2D", "BatchNormalization", "MaxPooling2D"])
def test_whole_numbers_are_taken_where_keras_takes_them(kind):
    options = {"Dense": {"units": 3}, "Conv2D": SAME}.get(kind, {})
    pixels = np.arange(2 * 6 * 8 * 4, dtype="uint8").reshape(2, 6, 8, 4)
    found = []
    for at in (layers, keras.layers):
        layer = getattr(at, kind)(**options)
        layer.build((None, *MAP))
        random_weights(layer)
        try:
            found.append(layer(pixels))
        except Exception:  # Each backend has its own.
            found.append(None)
    if found[1] is not None:
        close(found[0], found[1], 1e-3)


@pytest.mark.parametrize("shape", [FLAT, MAP])
def test_a_norm_leaves_out_what_is_masked(shape):
    inputs = numbers(4, *shape)
    mask = np.arange(4) < 2
    mask = np.broadcast_to(mask.reshape(4, *[1] * (len(shape) - 1)), (4, *shape[:-1]))
    pair = [at.BatchNormalization(momentum=0.5) for at in (layers, keras.layers)]
    close(*[layer(inputs, training=True, mask=mask) for layer in pair], 1e-5)
    for one, other in zip(*[layer.get_weights() for layer in pair]):
        close(one, other, 1e-5)


def test_a_frozen_norm_keeps_its_statistics():
    layer = layers.BatchNormalization()
    layer.build((None, *MAP))
    layer.trainable = False
    layer(np.full((2, *MAP), 9.0, "float32"), training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.moving_mean), np.zeros(4))


@pytest.mark.parametrize("shape", [FLAT, (1, 1, 3)])
def test_a_batch_of_one_value_a_channel_is_normed(shape):
    makers = [at.BatchNormalization for at in (layers, keras.layers)]
    assert_same(*networks(*makers, shape=shape), shape, count=1)


@pytest.mark.parametrize("options", [{}, {"use_bias": False, "activation": "relu"}])
def test_upsampling_and_convolution_in_one_are_keras_two(options):
    def plain():
        return keras.Sequential(
            [
                keras.layers.UpSampling2D(2),
                keras.layers.Conv2D(5, 3, padding="same", **options),
            ]
        )

    own, other = networks(lambda: layers.UpsampledConv2D(5, **options), plain, shape=(5, 8, 4))
    assert own.output_shape == other.output_shape == (None, 10, 16, 5)
    assert_same(own, other, (5, 8, 4), 1e-4)
    if not options:
        # A single image takes another way on PyTorch.
        inputs = numbers(1, 5, 8, 4)
        close(own(inputs), other(inputs), 1e-4)


def test_maps_of_any_size_are_upsampled_and_pooled():
    image = keras.Input((None, None, 3))
    model = keras.Model(image, layers.AveragePooling2D(2)(layers.UpsampledConv2D(5)(image)))
    assert model.output_shape == (None, None, None, 5)
    for height, width in ((4, 6), (5, 3)):
        assert model(numbers(2, height, width, 3)).shape == (2, height, width, 5)


MAKERS = {
    "Conv2D": lambda: layers.Conv2D(4, 5, strides=2, use_bias=False, name="one"),
    "UpsampledConv2D": lambda: layers.UpsampledConv2D(4, activation="relu", name="one"),
    "Dense": lambda: layers.Dense(4, kernel_regularizer="l2", name="one"),
    "BatchNormalization": lambda: layers.BatchNormalization(momentum=0.7, scale=False, name="one"),
    "MaxPooling2D": lambda: layers.MaxPooling2D(3, padding="same", name="one"),
    "AveragePooling2D": lambda: layers.AveragePooling2D(3, strides=1, name="one"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_layer_comes_back_from_its_config(kind):
    layer = MAKERS[kind]()
    for again in (
        type(layer).from_config(layer.get_config()),
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)),
    ):
        assert type(again) is getattr(layers, kind)
        assert again.get_config() == layer.get_config()


def whole_network():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.MaxPooling2D(2, name="max")(keras.layers.ReLU(name="relu")(x))
    x = layers.UpsampledConv2D(4, name="up")(layers.AveragePooling2D(2, name="mean")(x))
    x = layers.Dense(2, name="dense")(keras.layers.Flatten(name="flat")(x))
    model = keras.Model(image, x)
    random_weights(model)
    return model


def classes_of(model):
    for layer in model.layers:
        yield type(layer)
        if hasattr(layer, "layers"):
            yield from classes_of(layer)


def test_a_stock_copy_is_read_by_a_keras_that_knows_no_zoo(tmp_path):
    model = whole_network()
    copy, images = stock(model), numbers(3, 8, 8, 3)
    assert not [kind for kind in classes_of(copy) if not kind.__module__.startswith("keras")]
    expected = ops.convert_to_numpy(model(images, training=False))
    close(copy(images, training=False), expected, 1e-5)
    copy.save(tmp_path / "model.keras")
    np.savez(tmp_path / "arrays.npz", images=images, expected=expected)
    code = """
import sys, keras, numpy as np
model = keras.saving.load_model(f"{sys.argv[1]}/model.keras")
arrays = np.load(f"{sys.argv[1]}/arrays.npz")
outputs = keras.ops.convert_to_numpy(model(arrays["images"], training=False))
np.testing.assert_allclose(outputs, arrays["expected"], atol=1e-5, rtol=1e-5)
assert not [name for name in sys.modules if name.startswith("fmae_zoo")]
"""
    done = run_python(code, str(tmp_path), backend=BACKEND)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("frozen", ["conv", "norm", "up"])
def test_a_stock_copy_has_weights_of_its_own_and_the_same_frozen_layers(frozen):
    model = whole_network()
    model.get_layer(frozen).trainable = False
    copy, before = stock(model), model.get_weights()
    assert [w.shape for w in copy.trainable_weights] == [w.shape for w in model.trainable_weights]
    copy.set_weights([0.0 * weight for weight in before])
    for one, other in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_weights_that_a_file_will_give_begin_as_zeros():
    with without_random_weights():
        blank = Autoencoder(tiny_spec(network=TINY_CONV))
    usual = Autoencoder(tiny_spec(network=TINY_CONV))
    for part in ("encoder", "decoder"):
        for one, other in zip(getattr(blank, part).layers, getattr(usual, part).layers):
            if hasattr(one, "kernel_initializer"):
                assert not ops.convert_to_numpy(one.kernel).any()
                assert ops.convert_to_numpy(other.kernel).any()
                config = one.get_config()["kernel_initializer"]
                assert config == other.get_config()["kernel_initializer"]


@pytest.mark.parametrize("network", [{"type": "dense", "units": [8, 6]}, TINY_CONV])
def test_plain_keras_builds_the_same_network_of_keras_layers(network):
    own = Autoencoder(tiny_spec(network=network), seed=2)
    with plain_keras():
        plain = Autoencoder(tiny_spec(network=network), seed=2)
    for part in ("encoder", "decoder"):
        kinds = classes_of(getattr(plain, part))
        assert not [kind for kind in kinds if not kind.__module__.startswith("keras")]
        pairs = zip(getattr(own, part).get_weights(), getattr(plain, part).get_weights())
        assert all(np.array_equal(one, other) for one, other in pairs)
