"""No image, shape or precision makes a number that is not finite, whatever a model is made of.

A new component is tested here by being among `SPECS`, or with another setting among `SETTINGS`.
"""

import keras
import numpy as np
import pytest

from fmae_zoo import Autoencoder
from fmae_zoo.augmentation import masked
from fmae_zoo.training.optimizer import make_optimizer
from tests.conftest import tiny_spec
from tests.entries import FEW, names
from tests.fits import value_of
from tests.test_nothing_lost import SPECS

GAUSSIAN = {"type": "gaussian", "size": 4}
CATEGORICAL = {"type": "categorical", "size": 6, "categories": 3}
SETTINGS = {
    "capacity": {
        "latent": GAUSSIAN,
        "objective": {"type": "elbo", "beta": 4.0, "capacity": 5.0, "capacity_steps": 10},
    },
    "optimal sigma": {
        "latent": GAUSSIAN,
        "objective": {"type": "elbo", "likelihood": "gaussian", "sigma": "optimal"},
    },
    "stratified": {
        "latent": GAUSSIAN,
        "objective": {"type": "beta_tc", "sampling": "stratified"},
    },
    "dip i": {"latent": GAUSSIAN, "objective": {"type": "dip", "variant": "i"}},
    "free bits": {
        "latent": {"type": "hierarchical", "size": 5, "top": 2, "units": 8, "free_bits": 0.1},
        "objective": {"type": "elbo"},
    },
    "categories, several codes": {
        "latent": CATEGORICAL,
        "objective": {"type": "iwae", "samples": 2},
    },
    "sparse by divergence": {"objective": {"type": "sparse", "penalty": "kl"}},
    "point and mmd": {
        "latent": {"type": "normal_prior", "size": 4},
        "objective": {"type": "mmd", "kernel": "rbf"},
    },
    "gated": {"network": {"type": "dense", "units": [8], "gated": True}},
    "kernels": {"objective": {"type": "regularised", "decoder": "l2"}},
}
ALL = {**SPECS, **SETTINGS}
NORMALISED = {"type": "dense", "units": [8], "batch_norm": True}
CONV = {
    "type": "conv",
    "encoder": [{"filters": [3], "pool": "average"}],
    "decoder": [{"filters": [2], "upsample": True}],
}


def model_of(name, optimizer, shape=(28, 28, 1), precision="float32", **changes):
    spec = tiny_spec(**changes | ALL[name]).for_data("data", shape, classes=10)
    model = Autoencoder(spec, dtype=precision)
    model.compile(optimizer)
    return model


def take_a_step(model, images, method="train_on_batch"):
    """Give a model a batch, with all that it may ask for; return the logs."""
    count, (height, width, _) = len(images), model.spec.shape
    hidden = np.zeros((count, height, width), "uint8")
    hidden[:, :7] = 1
    numbers = np.arange(count, dtype="int32") % 3
    x = images
    if model.spec.objective.reads_mask:
        x = masked(images, hidden, model.spec.network.hidden)
    if model.spec.classes is not None:
        x = {"image": images, "label": numbers}
    y = {"image": images, "mask": hidden, "cluster": numbers}
    return getattr(model, method)(x, y, return_dict=True)


def assert_finite(model, logs):
    assert set(logs) == {"loss", *model.spec.objective.term_names}
    assert np.isfinite(list(logs.values())).all(), logs
    weights = [each for each in model.weights if "float" in str(each.dtype)]
    assert {str(each.dtype) for each in weights} == {"float32"}
    assert not [each.path for each in weights if not np.isfinite(value_of(each)).all()]


def pictures(count, shape=(28, 28, 1)):
    return np.random.default_rng(0).random((count, *shape), dtype="float32")


def hard(count, shape=(28, 28, 1)):
    """Yield batches of black images, white ones, and ones of a single white pixel."""
    black = np.zeros((count, *shape), "float32")
    pixel = black.copy()
    pixel[:, 14, 14] = 1.0
    yield from (black, black + 1.0, pixel)


def widen(model):
    """As features 10,000 times as large: log-variances are at their clip, means far out."""
    for key, each in model.parts()["encoder"].items():
        if key.startswith("latent") and key.endswith("kernel"):
            each.assign(1e4 * value_of(each))


@pytest.mark.parametrize("name", ALL)
def test_steps_on_one_hard_image_and_on_hard_codes_are_finite(name, request):
    if name in SETTINGS:
        request.getfixturevalue("eager")  # The others: that each component compiles.
    # Small steps, so that what is not finite is so by its own doing.
    model = model_of(name, keras.optimizers.SGD(1e-6), network=NORMALISED)
    for images in hard(1):
        assert_finite(model, take_a_step(model, images))
    assert_finite(model, take_a_step(model, pictures(1), "test_on_batch"))
    if model.spec.objective.of_batches:  # Images that are all the same.
        assert_finite(model, take_a_step(model, np.zeros((4, 28, 28, 1), "float32")))
    widen(model)
    assert_finite(model, take_a_step(model, pictures(1)))


@pytest.mark.parametrize("name", ALL)
def test_a_step_on_colour_images_in_mixed_precision_moves_all_that_is_to_learn(name, eager):
    # The transformer's patches are of 7 pixels.
    shape = (28, 35, 3) if name == "transformer" else (32, 32, 3)
    model = model_of(name, keras.optimizers.Adam(1e-2), shape, "mixed_bfloat16", network=CONV)
    # A bias whose units are silent stays.
    learned = [each for each in model.trainable_variables if each.path.endswith("kernel")]
    learned += model.latent.trainable_variables
    before = list(map(value_of, learned))
    assert_finite(model, take_a_step(model, pictures(4, shape)))
    still = [each.path for each, old in zip(learned, before) if np.array_equal(value_of(each), old)]
    assert not still
    widen(model)
    assert_finite(model, take_a_step(model, pictures(4, shape)))


@pytest.mark.parametrize("entry", FEW, ids=names(FEW))
def test_an_entry_is_trained_on_colour_images(entry, eager):
    spec = entry.spec.for_data("photos", (32, 32, 3), classes=entry.spec.classes)
    model = Autoencoder(spec)
    model.compile(make_optimizer(spec.recipe, 1))
    assert_finite(model, take_a_step(model, pictures(2, spec.shape)))
