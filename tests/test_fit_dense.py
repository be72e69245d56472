"""Several steps in a call: in a loop of XLA, or from a graph that torch's tracer made."""

import itertools

import keras
import numpy as np
import pytest

from fmae_zoo import Autoencoder
from fmae_zoo.accelerate import plain_keras
from fmae_zoo.optimizer import ConvMuon
from tests.conftest import run_python, tiny_spec

ON_TORCH = pytest.mark.skipif(keras.backend.backend() != "torch", reason="graphs of torch alone")
IMAGES = np.random.default_rng(0).integers(0, 256, (165, 28, 28, 1), dtype=np.uint8)
"""Of 8 images a batch: two groups of eight, one of four, and a batch of 5."""

KINDS = {
    "deterministic": {},
    "variational": {
        "latent": {"type": "gaussian", "size": 4},
        "objective": {"type": "elbo", "kl_warmup_steps": 30},
    },
    "batch norm": {"network": {"type": "dense", "units": [32, 16], "batch_norm": True}},
}


def adam():
    return keras.optimizers.Adam(1e-3, epsilon=1e-2)


OPTIMIZERS = {
    "muon": lambda: ConvMuon(1e-3, adam_weight_decay=0.1, epsilon=1e-2),
    "averaged": lambda: keras.optimizers.AdamW(1e-3, epsilon=1e-2, use_ema=True),
    "scheduled": lambda: keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(1e-3, 40), epsilon=1e-2, global_clipnorm=1.0
    ),
    "accumulated": lambda: keras.optimizers.Adam(1e-3, epsilon=1e-2, gradient_accumulation_steps=3),
}


def built(kind="variational", model=Autoencoder, optimizer=adam, **options):
    compiled = model(tiny_spec(**KINDS[kind]), seed=3, **options)
    compiled.compile(optimizer())
    return compiled


def trained(model, epochs=2, images=IMAGES, **options):
    options = {"batch_size": 8, "epochs": epochs, "shuffle": False, "verbose": 0} | options
    history = model.fit(images, **options).history
    return history | {str(number): weight for number, weight in enumerate(model.get_weights())}


def assert_same(one, other, atol=5e-4):
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], rtol=1e-3, atol=atol, err_msg=name)


def is_interpreted(graph):
    return "_interpreted" in getattr(graph._operations, "__qualname__", "")


