"""The parts of a graph's step on PyTorch: noise, Adam, the interpreter."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch":
    pytest.skip("graphs of torch alone", allow_module_level=True)

import torch

from fmae_zoo.accelerate.torch_adam import adam_of, is_plain_adam
from fmae_zoo.accelerate.torch_graph import Noise
from tests.test_fit_dense import assert_same, built, graphs, trained


def test_noise_is_that_of_keras():
    ours, theirs = keras.random.SeedGenerator(5), keras.random.SeedGenerator(5)
    noise = Noise(ours, (3, 4))
    for _ in range(3):
        np.testing.assert_array_equal(noise(), keras.random.normal((3, 4), seed=theirs))
    np.testing.assert_array_equal(
        keras.random.normal((3, 4), seed=ours), keras.random.normal((3, 4), seed=theirs)
    )


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

    with torch.no_grad():
        for one, other in zip(after_three(adam_of), after_three(plain)):
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


def test_without_torchscript_a_graph_takes_the_steps_in_python(monkeypatch):
    def trace(*inputs, **options):
        raise RuntimeError("no TorchScript")

    plain = trained(built())
    monkeypatch.setattr(torch.jit, "trace", trace)
    model = built()
    assert_same(plain, trained(model), atol=1e-6)
    assert graphs(model)[0].is_made
