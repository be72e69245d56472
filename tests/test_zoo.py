"""What each entry of the zoo is for, by the figures of its manifest and by its weights."""

import numpy as np
import pytest
from keras import ops

import fmae_zoo
from fmae_zoo import registry
from tests.test_variants import array


def results(name):
    """Return the published figures of an entry."""
    return registry.find_entry(name).manifest.results


def loaded(name):
    """Return a trained entry."""
    return fmae_zoo.load(name, pretrained=True, precision="float32")


def history(name):
    """Return the last line of an entry's history: a number by its column."""
    text = (registry.find_entry(name).folder / "history.csv").read_text().strip().split("\n")
    return dict(zip(text[0].split(","), map(float, text[-1].split(","))))


def test_more_beta_is_less_kl_and_more_distortion():
    plain, beta = results("conv-vae-bn")["elbo"], results("conv-beta-vae-bn")["elbo"]
    assert beta["kl"] < 0.8 * plain["kl"]
    assert beta["reconstruction"] > plain["reconstruction"]


def test_total_correlation_is_less_where_it_counts_more():
    row = history("conv-beta-tc-vae-bn")
    assert row["val_total_correlation"] < 0.5 * row["val_mutual_information"]


def test_covariance_of_the_codes_is_near_the_identity_where_it_is_asked(sample):
    def distance(name):
        codes = loaded(name).encode(sample.test_images)
        return np.abs(np.cov(codes, rowvar=False) - np.eye(codes.shape[1])).max()

    assert distance("conv-dip-vae-bn") < 0.5 * distance("conv-vae-bn")


def test_a_critic_cannot_tell_codes_from_the_prior():
    guessing = 2.0 * np.log(2.0)
    assert history("conv-aae-bn")["val_critic"] > 0.95 * guessing


@pytest.mark.parametrize("name", ["conv-wae-mmd-bn", "conv-swae-bn"])
def test_codes_are_spread_like_the_prior(name, sample):
    codes = loaded(name).encode(sample.test_images)
    assert np.abs(codes.mean(axis=0)).max() < 0.5
    assert 0.5 < codes.std(axis=0).min() < codes.std(axis=0).max() < 1.5


def test_both_layers_of_the_ladder_are_used(sample):
    model = loaded("conv-hvae-bn")
    images = sample.test_images[:100, ..., np.newaxis].astype("float32") / 255.0
    draw = model.latent.draw(model.posterior(images))
    for layer in ("kl_top", "kl_bottom"):
        assert array(ops.mean(draw.extra[layer])) > 1.0


def test_draws_follow_the_class_that_was_asked_for():
    assert results("conv-cvae-bn")["generation"]["class_agreement"] > 0.5


@pytest.mark.parametrize("name", ["conv-vq-vae-bn", "conv-fsq-ae-bn", "conv-cat-vae-bn"])
def test_codes_are_in_use(name):
    use = results(name)["code_use"]
    assert use["perplexity"] > 2.0
    assert use["codes_used"] > 4.0


def test_the_whole_plane_decodes_to_clothes():
    from scipy.stats import norm

    from fmae_zoo.evaluation.generation import classes_of

    quantiles = norm.ppf(np.linspace(0.025, 0.975, 20))
    plane = np.stack(np.meshgrid(quantiles, quantiles), axis=-1).reshape(-1, 2)
    images = loaded("dense-vae-2").decode(plane.astype("float32"))
    assert images.reshape(400, -1).max(axis=1).min() > 0.3
    assert len(np.unique(classes_of(images))) >= 8