def graphs(model):
    return list(model._fmae_zoo_steps["graphs"].values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_dense_autoencoder_is_trained_as_by_plain_keras(kind):
    with plain_keras():
        plain = trained(built(kind))
    assert_same(plain, trained(built(kind)))


# On JAX one optimizer tells as much as all: it has no update of its own there.
@pytest.mark.parametrize("name", ["muon"] if keras.backend.backend() == "jax" else OPTIMIZERS)
def test_other_optimizers_are_those_of_plain_keras(name):
    with plain_keras():
        plain = trained(built("batch norm", optimizer=OPTIMIZERS[name]))
    # Muon makes directions of gradients that are nothing but rounding.
    atol = 2e-3 if name == "muon" else 5e-4
    assert_same(plain, trained(built("batch norm", optimizer=OPTIMIZERS[name])), atol)


def test_another_target_is_that_of_plain_keras():
    target, check = {"image": IMAGES[::-1]}, (IMAGES[:20], {"image": IMAGES[:20]})
    with plain_keras():
        plain = trained(built("deterministic"), y=target, validation_data=check)
    assert_same(plain, trained(built("deterministic"), y=target, validation_data=check))


def test_mixed_precision_follows_plain_keras():
    with plain_keras():
        plain = trained(built("batch norm", dtype="mixed_bfloat16"))
    found = trained(built("batch norm", dtype="mixed_bfloat16"))
    np.testing.assert_allclose(plain["loss"], found["loss"], rtol=0.05)


def test_each_metric_is_there_once():
    names = [metric.name for metric in built().metrics]
    assert names == ["loss", "reconstruction", "kl"]


@pytest.mark.parametrize("kind", ["train", "test"])
def test_a_callback_made_of_functions_sees_each_batch(kind):
    class Checks(keras.callbacks.Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen.append(batch)

    def note(batch, logs):
        seen.append(batch)

    seen = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    callback = callback if kind == "train" else Checks()
    trained(
        built("deterministic"), epochs=1, callbacks=[callback], validation_data=(IMAGES, IMAGES)
    )
    assert seen == list(range(21))


def test_the_counters_and_metrics_are_those_of_all_steps():
    model = built()
    history = trained(model)
    assert int(model.steps.value) == 2 * 21
    assert int(model.first_bad_step.value) == -1
    total = history["reconstruction"][0] + 0.5 * history["kl"][0]
    assert history["reconstruction"][0] < history["loss"][0] < total


def test_the_step_of_a_loss_that_is_not_finite_is_found():
    model = built("deterministic")
    images = IMAGES.astype("float32") / 255.0
    images[8 * 11] = np.nan
    model.fit(images, batch_size=8, shuffle=False, verbose=0)
    assert int(model.first_bad_step.value) == 11


def test_a_second_fit_goes_on_from_the_first():
    one, other = built(), built()
    trained(one, epochs=1)
    assert_same(trained(one, epochs=1), _last(trained(other, epochs=2)))


def _last(record):
    return {name: v[-1:] if name.isalpha() else v for name, v in record.items()}


@ON_TORCH
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_takes_the_steps(kind, monkeypatch):
    monkeypatch.setattr("fmae_zoo.accelerate.torch_graph._counter", itertools.count())
    model = built(kind)
    trained(model)
    (graph,) = graphs(model)
    # TorchScript's tracer does not know BatchNorm's backward pass.
    assert is_interpreted(graph) == (kind != "batch norm")
    assert graph.is_made
    assert not any("noise" in layer.__dict__ for layer in model._flatten_layers())
    assert "apply" not in model.optimizer.__dict__


@ON_TORCH
def test_batches_of_another_kind_have_another_graph():
    model = built("deterministic")
    sideways = IMAGES.transpose(0, 2, 1, 3)
    trained(model, y={"image": IMAGES})
    for images in (IMAGES, sideways, IMAGES.astype("float32") / 255.0):
        trained(model, images=images, y=IMAGES)
    # What runs sideways is copied, as each part of an array is, and lies as the others do.
    assert len(graphs(model)) == 3


@ON_TORCH
def test_a_model_whose_settings_change_has_another_graph():
    model = built("batch norm")
    trained(model)
    (graph,) = graphs(model)
    assert graph.fits
    model.encoder.get_layer("encoder1_bn").momentum = 0.5
    assert not graph.fits
    trained(model)
    assert graphs(model) != [graph]


@ON_TORCH
def test_a_layer_that_is_frozen_between_two_fits_stays_as_it_is():
    model = built("deterministic")
    trained(model)
    layer = model.encoder.layers[2]
    layer.trainable = False
    before = layer.get_weights()
    trained(model)
    np.testing.assert_array_equal(before[0], layer.get_weights()[0])


@ON_TORCH
def test_where_torch_cannot_trace_the_steps_are_plain(monkeypatch, caplog):
    def make_fx(function):
        def fails(*inputs):
            function(*inputs)
            raise RuntimeError("not traced")

        return fails

    plain = trained(built())
    monkeypatch.setattr("torch.fx.experimental.proxy_tensor.make_fx", make_fx)
    model = built()
    with caplog.at_level("INFO", "fmae_zoo"):
        assert_same(plain, trained(model))
    assert "not traced" in caplog.text
    assert not graphs(model)[0].is_made


@ON_TORCH
def test_an_interrupt_while_a_step_is_watched_takes_that_step_back(monkeypatch):
    def make_fx(function):
        def interrupted(*inputs):
            function(*inputs)
            raise KeyboardInterrupt

        return interrupted

    monkeypatch.setattr("torch.fx.experimental.proxy_tensor.make_fx", make_fx)
    model = built()
    with pytest.raises(KeyboardInterrupt):
        trained(model)
    assert int(model.steps.value) == int(model.optimizer.iterations.value) == 8
    assert "apply" not in model.optimizer.__dict__


@ON_TORCH
def test_a_metric_of_ones_own_is_called_for_each_batch():
    class Count(keras.metrics.Sum):
        def update_state(self, *args, **options):
            calls.append(1)
            return super().update_state(1.0)

    calls = []
    model = built("deterministic")
    model.compile(adam(), metrics={"code": [Count()]})
    trained(model, y=IMAGES)
    assert len(calls) >= 2 * 21


@ON_TORCH
@pytest.mark.parametrize("says", [{}, {"is_steady": False}])
def test_a_subclass_has_no_graph(says):
    class Noted(Autoencoder):
        vars().update(says)

        def compute_loss(self, *args, **options):
            calls.append(1)
            return super().compute_loss(*args, **options)

    calls = []
    trained(built(model=Noted), epochs=3)
    assert len(calls) >= 3 * 21


@ON_TORCH
def test_moments_too_small_to_matter_become_zeros():
    model = built("deterministic")
    trained(model, epochs=1)
    moment = model.optimizer._momentums[0]
    moment.assign(np.full(moment.shape, 1e-40, "float32"))
    assert np.any(keras.ops.convert_to_numpy(moment.value))
    model.fit(np.zeros_like(IMAGES), batch_size=8, verbose=0)
    found = np.abs(keras.ops.convert_to_numpy(moment.value))
    assert not np.any((found > 0) & (found < 1e-38))


@ON_TORCH
def test_a_graph_needs_no_other_framework():
    code = """
import sys
from tests.test_fit_dense import built, graphs, trained
model = built()
trained(model)
assert graphs(model)[0].is_made
assert "tensorflow" not in sys.modules
"""
    done = run_python(code, backend="torch")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow alone warns")
def test_many_models_that_train_make_tensorflow_warn_of_no_retracing(tensorflow_log):
    for _ in range(7):
        built("deterministic").fit(IMAGES[:64], batch_size=8, verbose=0)
    assert "retracing" not in tensorflow_log()
