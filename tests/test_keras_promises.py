"""What users of Keras expect of the models here: their own classes, losses and settings."""

import keras
import numpy as np
import pytest
from keras import ops

from fmae_zoo import Autoencoder, layers
from fmae_zoo.errors import ArgumentError
from fmae_zoo.inference import predicted
from tests.conftest import TINY_CONV, run_python, tiny_spec
from tests.fits import (
    BACKEND,
    IMAGES,
    Graph,
    Net,
    X,
    Y,
    adam,
    assert_as_keras,
    autoencoder,
    sgd,
    small,
    value_of,
)

FLOATS = (IMAGES[:20] / 255.0).astype("float32")
ALL = {"batch_size": 8, "shuffle": False, "verbose": 0}


class OwnStep(Net):
    """Its loss is ten times the usual one, by Keras' public step."""

    def compute_loss(self, *args, **options):
        return 10.0 * super().compute_loss(*args, **options)


def test_a_loss_of_a_subclass_is_trained_with():
    def move(kind):
        model = small(kind=kind, optimizer=lambda: sgd(1e-3))
        before = model.get_weights()[-1]
        model.fit(X, Y, batch_size=21, verbose=0)
        return model.get_weights()[-1] - before

    np.testing.assert_allclose(move(OwnStep), 10.0 * move(Net), rtol=1e-3, atol=1e-7)
    assert_as_keras(lambda: small(kind=OwnStep), X, Y)


@pytest.mark.parametrize("method", ["train_step", "test_step", "evaluate"])
def test_a_method_of_a_subclass_is_asked(method):
    def asked(self, *args, **options):
        calls.append(1)
        return getattr(super(Own, self), method)(*args, **options)

    class Own(Net):
        pass

    setattr(Own, method, asked)
    calls = []
    small(kind=Own).fit(X, Y, **ALL, validation_data=(X, Y))
    assert calls


@pytest.mark.parametrize("name", ["make_train_function", "make_test_function"])
def test_a_function_of_steps_that_a_subclass_makes_is_used(name):
    def made(self, force=False):
        calls.append(1)
        return getattr(super(Own, self), name)(force)

    class Own(Net):
        pass

    setattr(Own, name, made)
    calls = []
    small(kind=Own).fit(X, Y, **ALL, validation_data=(X, Y))
    assert calls


def test_a_step_that_was_put_on_the_model_itself_is_taken():
    def step(*args):
        calls.append(1)
        return own(*args)

    calls, model = [], small()
    own = model.train_step
    model.train_step = step
    model.fit(X, Y, **ALL)
    assert calls


def test_a_layer_whose_call_was_replaced_is_trained_with_it():
    def make():
        layer = layers.Dense(2, kernel_initializer="ones")
        model = small(layer)
        own = layer.call
        layer.call = lambda *args, **options: 3.0 * own(*args, **options)
        return model

    assert_as_keras(make, X, Y)
    model = make()
    np.testing.assert_allclose(predicted(model, X, 8), ops.convert_to_numpy(model(X)), atol=1e-5)


def test_a_graph_with_a_call_of_its_own_keeps_it():
    class Doubled(Graph):
        def call(self, inputs, training=None, mask=None):
            return 2.0 * super().call(inputs, training=training)

    def make():
        keras.utils.set_random_seed(0)
        image = keras.Input((4,))
        model = Doubled(image, layers.Dense(2)(image))
        model.compile(sgd(), "mse")
        return model

    assert_as_keras(make, X, Y)
    model = make()
    np.testing.assert_allclose(predicted(model, X, 8), ops.convert_to_numpy(model(X)), atol=1e-6)


def test_samples_without_weight_move_nothing():
    for model, data in ((small(), (X, Y)), (autoencoder(), (IMAGES[:21],))):
        before = list(map(value_of, model.trainable_variables))
        model.fit(*data, sample_weight=np.zeros(21, "float32"), **ALL)
        for one, other in zip(before, model.trainable_variables):
            np.testing.assert_array_equal(one, value_of(other))


