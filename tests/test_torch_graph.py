"""The parts of a graph's step on PyTorch: noise, Adam, the interpreter."""

import itertools
from functools import partial

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("graphs of torch alone", allow_module_level=True)

import torch

from fmae_zoo import Autoencoder
from fmae_zoo.accelerate import evaluate, torch_graph
from fmae_zoo.accelerate.torch_adam import apply_of, is_plain_adam
from fmae_zoo.accelerate.torch_graph import Noise
from fmae_zoo.registry import find_spec
from tests.test_fit_dense import IMAGES, assert_same, built, graphs, is_interpreted, trained


@pytest.mark.parametrize("shape", [(3, 4), (8, 32)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_is_that_of_keras(shape, dtype, monkeypatch):
    monkeypatch.setattr(keras.random, "normal", partial(keras.random.normal, dtype=dtype))
    ours, theirs = keras.random.SeedGenerator(5), keras.random.SeedGenerator(5)
    noise = Noise(ours, keras.random.normal(shape, seed=ours))
    keras.random.normal(shape, seed=theirs)
    for draw in (noise, noise, lambda: keras.random.normal(shape, seed=ours)):
        one, other = draw(), keras.random.normal(shape, seed=theirs)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "options",
    [
        {"amsgrad": True},
        {"use_ema": True},
        {"gradient_accumulation_steps": 2},
        {"clipnorm": 1.0},
        {"clipvalue": 1.0},
        {"global_clipnorm": 1.0},
        {"weight_decay": 0.1},
        {"loss_scale_factor": 2.0},
    ],
)
def test_an_adam_that_does_more_is_not_plain(options):
    assert is_plain_adam(keras.optimizers.Adam())
    assert not is_plain_adam(keras.optimizers.Adam(**options))
    assert not is_plain_adam(keras.optimizers.AdamW())


def test_a_subclass_of_adam_is_not_plain():
    class Noted(keras.optimizers.Adam):
        pass

    assert not is_plain_adam(Noted())


SCHEDULE = keras.optimizers.schedules.CosineDecay(0.1, 4)


@pytest.mark.parametrize("rate", [0.1, SCHEDULE], ids=["constant", "schedule"])
@pytest.mark.parametrize("constraint", [None, "non_neg"])
def test_the_update_is_that_of_keras(rate, constraint):
    def after_three(update_of):
        variable = keras.Variable([0.1, 1.0])
        variable.constraint = keras.constraints.get(constraint)
        optimizer = keras.optimizers.Adam(rate)
        optimizer.build([variable])
        update = update_of(optimizer, [variable])
        for _ in range(3):
            update([torch.tensor([2.0, -1.0])])
        return [np.array(each) for each in (variable, *optimizer.variables)]

    def plain(optimizer, variables):
        return lambda gradients: optimizer.apply(gradients, variables)

    def fast(optimizer, variables):
        return apply_of(optimizer, [torch.zeros(2)], variables)

    with torch.no_grad():
        for one, other in zip(after_three(fast), after_three(plain)):
            # Keras takes the bias corrections in float32.
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_rate_and_the_steps_go_on_where_a_graph_takes_them():
    model = built("deterministic")
    trained(model, epochs=1)
    assert graphs(model)[0].is_made
    assert int(model.optimizer.iterations) == 21
    model.optimizer.learning_rate = 0.0
    before = model.encoder.get_weights()
    trained(model, epochs=1)
    for one, other in zip(before, model.encoder.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_an_optimizer_whose_settings_change_has_another_graph():
    model = built("deterministic")
    trained(model, epochs=1)
    (graph,) = graphs(model)
    model.optimizer.clipnorm = 1.0
    assert not graph.fits


def test_another_optimizer_has_another_graph():
    model = built("deterministic")
    trained(model, epochs=1)
    before = model.encoder.get_weights()
    model.optimizer = keras.optimizers.Adam(0.0)
    trained(model, epochs=1)
    assert int(model.optimizer.iterations) == 21
    for one, other in zip(before, model.encoder.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_moments_that_are_made_anew_are_those_that_are_used():
    model = built("deterministic")
    trained(model, epochs=1)
    model.optimizer.built = False
    model.optimizer.build(model.trainable_variables)
    (graph,) = graphs(model)
    assert not graph.fits
    trained(model, epochs=1)
    assert any(np.any(np.array(moment)) for moment in model.optimizer._momentums)


def test_an_apply_of_ones_own_is_called_for_each_step():
    model = built("deterministic")
    trained(model, epochs=1)
    own, calls = model.optimizer.apply, []
    model.optimizer.apply = lambda *inputs: (calls.append(1), own(*inputs))[1]
    trained(model, epochs=1)
    assert len(calls) == 21


def test_adam_in_a_graph_is_one_operation(monkeypatch):
    model = built("deterministic")
    trained(model, epochs=1)
    monkeypatch.setattr(type(model.optimizer), "apply", None)
    model.fit(IMAGES[:160], batch_size=8, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 21 + 20


def test_a_weight_without_a_gradient_stays():
    model = built("deterministic")
    model.unused = keras.layers.Dense(3)
    model.unused.build((None, 4))
    before = model.unused.get_weights()
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        history = trained(model)
    assert np.isfinite(history["loss"]).all()
    np.testing.assert_array_equal(before[0], model.unused.get_weights()[0])


def test_a_layer_that_writes_to_its_inputs_leaves_the_users_images():
    class Blank(keras.layers.Layer):
        def call(self, inputs):
            inputs[:, :14] = 0
            return inputs

    model = keras.Sequential([keras.Input((28, 28, 1)), Blank(), keras.layers.Flatten()])
    model.compile("sgd", "mse")
    images = np.ones((16, 28, 28, 1), "float32")
    evaluate(model, images, np.zeros((16, 784)), batch_size=8, verbose=0)
    evaluate(model, images, np.zeros((16, 784)), batch_size=16, verbose=0)
    assert images.all()


def test_a_field_of_records_is_trained_on():
    model = built("deterministic")
    records = np.zeros(40, [("label", "u1"), ("image", "f4", (28, 28, 1))])
    assert np.isfinite(trained(model, images=records["image"])["loss"]).all()


def test_a_convolution_and_its_relu_are_one_operation_in_inference(monkeypatch):
    from fmae_zoo.accelerate import on_torch

    assert torch.float32 in on_torch._fused_types()
    seen = []

    def noted(own, *inputs):
        seen.append(own.__name__)
        return own(*inputs)

    for name in ("_rectified_conv", "_rectified_doubling_conv"):
        monkeypatch.setattr(on_torch, name, partial(noted, getattr(on_torch, name)))
    model = Autoencoder(find_spec("conv-ae-bn"))
    model.reconstruct(IMAGES[:2])
    assert seen.count("_rectified_conv") == 6
    assert seen.count("_rectified_doubling_conv") == 2


@pytest.mark.parametrize("kind", ["deterministic", "variational"])
def test_steps_from_a_graph_are_bit_for_bit_those_before_it(kind, monkeypatch):
    """A run that is resumed has other steps before its graph than one that is not."""
    from_graph = trained(built(kind))
    monkeypatch.setattr(torch_graph, "PLAIN_STEPS", float("inf"))
    one_by_one = trained(built(kind))
    for name, values in from_graph.items():
        np.testing.assert_array_equal(values, one_by_one[name], err_msg=name)


def test_torchscript_takes_no_more_graphs_than_it_may(monkeypatch):
    monkeypatch.setattr(torch_graph, "_counter", itertools.count())
    monkeypatch.setattr(torch_graph, "INTERPRETED_AT_MOST", 1)
    first, second = built(), built()
    assert_same(trained(first), trained(second), atol=1e-6)
    assert is_interpreted(graphs(first)[0])
    assert not is_interpreted(graphs(second)[0])


def test_without_torchscript_a_graph_takes_the_steps_in_python(monkeypatch):
    def trace(*inputs, **options):
        raise RuntimeError("no TorchScript")

    plain = trained(built())
    monkeypatch.setattr(torch.jit, "trace", trace)
    model = built()
    assert_same(plain, trained(model), atol=1e-6)
    assert graphs(model)[0].is_made
