"""The handwritten networks of the benchmarks compute what the zoo computes."""

import importlib.util
from dataclasses import replace

import keras
import numpy as np
import pytest

from benchmarks.case import Case
from benchmarks.entries import ENTRIES, benchmark_spec
from benchmarks.peers import make
from benchmarks.peers.weights import initial_weights
from fmae_zoo import registry
from fmae_zoo.weights import read_tensors, tensors_of

BACKEND = keras.backend.backend()
BATCH = 32

pytestmark = pytest.mark.skipif(
    BACKEND == "jax" and importlib.util.find_spec("optax") is None,
    reason="the handwritten JAX loop needs optax: pip install optax",
)


@pytest.mark.parametrize("entry", ENTRIES)
def test_handwritten_networks_have_the_weights_of_the_zoos_files(entry):
    files = [registry.BUNDLED / entry / f"{part}.safetensors" for part in ("encoder", "decoder")]
    stored = read_tensors(files[0]) | read_tensors(files[1])

    weights = initial_weights(benchmark_spec(entry))

    assert shapes(weights) == shapes(stored)


def shapes(tensors):
    return {key: tensor.shape for key, tensor in tensors.items()}


@pytest.mark.parametrize("entry", ["conv-ae-bn", "dense-ae"])
def test_handwritten_network_computes_and_learns_what_the_zoos_does(entry, sample):
    case = Case("train", entry, "fmae_zoo", BACKEND, batch_size=BATCH)
    zoo, handwritten = make(case), make(replace(case, contestant="handwritten"))
    assert handwritten.parameters == zoo.parameters
    handwritten.assign(tensors_of(zoo.model.posterior) | tensors_of(zoo.model.decoder))

    images = sample.train_images[: 2 * BATCH]
    np.testing.assert_allclose(handwritten.encode(images), zoo.encode(images), atol=1e-4)
    expected = zoo.reconstruct(images)
    np.testing.assert_allclose(handwritten.reconstruct(images), expected, atol=1e-4)

    assert handwritten.train(images) == pytest.approx(zoo.train(images), rel=0.01)
    # What was learnt, and the running statistics that are used now.
    expected = zoo.reconstruct(images)
    np.testing.assert_allclose(handwritten.reconstruct(images), expected, atol=0.02)


def test_handwritten_variational_network_learns(sample):
    handwritten = make(Case("train", "dense-vae", "handwritten", BACKEND, batch_size=BATCH))
    # Not a multiple of the batch: the last one is smaller.
    images = sample.train_images[: 2 * BATCH + 8]

    losses = [handwritten.train(images) for _ in range(3)]

    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("entry", ["conv-ae-bn", "dense-ae"])
def test_stock_keras_computes_what_the_zoo_does_with_layers_of_keras_alone(entry, sample):
    case = Case("train", entry, "keras", BACKEND, batch_size=BATCH)
    stock, zoo = make(case), make(replace(case, contestant="fmae_zoo"))
    images = sample.test_images[: BATCH + 8]
    parts = (stock.model.encoder, stock.model.decoder)
    assert {type(layer).__module__.split(".")[0] for part in parts for layer in part.layers} == {
        "keras"
    }

    zoo.model.set_weights(stock.model.get_weights())

    np.testing.assert_allclose(stock.encode(images), zoo.encode(images), atol=1e-4)
    np.testing.assert_allclose(stock.reconstruct(images), zoo.reconstruct(images), atol=1e-4)