def test_weighted_samples_give_the_weighted_loss():
    weight = np.linspace(0.0, 2.0, 20).astype("float32")
    model = autoencoder(metrics=None)
    images = model.reconstruct(FLOATS)
    expected = (weight * ((images - FLOATS) ** 2).sum((1, 2, 3))).mean()
    found = model.evaluate(FLOATS, sample_weight=weight, batch_size=20, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    assert_as_keras(autoencoder, FLOATS, FLOATS, sample_weight=weight)
    assert_as_keras(small, X, Y, sample_weight=np.arange(21.0) / 10)


def test_penalties_of_layers_are_in_the_loss():
    l2 = keras.regularizers.L2(1.0)
    for kind in ("kernel", "activity"):
        layer = layers.Dense(2, **{f"{kind}_regularizer": l2})
        model = small(layer)
        outputs = ops.convert_to_numpy(model(X[:8]))
        penalty = (model.get_weights()[0] ** 2).sum()
        if kind == "activity":
            penalty = (outputs**2).sum(axis=1).mean()
        expected = ((outputs - Y[:8]) ** 2).mean() + penalty
        assert model.evaluate(X[:8], Y[:8], batch_size=8, verbose=0) == pytest.approx(
            expected, rel=1e-4
        )
        assert_as_keras(
            lambda kind=kind: small(layers.Dense(2, **{f"{kind}_regularizer": l2})), X, Y
        )


class Penalised(Autoencoder):
    def call(self, images, training=False):
        outputs = super().call(images, training=training)
        self.add_loss(100.0 * ops.mean(ops.abs(outputs["code"])))
        return outputs


def test_what_a_subclass_adds_is_in_the_loss_and_is_trained_on():
    plain, model = autoencoder(), autoencoder(Penalised)
    options = {"batch_size": 20, "verbose": 0, "return_dict": True}
    usual, found = plain.evaluate(FLOATS, **options), model.evaluate(FLOATS, **options)
    penalty = 100.0 * np.abs(model.encode(FLOATS)).mean()
    assert found["reconstruction"] == pytest.approx(usual["reconstruction"], rel=1e-4)
    assert found["loss"] - found["reconstruction"] == pytest.approx(penalty, rel=1e-3)
    for each in (plain, model):
        each.fit(FLOATS, batch_size=20, epochs=3, verbose=0)
    assert np.abs(model.encode(FLOATS)).mean() < np.abs(plain.encode(FLOATS)).mean()
    assert_as_keras(lambda: autoencoder(Penalised), FLOATS)


@pytest.mark.parametrize("options", [{"loss": "mse"}, {"loss_weights": [1.0]}])
def test_another_loss_of_an_autoencoder_is_refused_by_name(options):
    with pytest.raises(ArgumentError, match="squared_error: compile it without a loss"):
        Autoencoder(tiny_spec()).compile("sgd", **options)


def test_metrics_by_output_are_refused():
    with pytest.raises(ArgumentError, match="as a list"):
        Autoencoder(tiny_spec()).compile("sgd", metrics={"code": ["mse"]})


@pytest.mark.parametrize("target", [None, FLOATS[::-1].copy()])
def test_metrics_compare_images_with_their_reconstructions(target):
    model = autoencoder(metrics=["mae", keras.metrics.MeanSquaredError(name="squares")])
    truth = FLOATS if target is None else target
    error = model.reconstruct(FLOATS) - truth
    found = model.evaluate(FLOATS, target, batch_size=8, verbose=0, return_dict=True)
    assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert found["squares"] == pytest.approx((error**2).mean(), rel=1e-4)
    history = model.fit(IMAGES, **ALL, validation_data=(FLOATS, truth)).history
    assert set(history) == {
        prefix + name
        for prefix in ("", "val_")
        for name in ("loss", "reconstruction", "mae", "squares")
    }
    assert_as_keras(lambda: autoencoder(metrics=["mae"]), FLOATS, target)


def test_each_metric_is_there_once():
    latent = {"type": "gaussian", "size": 4}
    model = autoencoder(latent=latent, objective={"type": "elbo"})
    assert [metric.name for metric in model.metrics] == ["loss", "reconstruction", "kl"]


@pytest.mark.skipif(BACKEND != "torch", reason="JAX and TensorFlow call it while they trace")
def test_a_metric_of_ones_own_is_called_for_each_batch():
    class Count(keras.metrics.Sum):
        def update_state(self, *args, **options):
            calls.append(1)
            return super().update_state(1.0)

    calls = []
    history = autoencoder(metrics=[Count(name="count")]).fit(IMAGES, **ALL).history
    assert history["count"] == [21.0]
    assert len(calls) >= 21


@pytest.mark.skipif(BACKEND != "torch", reason="torch's compiler needs one for C++")
def test_steps_that_are_to_be_compiled_go_to_keras(tmp_path):
    code = """
import numpy as np
from tests.fits import X, Y, small
found = small(jit_compile=True).fit(X, Y, epochs=1, batch_size=21, verbose=0).history
assert np.isfinite(found["loss"]).all()
print("trained")
"""
    import shutil

    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("no compiler for C++")
    done = run_python(code, backend="torch")
    assert "trained" in done.stdout, done.stderr[-2000:]


@pytest.mark.parametrize("setting", ["channels_first", "float64"])
def test_a_setting_of_keras_changes_no_reconstruction_and_trains(setting, tmp_path):
    if (BACKEND, setting) == ("jax", "float64"):
        pytest.skip("JAX has no float64 unless it is asked for")
    expected = autoencoder(network=TINY_CONV)
    np.savez(tmp_path / "in.npz", *expected.get_weights(), images=IMAGES[:16])
    np.save(tmp_path / "out.npy", expected.reconstruct(IMAGES[:16]))
    code = """
import sys, keras, numpy as np
if sys.argv[2] == "float64":
    keras.config.set_floatx("float64")
else:
    keras.config.set_image_data_format(sys.argv[2])
from fmae_zoo import Autoencoder
from tests.conftest import TINY_CONV, tiny_spec
model = Autoencoder(tiny_spec(network=TINY_CONV), seed=3)
arrays = np.load(f"{sys.argv[1]}/in.npz")
model.set_weights([arrays[f"arr_{i}"] for i in range(len(model.weights))])
found = model.reconstruct(arrays["images"])
np.testing.assert_allclose(found, np.load(f"{sys.argv[1]}/out.npy"), atol=1e-5)
model.compile("adam")
for images in (arrays["images"], arrays["images"] / 255.0):
    history = model.fit(images, batch_size=8, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0], history
assert np.isfinite(model.evaluate(arrays["images"], verbose=0)).all()
print("done")
"""
    done = run_python(code, str(tmp_path), setting, backend=BACKEND)
    assert "done" in done.stdout, done.stderr[-3000:]


def test_the_encoders_of_two_entries_go_into_one_model():
    pair = [
        Autoencoder(tiny_spec(name=name), seed=i) for i, name in enumerate(("one-ae", "two-ae"))
    ]
    image = keras.Input((28, 28, 1))
    joined = keras.layers.Concatenate()([each.encoder(image) for each in pair])
    model = keras.Model(image, joined)
    codes = np.concatenate([each.encode(FLOATS) for each in pair], axis=1)
    np.testing.assert_allclose(model.predict(FLOATS, verbose=0), codes, atol=1e-5)


def test_a_seed_of_keras_makes_a_variational_training_the_same_twice():
    found = []
    for _ in range(2):
        keras.utils.set_random_seed(4)
        changes = {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "elbo"}}
        model = autoencoder(**changes)
        found.append(model.fit(IMAGES, batch_size=8, verbose=0).history["loss"])
    assert found[0] == found[1]


def test_weights_that_are_set_between_two_fits_are_trained_on():
    model = autoencoder(optimizer=lambda: sgd(0.0))
    model.fit(FLOATS, **ALL)
    kernel = model.encoder.layers[2].kernel
    kernel.assign(0.0 * value_of(kernel))
    model.fit(FLOATS, **ALL)
    assert not value_of(kernel).any()
    model.compile(adam())
    model.fit(FLOATS, **ALL)
    assert np.isfinite(value_of(kernel)).all()
