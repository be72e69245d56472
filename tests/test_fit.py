"""`fit` and `evaluate` of the zoo do what Keras' own do with models of Keras' own layers."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import ops

from fmae_zoo import layers
from fmae_zoo.layers import plain_keras
from fmae_zoo.training.optimizer import ConvMuon
from fmae_zoo.training.trainable import Trainable
from tests.conftest import TINY_CONV
from tests.fits import (
    BACKEND,
    IMAGES,
    LABELS,
    MAPS,
    Graph,
    Net,
    X,
    Y,
    assert_as_keras,
    assert_same,
    autoencoder,
    convolutional,
    sgd,
    small,
    taken,
    value_of,
)

OPTIMIZERS = {
    "adamw": lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1, epsilon=1e-2),
    "averaged": lambda: keras.optimizers.AdamW(1e-2, epsilon=1e-2, use_ema=True),
    "accumulated": lambda: keras.optimizers.Adam(1e-2, epsilon=1e-2, gradient_accumulation_steps=3),
    "scheduled": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(1e-2, 10), epsilon=1e-2, global_clipnorm=0.1
    ),
    "muon": lambda: ConvMuon(1e-3, adam_weight_decay=0.1, epsilon=1e-2),
}
# On JAX each is compiled for a while, and one tells as much as all.
TESTED = ["averaged"] if BACKEND == "jax" else list(OPTIMIZERS)

KINDS = {
    "deterministic": {},
    "variational": {
        "latent": {"type": "gaussian", "size": 4},
        "objective": {"type": "elbo", "kl_warmup_steps": 30},
    },
    "batch norm": {"network": {"type": "dense", "units": [32, 16], "batch_norm": True}},
    "convolutional": {"network": TINY_CONV},
}


fit, evaluate = Trainable.fit, Trainable.evaluate


def test_a_classifier_of_maps_is_trained_as_by_keras():
    found = assert_as_keras(
        convolutional, MAPS, LABELS, epochs=3, validation_data=(MAPS[:9], LABELS[:9]), atol=2e-3
    )
    assert list(found)[:4] == ["accuracy", "loss", "val_accuracy", "val_loss"]


@pytest.mark.parametrize("name", TESTED)
def test_an_optimizer_is_keras_own(name):
    # Muon makes directions of gradients that are nothing but rounding.
    atol = 2e-3 if name == "muon" else 2e-4
    assert_as_keras(lambda: small(optimizer=OPTIMIZERS[name]), X, Y, batch_size=4, atol=atol)


@pytest.mark.parametrize("kind", KINDS)
def test_an_autoencoder_is_trained_as_by_plain_keras(kind):
    checks = {"validation_data": (IMAGES[:20], IMAGES[:20])}
    images = IMAGES[:37] if kind == "convolutional" else IMAGES
    with plain_keras():
        plain = taken(keras.Model.fit, autoencoder(**KINDS[kind]), images, **checks)
    model = autoencoder(**KINDS[kind])
    found = taken(fit, model, images, **checks)
    assert_same(plain, found, atol=5e-4)
    assert value_of(model.steps) == 2 * -(-len(images) // 8)
    assert value_of(model.first_bad_step) == -1


def test_a_target_that_is_a_dictionary_is_taken_as_by_keras():
    target, checks = {"image": IMAGES[::-1]}, (IMAGES[:20], {"image": IMAGES[:20]})
    assert_as_keras(autoencoder, IMAGES, target, validation_data=checks, epochs=1)


def test_mixed_precision_follows_keras():
    found = []
    for function in (keras.Model.fit, fit):
        model = autoencoder(dtype="mixed_bfloat16", **KINDS["batch norm"])
        found.append(taken(function, model, IMAGES)["loss"])
    np.testing.assert_allclose(*found, rtol=0.05)


def test_evaluate_gives_the_figures_of_keras_in_their_order():
    model, options = convolutional(), {"batch_size": 8, "verbose": 0}
    plain = keras.Model.evaluate(model, MAPS, LABELS, **options)
    np.testing.assert_allclose(plain, model.evaluate(MAPS, LABELS, **options), rtol=1e-4)
    named = evaluate(model, MAPS, LABELS, return_dict=True, **options)
    expected = keras.Model.evaluate(model, MAPS, LABELS, return_dict=True, **options)
    assert {k: pytest.approx(v, rel=1e-4) for k, v in expected.items()} == named
    assert all(type(value) is float for value in named.values())
    single = small().evaluate(X, Y, verbose=0)
    assert single == pytest.approx(keras.Model.evaluate(small(), X, Y, verbose=0))


def test_a_metric_of_several_values_is_kept_as_it_is():
    one_hot = keras.utils.to_categorical(LABELS, 3)
    model = convolutional()
    model.compile("sgd", "categorical_crossentropy", metrics=[keras.metrics.F1Score()])
    history = model.fit(MAPS, one_hot, batch_size=8, verbose=0, validation_data=(MAPS, one_hot))
    assert np.shape(history.history["val_f1_score"][0]) == (3,)
    assert model.evaluate(MAPS, one_hot, verbose=0, return_dict=True)["f1_score"].shape == (3,)


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_image_is_trained_on_once_an_epoch(shuffle):
    model = Net([keras.Input((1,)), layers.Dense(1, use_bias=False)])
    # The gradient of the sum of squares at zero is known, and the same in any order.
    model.compile(sgd(1e-6), loss="mse")
    model.set_weights([np.zeros((1, 1), "float32")])
    x = np.arange(1, 13, dtype="float32")[:, None]
    model.fit(x, x, batch_size=4, shuffle=shuffle, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], 1e-6 * 2 * np.sum(x**2) / 4, rtol=2e-3)


def test_shuffling_gives_each_epoch_an_order_of_its_own():
    orders = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        orders.append(taken(fit, small(), X, Y, shuffle=True, epochs=3)["loss"])
    in_order = taken(fit, small(), X, Y, epochs=3)["loss"]
    assert orders[0] == orders[1] != in_order


@pytest.mark.parametrize(
    "options",
    [
        {"sample_weight": np.linspace(0, 1, 21, dtype="float32")},
        {"validation_split": 0.3},
        {"class_weight": {0: 1.0, 1: 2.0, 2: 1.0}},
        {"steps_per_epoch": 1, "epochs": 1},
        {"validation_freq": 2, "validation_data": (MAPS, LABELS)},
        {"validation_data": (MAPS, LABELS, np.ones(21, "float32")), "validation_batch_size": 5},
    ],
)
def test_options_of_fit_mean_what_they_mean_to_keras(options):
    found = taken(fit, convolutional(), MAPS, LABELS, **options)
    assert_same(taken(keras.Model.fit, convolutional(), MAPS, LABELS, **options), found, 2e-3)


def test_a_graph_leaves_the_other_models_as_they_were():
    image = keras.Input((4,))
    Graph(image, layers.Dense(2)(image))
    assert autoencoder().encode(IMAGES[:2]).shape == (2, 4)
    assert small().count_params() == 37


@pytest.mark.parametrize("compiled", [{"run_eagerly": True}, {"steps_per_execution": 2}])
def test_models_that_are_compiled_otherwise_train_as_with_keras(compiled):
    if BACKEND == "torch" and "steps_per_execution" in compiled:
        pytest.skip("Keras refuses it")
    assert_as_keras(lambda: small(**compiled), X, Y)


def test_a_model_that_is_compiled_again_trains_with_its_new_optimizer():
    model = small()
    model.fit(X, Y, batch_size=8, verbose=0)
    before = model.get_weights()
    model.compile(sgd(0.0), loss="mse")
    model.fit(X, Y, batch_size=8, verbose=0)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


@pytest.mark.parametrize("kind", ["deterministic", "variational"])
def test_a_second_fit_goes_on_from_the_first(kind):
    one, other = autoencoder(**KINDS[kind]), autoencoder(**KINDS[kind])
    taken(fit, one, IMAGES, epochs=1)
    again, whole = taken(fit, one, IMAGES, epochs=1), taken(fit, other, IMAGES, epochs=2)
    assert_same(again, {k: v if k.startswith("weight") else v[-1:] for k, v in whole.items()})


def test_training_goes_on_at_the_epoch_that_is_asked_for():
    history = small().fit(X, Y, epochs=4, initial_epoch=2, verbose=0)
    assert history.epoch == [2, 3]


def test_integers_are_handed_on_as_they_are():
    def make():
        keras.utils.set_random_seed(0)
        image = keras.Input((4,), dtype="uint8")
        scaled = keras.layers.Rescaling(1 / 255)(image)
        model = Graph(image, layers.Dense(2)(scaled))
        model.compile(sgd(), "mse")
        return model

    assert_as_keras(make, (255 * X).astype("uint8"), Y)


def test_arrays_that_are_read_only_or_run_backwards_are_taken():
    x, y = X.copy(), Y[::-1]
    x.flags.writeable = False
    assert_as_keras(small, x, y)


def test_a_layer_may_write_to_its_input_and_the_array_stays():
    x = X.copy()
    small(keras.layers.ReLU(), layers.Dense(2)).fit(x, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(x, X)


def test_weights_that_were_set_survive_a_fit_that_fails_at_once():
    model = convolutional()
    model.fit(MAPS, LABELS, batch_size=8, verbose=0)
    model.set_weights([np.full_like(weight, 7.0) for weight in model.get_weights()])
    with pytest.raises(Exception):  # noqa: B017, PT011 (each backend has its own)
        model.fit(MAPS, np.zeros((21, 5, 5), "float32"), batch_size=8, verbose=0)
    for variable in model.trainable_variables:
        np.testing.assert_array_equal(value_of(variable), 7.0)
    model.fit(MAPS, LABELS, batch_size=8, verbose=0)


@pytest.mark.parametrize("method", ["predict", "evaluate", "fit"])
def test_an_error_of_a_source_leaves_a_model_its_weights(method):
    model, before = small(), small().get_weights()

    def breaks():
        yield np.zeros((2, 4), "float32"), np.zeros((2, 2), "float32")
        raise ValueError("broken")

    # Keras' own predict may leave a model on JAX without values; encode and fit do not.
    if method == "predict" and BACKEND == "jax":
        pytest.skip("Keras' own")
    with pytest.raises(Exception, match="broken"):
        getattr(model, method)(breaks(), verbose=0)
    for one, other in zip(before, model.get_weights()):
        assert method == "fit" or np.array_equal(one, other)
        assert np.isfinite(other).all()
    model.fit(X, Y, verbose=0)


def test_an_output_that_a_relu_reads_too_is_not_overwritten():
    def make():
        image = keras.Input((4,))
        normed = layers.BatchNormalization()(image)
        model = Graph(image, {"b": normed, "r": keras.layers.ReLU()(normed)})
        model.compile(sgd(), "mse")
        return model

    assert_as_keras(make, X - 0.5, {"b": X, "r": X})


def test_constants_and_integers_in_a_graph_are_as_keras_has_them():
    def make():
        keras.utils.set_random_seed(0)
        numbers = keras.Input(batch_shape=(4, 1, 2))
        flat = keras.layers.Flatten(dtype="mixed_bfloat16")(ops.cast(numbers, "int32"))
        pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(3000, 3)(flat))
        joined = ops.concatenate([pooled, ops.ones((4, 1))], axis=-1)
        model = Graph(numbers, layers.Dense(1)(joined))
        model.compile(sgd(), "mse")
        return model

    x = np.array([[[1001, 2003]]] * 8, "float32")
    assert_as_keras(make, x, np.ones((8, 1), "float32"), batch_size=4)


def test_what_is_trained_may_change_between_two_calls_of_evaluate():
    """The state has as many arrays then, of other shapes."""
    model, found = small(), []
    for frozen in (0, 1):
        for number, layer in enumerate(model.layers):
            layer.trainable = number != frozen
        found.append(model.evaluate(X, Y, batch_size=8, verbose=0))
    assert found[0] == pytest.approx(found[1])


def test_a_layer_that_is_frozen_between_two_fits_stays_as_it_is():
    model = autoencoder()
    taken(fit, model, IMAGES, epochs=1)
    layer = model.encoder.layers[2]
    layer.trainable = False
    model.compile(sgd())
    before = layer.get_weights()
    taken(fit, model, IMAGES, epochs=1)
    np.testing.assert_array_equal(before[0], layer.get_weights()[0])


@pytest.mark.skipif(BACKEND == "torch", reason="nothing is compiled there")
def test_a_step_is_traced_once_for_each_kind_of_batch():
    class Counted(Net):
        def train_step(self, *args, **options):
            traced.append(1)
            return super().train_step(*args, **options)

    traced, model = [], small(kind=Counted)
    model.fit(X, Y, batch_size=8, epochs=3, verbose=0)
    once = len(traced)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    assert len(traced) == once <= 2


@pytest.mark.skipif(BACKEND != "torch", reason="CPUs are slow at them with PyTorch alone")
def test_moments_too_small_to_matter_become_zeros():
    model = autoencoder(optimizer=lambda: keras.optimizers.Adam(1e-3))
    taken(fit, model, IMAGES, epochs=1)
    moments = [each for each in model.optimizer.variables if each.shape]
    moments[0].assign(np.full(moments[0].shape, 1e-40, "float32"))
    model.fit(np.zeros_like(IMAGES[:8]), batch_size=8, verbose=0)
    found = np.abs(value_of(moments[0]))
    assert not np.any((found > 0) & (found < 1e-38))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow alone warns")
def test_many_models_that_train_make_tensorflow_warn_of_no_retracing(tensorflow_log):
    for _ in range(7):
        autoencoder().fit(IMAGES[:64], batch_size=8, verbose=0)
    assert "retracing" not in tensorflow_log()


def test_arrays_that_were_trained_on_are_let_go():
    """TensorFlow keeps each function that a pipeline calls for as long as the process lives."""
    kept, model = [], autoencoder()
    for _ in range(3):
        images = IMAGES[:16].copy()
        kept.append(weakref.ref(images))
        model.fit(images, IMAGES[:16], batch_size=8, verbose=0)
        model.evaluate(images, IMAGES[:16], batch_size=8, verbose=0)
        del images
        gc.collect()
    # Keras' own trainer may hold what came last.
    assert sum(each() is not None for each in kept) <= 1


def test_a_model_without_an_optimizer_trains_by_a_step_of_its_own():
    class Still(Net):
        def train_step(self, *args):
            steps.append(1)
            return super().test_step(*args)

    steps = []
    model = small(kind=Still)
    model.compile(optimizer=None, loss="mse")
    if BACKEND == "jax":
        pytest.skip("Keras' own trainer wants one")
    model.fit(X, Y, batch_size=21, verbose=0)
    assert steps
