"""The FID: the Frechet distance of draws in the features of a user's Inception network."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import fmae_zoo
from fmae_zoo.errors import NoWeightsError
from fmae_zoo.evaluation import fid, generation
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

VAE = {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "elbo"}}


@pytest.fixture
def small(monkeypatch, few):
    """Fewer images than there are, and a small network in place of Inception."""
    monkeypatch.setattr(fid, "COUNT", len(few.test_images) - 3)
    network = keras.Sequential(
        [keras.Input((12, 12, 3)), keras.layers.Flatten(), keras.layers.Dense(5)]
    )
    monkeypatch.setattr(fid, "load_inception", lambda: network)
    return network


def test_it_is_the_distance_of_draws_and_of_reconstructions(small, few):
    model = fmae_zoo.Autoencoder(tiny_spec(**VAE))
    result = fmae_zoo.evaluate(model, "fid", data=few, seed=3)["fid"]
    images, count = few.test_images[:-3], len(few.test_images) - 3
    real = fid.features_of(small, images)
    for key, made in {
        "fid": model.generate(count, seed=3),
        "fid_reconstructions": model.reconstruct(images),
    }.items():
        expected = generation.frechet(fid.features_of(small, made), real)
        assert result[key] == pytest.approx(expected, rel=1e-3)
    assert result["sampler"] == "prior"
    assert generation.frechet(real, real) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_reach_the_network_in_its_size_with_its_range(channels):
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])
    black, white = (
        np.zeros((2, 8, 8, channels), "uint8"),
        np.full((1, 8, 8, channels), 255, "uint8"),
    )
    features = fid.features_of(network, np.concatenate([black, white]), chunk=2)
    expected = np.repeat([[-1.0], [-1.0], [1.0]], 48, axis=1)
    np.testing.assert_allclose(features, expected, atol=1e-6)
    colours = np.arange(channels, dtype="float32").reshape(1, 1, 1, -1) * np.ones((1, 8, 8, 1)) / 4
    found = fid.features_of(network, colours.astype("float32")).reshape(16, 3)
    np.testing.assert_allclose(found, np.repeat(2 * colours[0, 0, :1] - 1, 16, 0) + np.zeros(3))


def test_it_does_not_apply_to_few_images_nor_without_a_sampler(small, few):
    model = fmae_zoo.Autoencoder(tiny_spec(**VAE))
    less = replace(few, test_images=few.test_images[4:], test_labels=few.test_labels[4:])
    assert fmae_zoo.evaluate(model, "fid", data=less) == {}
    assert fmae_zoo.evaluate(fmae_zoo.Autoencoder(tiny_spec()), "fid", data=few) == {}


def test_without_the_weights_it_says_how_to_get_them(monkeypatch, few, tmp_path):
    monkeypatch.setattr(fid, "COUNT", 1)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    model = fmae_zoo.Autoencoder(tiny_spec(**VAE))
    with pytest.raises(NoWeightsError, match="InceptionV3") as refused:
        fmae_zoo.evaluate(model, "fid", data=few)
    assert str(tmp_path / "models") in str(refused.value)


def test_the_network_is_as_its_weights_are_whatever_the_user_has_set(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    fid.weights_file().parent.mkdir()
    fid.weights_file().touch()
    seen = {}

    def made(**options):
        layout, policy = keras.config.image_data_format(), keras.config.dtype_policy().name
        seen.update(options, layout=layout, policy=policy)

    monkeypatch.setattr(keras.applications, "InceptionV3", made)
    before = keras.config.image_data_format(), keras.config.dtype_policy()
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        fid.load_inception()
        after = keras.config.image_data_format(), keras.config.dtype_policy().name
    finally:
        keras.config.set_image_data_format(before[0])
        keras.config.set_dtype_policy(before[1])
    assert (seen["layout"], seen["policy"]) == ("channels_last", "float32")
    assert after == ("channels_first", "mixed_bfloat16")
    assert (seen["weights"], seen["pooling"]) == (str(fid.weights_file()), "avg")
