"""What `Autoencoder.fit` and `evaluate` take for images."""

import keras
import numpy as np
import pytest

from fmae_zoo import Autoencoder
from fmae_zoo.errors import ArgumentError, ImagesError
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")


def images_of(count):
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)


def compiled():
    model = Autoencoder(tiny_spec())
    model.compile("sgd")
    return model


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (np.full((4, 28, 28, 1), 255.0), None, ["[255, 255]", "Divide by 255"]),
        (np.full((4, 28, 28, 1), -0.5), None, ["[-0.5, -0.5]"]),
        (np.zeros((4, 28, 28, 1)), np.full((4, 28, 28, 1), 2.0), ["[2, 2]"]),
        (np.zeros((4, 28, 28, 1)), {"image": np.full((4, 28, 28, 1), 2.0)}, ["[2, 2]"]),
        (np.zeros((4, 28, 28, 1), np.int64), None, ["uint8", "int64"]),
        (np.zeros((4, 28, 28, 1), np.complex64), None, ["complex64"]),
        (np.zeros((4, 28, 28), np.uint8), None, ["(4, 28, 28)", "images[..., None]"]),
        (np.zeros((28, 28, 1), np.uint8), None, ["(28, 28, 1)", "images[None]"]),
        (np.zeros((4, 32, 32, 1), np.uint8), None, ["(4, 32, 32, 1)"]),
        (np.zeros((0, 28, 28, 1), np.uint8), None, ["received none"]),
    ],
)
def test_arrays_that_are_no_images_are_not_trained_on(x, y, words):
    model = compiled()
    before = model.get_weights()
    for call in (model.fit, model.evaluate):
        with pytest.raises(ImagesError) as error:
            call(x, y, verbose=0)
        assert all(word in str(error.value) for word in words), error.value
    with pytest.raises(ImagesError):
        model.fit(images_of(4), validation_data=(x, x if y is None else y), verbose=0)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_masked_images_are_not_trained_on():
    masked = np.ma.masked_greater(np.full((4, 28, 28, 1), 2.0), 1.0)
    with pytest.raises(ImagesError, match="masked"):
        compiled().fit(masked, verbose=0)


def test_a_range_is_seen_beside_nan():
    images = np.full((4, 28, 28, 1), 255.0)
    images[0] = np.nan
    with pytest.raises(ImagesError, match="255"):
        compiled().fit(images, verbose=0)


def test_a_subclass_says_what_it_takes():
    class Labelled(Autoencoder):
        def check_data(self, x, y):
            seen.append((x, y))

        def compute_loss(self, x=None, y=None, y_pred=None, *rest, **options):
            return keras.ops.mean(y_pred["code"] ** 2)

    seen = []
    model = Labelled(tiny_spec())
    model.compile("sgd")
    labels = np.arange(8)
    model.fit(images_of(8), labels, validation_data=(images_of(8), labels), verbose=0)
    # Of the training, and of the validation before it and in it.
    assert len(seen) >= 2
    assert all(len(x) == len(y) == 8 for x, y in seen)


def test_noisy_images_are_trained_on_with_clean_ones_beside_them():
    model = compiled()
    noisy = images_of(4) / 255.0 + np.random.default_rng(0).normal(size=(4, 28, 28, 1))
    assert np.isfinite(model.fit(noisy, images_of(4), verbose=0).history["loss"]).all()


@pytest.mark.parametrize("size", [0, -1, 2.0, "8", True])
def test_a_batch_size_that_is_none_is_refused(size):
    model = compiled()
    for call in (model.fit, model.evaluate):
        with pytest.raises(ArgumentError, match="batch_size"):
            call(images_of(4), batch_size=size, verbose=0)


def test_an_integer_of_numpy_is_a_batch_size():
    model = compiled()
    size, checks = np.int64(4), (images_of(8), images_of(8))
    options = {"validation_data": checks, "validation_batch_size": size}
    model.fit(images_of(8), batch_size=size, verbose=0, **options)
    assert int(model.steps.value) == 2
