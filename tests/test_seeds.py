"""A seed means the same weights: today, and whatever else the process does."""

import hashlib
import random
import threading

import keras
import numpy as np
import pytest

from fmae_zoo import Autoencoder
from fmae_zoo.weights import tensors_of
from tests.conftest import TINY_CONV, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

NETWORKS = {"dense": {"type": "dense", "units": [32, 16]}, "conv": TINY_CONV}
FIRST = {
    ("torch", "dense"): [0.765849, -0.105265, 0.040637, -0.346162, 0.315289, 0.073748],
    ("torch", "conv"): [0.119705, 0.099703, 0.314041, 0.00402, 0.379279, -0.326364, -0.070177],
    ("jax", "dense"): [0.148712, -0.007394, 0.075091, 0.075424, -0.336062, 0.060626],
    ("jax", "conv"): [0.026632, -0.106272, 0.258164, -0.043625, 0.700848, 0.071111, -0.004929],
    ("tensorflow", "dense"): [0.953329, -0.186482, -0.043095, -0.045534, -0.184992, 0.020992],
    ("tensorflow", "conv"): [
        *(-0.022237, -0.058499, 0.089391, 0.050051, -0.402223, -0.04293, -0.124322)
    ],
}
"""The first value of each kernel by its name, of seed 5. CPUs round the last digits differently."""


def weights_of(name, seed=5):
    model = Autoencoder(tiny_spec(network=NETWORKS[name]), seed=seed)
    return tensors_of(model.posterior) | tensors_of(model.decoder)


def digest(tensors):
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_seed_gives_the_weights_that_it_always_gave(name):
    weights = weights_of(name)
    first = [weights[key].ravel()[0] for key in sorted(weights) if key.endswith("kernel")]
    np.testing.assert_allclose(first, FIRST[keras.backend.backend(), name], atol=2e-6)


def test_another_seed_gives_other_weights_and_each_kernel_has_its_own():
    one, other = weights_of("dense", 1), weights_of("dense", 2)
    kernels = [name for name in one if name.endswith("kernel")]
    assert not any(np.array_equal(one[name], other[name]) for name in kernels)
    assert len({one[name].ravel()[0] for name in kernels}) == len(kernels)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_other_threads_draw_and_build_changes_no_weight(name):
    alone, found, done = digest(weights_of(name)), [], threading.Event()

    def draw():
        while not done.is_set():
            random.seed(7)
            random.random()

    def build(seed):
        found.append((seed, digest(weights_of(name, seed))))

    drawing = threading.Thread(target=draw)
    building = [threading.Thread(target=build, args=(seed,)) for seed in (5, 6, 5)]
    drawing.start()
    try:
        for thread in building:
            thread.start()
        for thread in building:
            thread.join()
    finally:
        done.set()
        drawing.join()
    assert [each for seed, each in found if seed == 5] == [alone, alone]
    assert [each for seed, each in found if seed == 6] != [alone]


def test_building_a_model_draws_nothing_from_the_callers_random_numbers():
    random.seed(3)
    expected = random.random()
    random.seed(3)
    weights_of("dense")
    assert random.random() == expected
