"""What each entry of the zoo is for, by the figures of its manifest and by its weights."""

import numpy as np
import pytest
from keras import ops

import fmae_zoo
from fmae_zoo import registry
from tests.entries import TRAINED, names
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


def total_correlation(name, sample):
    """Return the total correlation of draws from the posterior, taken for normal, in nats."""
    images = sample.train_images[..., np.newaxis].astype("float32") / 255.0
    found = loaded(name).posterior.predict(images, verbose=0)
    noise = np.random.default_rng(0).standard_normal(found["mean"].shape)
    draws = found["mean"] + np.exp(0.5 * found["log_variance"]) * noise
    covariance = np.cov(draws, rowvar=False)
    return 0.5 * (np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1])


def test_values_have_less_in_common_where_that_is_asked(sample):
    plain = total_correlation("conv-vae-bn", sample)
    for name in ("conv-beta-tc-vae-bn", "conv-factor-vae-bn", "conv-dip-vae-bn"):
        assert total_correlation(name, sample) < 0.6 * plain


def test_covariance_of_the_codes_is_near_the_identity_where_it_is_asked(sample):
    def distance(name):
        codes = loaded(name).encode(sample.test_images)
        return np.abs(np.cov(codes, rowvar=False) - np.eye(codes.shape[1])).max()

    assert distance("conv-dip-vae-bn") < 0.5 * distance("conv-vae-bn")


def test_the_critic_that_codes_were_trained_against_cannot_tell_them_from_the_prior():
    guessing = 2.0 * np.log(2.0)
    assert history("conv-aae-bn")["val_critic"] > 0.95 * guessing


@pytest.mark.parametrize("name", ["conv-wae-mmd-bn", "conv-swae-bn"])
def test_codes_are_spread_like_the_prior(name, sample):
    codes = loaded(name).encode(sample.test_images)
    assert np.abs(codes.mean(axis=0)).max() < 0.5
    assert 0.5 < codes.std(axis=0).min() < codes.std(axis=0).max() < 1.5


@pytest.mark.parametrize("entry", TRAINED, ids=names(TRAINED))
def test_every_number_of_a_training_is_finite(entry):
    if entry.is_classifier:
        pytest.skip("has no history")
    rows = (entry.folder / "history.csv").read_text().strip().split("\n")[1:]
    assert len(rows) == entry.manifest.training.epochs
    assert np.isfinite([list(map(float, row.split(","))) for row in rows]).all()


def test_both_layers_of_the_ladder_are_used(sample):
    model = loaded("conv-hvae-bn")
    images = sample.test_images[:100, ..., np.newaxis].astype("float32") / 255.0
    draw = model.latent.draw(model.posterior(images))
    for layer in ("kl_top", "kl_bottom"):
        assert array(ops.mean(draw.extra[layer])) > 1.0


def test_the_bound_of_several_codes_is_nearer_to_the_likelihood_than_the_elbo():
    row = history("conv-iwae-bn")
    assert row["val_bound"] < row["val_reconstruction"] + row["val_kl"] - 1.0


@pytest.mark.parametrize(
    ("normal", "learned"),
    [("conv-vae-bn", "conv-vamp-vae-bn"), ("dense-vae-40", "dense-vamp-vae-40")],
)
def test_the_bound_with_a_learned_prior_is_not_below_that_with_a_normal_one(normal, learned):
    assert results(learned)["elbo"]["elbo"] > results(normal)["elbo"]["elbo"]


@pytest.mark.parametrize("name", ["conv-vamp-vae-bn", "dense-exemplar-vae-40", "dense-vamp-vae-40"])
def test_a_learned_prior_gives_images_as_good_as_reconstructions(name):
    figure = results(name)["generation"]
    assert figure["frechet_prior"] < 1.2 * figure["frechet_reconstructions"]


def test_the_critic_of_a_factor_vae_is_little_better_than_guessing():
    assert 0.5 < history("conv-factor-vae-bn")["accuracy"] < 0.75


@pytest.mark.parametrize("name", ["conv-dae-bn", "dense-dae"])
def test_noise_is_taken_away(name):
    figure = results(name)["denoising"]
    assert figure["mse"] < 0.5 * figure["noisy_mse"]


def test_hidden_patches_are_made_up_better_than_by_the_mean_image():
    figure = results("vit-mae")["inpainting"]
    assert figure["mse"] < 0.5 * figure["mean_mse"]


def test_as_many_values_are_active_as_were_asked_for_and_most_are_used(sample):
    codes = loaded("dense-k-sparse-ae").encode(sample.test_images)
    assert (np.count_nonzero(codes, axis=1) == 25).all()
    assert np.mean(codes.any(axis=0)) > 0.5


def test_few_values_of_a_sparse_code_are_far_from_zero(sample):
    def hoyer(name):
        """0 where all values are as large, 1 where one alone is not 0 (Hoyer 2004)."""
        codes = loaded(name).encode(sample.test_images)
        ratio = np.abs(codes).sum(axis=1) / np.sqrt(np.square(codes).sum(axis=1))
        root = np.sqrt(codes.shape[1])
        return ((root - ratio) / (root - 1.0)).mean()

    assert hoyer("conv-sparse-ae-bn") > 1.5 * hoyer("conv-ae-bn")


def test_codes_follow_a_change_of_the_image_less_where_that_is_asked(sample):
    rng = np.random.default_rng(0)
    images = sample.test_images[:100, ..., np.newaxis].astype("float32") / 255.0
    noise = rng.uniform(-0.1, 0.1, images.shape).astype("float32")

    def share(name):
        """The part of the codes' variance that noise at the input makes."""
        model = loaded(name)
        codes = model.encode(images)
        moved = model.encode(np.clip(images + noise, 0.0, 1.0)) - codes
        return np.square(moved).mean() / codes.var(axis=0).mean()

    assert share("conv-contractive-ae-bn") < share("conv-ae-bn")


LIKELY = [entry for entry in TRAINED if "nll" in entry.manifest.results]


@pytest.mark.parametrize("entry", LIKELY, ids=names(LIKELY))
def test_the_estimate_of_the_likelihood_is_above_the_bound(entry):
    figure, bound = entry.manifest.results["nll"], entry.manifest.results["elbo"]
    assert (figure["images"], figure["samples"]) == (10_000, 5_000)
    assert figure["nll"] < -bound["elbo"] - 1.0


def test_draws_follow_the_class_that_was_asked_for():
    assert results("conv-cvae-bn")["generation"]["class_agreement"] > 0.8


@pytest.mark.parametrize("name", ["conv-vq-vae-bn", "conv-fsq-ae-bn", "conv-cat-vae-bn"])
def test_codes_are_in_use(name):
    use, kinds = results(name)["code_use"], registry.find_entry(name).spec.latent.kinds
    assert use["perplexity"] > 0.25 * kinds
    assert use["codes_used"] > 0.5 * kinds


def test_the_whole_plane_decodes_to_clothes():
    from scipy.stats import norm

    from fmae_zoo.evaluation.generation import classes_of

    quantiles = norm.ppf(np.linspace(0.025, 0.975, 20))
    plane = np.stack(np.meshgrid(quantiles, quantiles), axis=-1).reshape(-1, 2)
    images = loaded("dense-vae-2").decode(plane.astype("float32"))
    assert images.reshape(400, -1).max(axis=1).min() > 0.3
    assert len(np.unique(classes_of(images))) >= 8


def test_the_registry_stays_small():
    """Every file of it is in each wheel."""
    files = [path for path in registry.BUNDLED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60 * 2**20
