import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import Autoencoder, CodeMixture
from fmae_zoo.errors import ArgumentError, ImagesError
from tests.conftest import TINY_CONV, tiny_spec


@pytest.fixture
def model():
    return fmae_zoo.Autoencoder(tiny_spec(), seed=1)


def test_draws_are_spread_as_the_codes_are(model, few):
    codes = model.encode(few.train_images)
    draws = CodeMixture.fit(model, few.train_images, components=3).codes(5000, seed=2)
    assert draws.dtype == np.float32
    np.testing.assert_allclose(draws.mean(axis=0), codes.mean(axis=0), atol=0.2 * codes.std())
    np.testing.assert_allclose(np.cov(draws.T), np.cov(codes.T), atol=0.2 * codes.var())


def test_images_depend_on_the_seeds_alone(model, few):
    mixture = CodeMixture.fit(model, few.train_images, components=2)
    images = mixture.generate(7, seed=1)
    assert images.shape == (7, 28, 28, 1)
    assert 0.0 <= images.min() <= images.max() <= 1.0
    again = CodeMixture.fit(model, few.train_images, components=2).generate(7, seed=1)
    np.testing.assert_array_equal(images, again)
    assert not np.array_equal(images, mixture.generate(7, seed=2))
    assert mixture.generate(0).shape == (0, 28, 28, 1)


def test_what_cannot_be_fitted_or_drawn_is_refused(model, few):
    with pytest.raises(ImagesError, match="twice as many"):
        CodeMixture.fit(model, few.train_images[:19])
    with pytest.raises(ArgumentError, match="components"):
        CodeMixture.fit(model, few.train_images, components=0)
    wide = TINY_CONV | {"base": [7, 7, 8], "encoder": [{"filters": [8], "pool": "max"}] * 2}
    spatial = tiny_spec(network=wide, latent={"type": "spatial", "size": 392})
    with pytest.raises(ArgumentError, match="392 values"):
        CodeMixture.fit(fmae_zoo.Autoencoder(spatial), few.train_images)
    mixture = CodeMixture.fit(model, few.train_images)
    for count, seed in ((-1, 0), (1.5, 0), (1, "a")):
        with pytest.raises(ArgumentError):
            mixture.generate(count, seed)


@pytest.mark.full_data
def test_draws_of_the_mixture_are_nearer_to_real_images_than_those_of_the_prior(full_data):
    model = fmae_zoo.load("conv-vae-bn", pretrained=True)
    real = full_data.test_images.reshape(len(full_data.test_images), -1) / np.float32(255)

    def distance(images):
        flat = images.reshape(len(images), -1)
        squared = (flat**2).sum(1)[:, None] + (real**2).sum(1) - 2 * flat @ real.T
        return np.sqrt(squared.min(axis=1).clip(0) / flat.shape[1]).mean()

    mixture = CodeMixture.fit(model, full_data.train_images[:5000])
    between = distance(full_data.train_images[:100] / np.float32(255))
    assert (
        distance(mixture.generate(100))
        < 1.1 * between
        < distance(model.generate(100, sampler="prior"))
    )


def test_codes_that_are_all_the_same_are_drawn_again():
    model = Autoencoder(tiny_spec())
    for layer in model.encoder.layers:
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    images = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
    codes = CodeMixture.fit(model, images).codes(5)
    np.testing.assert_allclose(codes, 0.0, atol=1e-3)
