"""The likelihood of test images, against likelihoods that are known; and its losses."""

import math
from dataclasses import replace
from itertools import pairwise

import keras
import numpy as np
import pytest
from keras import ops
from scipy.integrate import quad
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal, norm

import fmae_zoo
from fmae_zoo import Autoencoder
from fmae_zoo.errors import ArgumentError
from fmae_zoo.evaluation import FIGURES, Subject
from fmae_zoo.evaluation.elbo import binarised_test, elbo, with_fixed_sigma
from fmae_zoo.evaluation.nll import nll
from fmae_zoo.latents import Draw
from fmae_zoo.latents.exemplar import ExemplarLatent
from fmae_zoo.latents.vamp import VampLatent
from fmae_zoo.objectives.elbo import ELBO
from fmae_zoo.objectives.iwae import IWAE
from tests.autodiff import jacobian
from tests.conftest import tiny_spec

GAUSSIAN = {"type": "gaussian", "size": 4}
BERNOULLI = {"type": "elbo"}
OPTIMAL = {"type": "elbo", "likelihood": "gaussian", "sigma": "optimal"}
SIDE, SIGMA = 4, 0.1


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def numbers(result):
    return {key: value for key, value in result.items() if not isinstance(value, str)}


def small(few, count=10, **changes):
    """Return an untrained model of 4x4 images, and the first test images in that size."""
    spec = {"shape": [SIDE, SIDE, 1], "network": {"type": "dense", "units": [8]}, **changes}
    cut = slice(6, 6 + 4 * SIDE, 4)
    data = replace(
        few,
        train_images=few.train_images[:, cut, cut],
        test_images=few.test_images[:count, cut, cut],
        test_labels=few.test_labels[:count],
    )
    return Subject(Autoencoder(tiny_spec(**spec), seed=3), data)


class Logit(keras.layers.Layer):
    """Undoes the sigmoid of the likelihood, of numbers in (0, 1)."""

    def call(self, inputs):
        inputs = ops.clip(inputs, 1e-6, 1.0 - 1e-6)
        return ops.reshape(ops.log(inputs) - ops.log(1.0 - inputs), (-1, SIDE, SIDE, 1))


def linear(few, spread=1.0):
    """Return a linear model `x = W z + 0.5 + sigma noise`, and `log p(x)` of each test image.

    The columns of W are orthogonal, so that the posterior of a standard normal z is a diagonal
    Gaussian: the encoder's, but for its standard deviations, which are `spread` times as wide.
    """
    rng = np.random.default_rng(0)
    pixels = SIDE * SIDE
    base, _ = np.linalg.qr(rng.standard_normal((pixels, 2)))
    w = base * [0.2, 0.1]
    codes, noise = rng.standard_normal((12, 2)), rng.standard_normal((12, pixels))
    images = np.clip(codes @ w.T + 0.5 + SIGMA * noise, 0, 1).reshape(-1, SIDE, SIDE)
    variance = 1.0 / (1.0 + (w**2).sum(axis=0) / SIGMA**2)

    objective = {"type": "elbo", "likelihood": "gaussian", "sigma": SIGMA}
    subject = small(few, latent={"type": "gaussian", "size": 2}, objective=objective)
    pictures = (255 * images).round().astype("uint8")
    labels = np.zeros(len(pictures), "int64")
    subject.data = replace(subject.data, test_images=pictures, test_labels=labels)

    image = keras.Input((SIDE, SIDE, 1))
    mean, log_variance = keras.layers.Dense(2), keras.layers.Dense(2, kernel_initializer="zeros")
    flat = keras.layers.Flatten()(image)
    parameters = {"mean": mean(flat), "log_variance": log_variance(flat)}
    mean.set_weights([w * variance / SIGMA**2, -0.5 * w.sum(axis=0) * variance / SIGMA**2])
    log_variance.set_weights([np.zeros((pixels, 2)), np.log(variance * spread**2)])
    code, back = keras.Input((2,)), keras.layers.Dense(pixels)
    logits = Logit()(back(code))
    back.set_weights([w.T, np.full(pixels, 0.5)])
    subject.model.posterior = keras.Model(image, parameters)
    subject.model.decoder = keras.Model(code, logits)

    covariance = w @ w.T + SIGMA**2 * np.eye(pixels)
    rows = (pictures / 255.0).reshape(-1, pixels)
    return subject, multivariate_normal(np.full(pixels, 0.5), covariance).logpdf(rows)


def test_with_the_exact_posterior_each_sample_gives_the_likelihood(few):
    subject, exact = linear(few)
    found = nll(subject, samples=2)
    assert found["nll"] == pytest.approx(-exact.mean(), abs=2e-3)
    error = exact.std(ddof=1) / math.sqrt(len(exact))
    assert found["standard_error"] == pytest.approx(error, rel=1e-3)
    assert (found["samples"], found["images"]) == (2, 12)
    assert (found["likelihood"], found["sigma"]) == ("gaussian", SIGMA)


def test_with_another_posterior_the_likelihood_is_estimated(few):
    subject, exact = linear(few, spread=1.5)
    found = [nll(replace(subject, seed=seed), samples=1000)["nll"] for seed in range(6)]
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    assert 0 < error < 0.05
    assert abs(np.mean(found) + exact.mean()) < 3 * error + 2e-3


def likelihood_of(subject, codes):
    """Return `log p(x|z)` of each binarised test image at each code: `(n, codes)`."""
    images = binarised_test(subject).reshape(-1, 1, SIDE * SIDE)
    logits = array(subject.model.decoder(codes.astype("float32"))).reshape(1, -1, SIDE * SIDE)
    p = np.clip(expit(logits.astype("float64")), 1e-12, 1 - 1e-12)
    return (images * np.log(p) + (1 - images) * np.log(1 - p)).sum(axis=2)


def test_a_code_of_one_value_gives_the_integral_over_the_prior(few):
    subject = small(few, 2, latent={"type": "gaussian", "size": 1}, objective=BERNOULLI)
    for name in ("latent", "latent_log_variance"):
        head = subject.model.posterior.get_layer(name)
        # Codes about as wide as the prior, so that no weight is rare and large.
        head.set_weights([0.02 * each for each in head.get_weights()])

    def joint(z, image):
        return math.exp(likelihood_of(subject, np.array([[z]]))[image, 0]) * norm.pdf(z)

    integrals = [quad(joint, -8, 8, args=(image,), epsrel=1e-5)[0] for image in range(2)]
    found = nll(subject, samples=20_000)
    assert found["nll"] == pytest.approx(-np.log(integrals).mean(), abs=0.01)
    assert "sigma" not in found


def test_a_categorical_code_gives_the_sum_over_its_categories(few):
    latent = {"type": "categorical", "size": 4, "categories": 4}
    subject = small(few, 5, latent=latent, objective=BERNOULLI)
    each = likelihood_of(subject, np.eye(4))
    expected = -(logsumexp(each, axis=1) - math.log(4)).mean()
    assert nll(subject, samples=10_000)["nll"] == pytest.approx(expected, abs=0.03)


def repeated(few, count):
    """Return a model, and one test image many times, binary."""
    subject = small(few, latent=GAUSSIAN, objective=BERNOULLI)
    picture = 255 * (subject.data.test_images[:1] > 100).astype("uint8")
    pictures, labels = np.repeat(picture, count, axis=0), np.zeros(count, "int64")
    subject.data = replace(subject.data, test_images=pictures, test_labels=labels)
    return subject


def test_one_sample_gives_minus_the_elbo_in_the_mean(few):
    subject = repeated(few, 800)
    found, bound = nll(subject, samples=1), elbo(replace(subject, seed=1))["elbo"]
    assert abs(found["nll"] + bound) < 4 * math.sqrt(2) * found["standard_error"]


def test_more_samples_give_no_worse_a_bound(few):
    subject = repeated(few, 200)
    found = [nll(subject, samples=count) for count in (1, 4, 16)]
    for worse, better in pairwise(found):
        assert better["nll"] < worse["nll"] + worse["standard_error"]
    assert found[2]["nll"] < found[0]["nll"] - 3 * found[0]["standard_error"]


@pytest.mark.parametrize("classes", [None, 10], ids=["plain", "told"])
def test_parts_of_the_samples_change_nothing(few, classes):
    changes = {} if classes is None else {"classes": classes}
    subject = small(few, 6, latent=GAUSSIAN, objective=BERNOULLI, **changes)
    whole = nll(subject, samples=50)
    seen = []
    in_parts = nll(replace(subject, advance=lambda *done: seen.append(done)), samples=50, chunk=7)
    assert numbers(in_parts) == pytest.approx(numbers(whole), rel=1e-5)
    assert seen == [(done, 6) for done in range(1, 7)]
    assert nll(subject, samples=50, images=2)["images"] == 2


def test_the_decoder_is_told_the_class_of_each_image(few):
    subject = small(few, 6, latent=GAUSSIAN, objective=BERNOULLI, classes=10)
    subject.data = replace(subject.data, test_labels=np.arange(6))
    other = replace(subject, data=replace(subject.data, test_labels=np.arange(6)[::-1]))
    assert abs(nll(subject, samples=20)["nll"] - nll(other, samples=20)["nll"]) > 1e-3


@pytest.mark.parametrize("kind", [VampLatent, ExemplarLatent])
def test_the_images_of_a_prior_are_encoded_once(few, kind, monkeypatch):
    latent = {"type": kind.model_fields["type"].annotation.__args__[0], "size": 3}
    subject = small(few, 3, latent=latent, objective=BERNOULLI)
    once = nll(subject, samples=20)["nll"]
    monkeypatch.setattr(kind, "shared_parameters", lambda self, layer: {})
    assert nll(subject, samples=20)["nll"] == pytest.approx(once, abs=1e-3)


@pytest.mark.parametrize("name", ["samples", "images", "chunk"])
def test_numbers_that_are_none_are_refused(few, name):
    subject = small(few, 2, latent=GAUSSIAN, objective=BERNOULLI)
    with pytest.raises(ArgumentError, match=f"{name} is 0; expected an integer, 1 or more"):
        nll(subject, **{name: 0})


def test_a_model_without_a_likelihood_has_none(few):
    assert nll(small(few)) is None
    mixture = fmae_zoo.load("bernoulli-mixture", pretrained=True)
    assert nll(Subject(mixture, few)) is None  # Its ELBO is exact.


def test_it_is_measured_only_where_it_is_named(few):
    assert [name for name, figure in FIGURES.items() if figure.on_request] == [
        "heads",
        "few_labels",
        "few_labels_fine_tuned",
        "clustering",
        "umap_clustering",
        "nll",
        "fid",
    ]
    subject = small(few, 3, latent=GAUSSIAN, objective=BERNOULLI)
    seen, steps = [], []
    options = {"data": replace(subject.data, train_labels=None, test_labels=None)}
    fmae_zoo.evaluate(subject.model, **options, progress=seen.append)
    assert "elbo" in seen
    assert "nll" not in seen
    report = {"advance": lambda *done: steps.append(done)}
    assert fmae_zoo.evaluate(subject.model, "nll", **options, **report)["nll"]["samples"] == 5000
    assert steps == [(1, 3), (2, 3), (3, 3)]


def test_the_command_measures_it(few, fmae, tmp_path):
    subject = small(few, 3, latent=GAUSSIAN, objective=BERNOULLI)
    data = subject.data
    fmae_zoo.save(subject.model, tmp_path / "model", images=data.train_images[:8])
    kinds = ("train_images", "train_labels", "test_images", "test_labels")
    np.savez(tmp_path / "mine.npz", **{kind: getattr(data, kind) for kind in kinds})
    options = ("--data", tmp_path / "mine.npz", "--figure", "nll")
    code, out, err = fmae("evaluate", f"local:{tmp_path / 'model'}", *options)
    assert code == 0, err
    assert "standard error" in out
    assert "measuring nll" in err


# The sigma under which images are the likeliest.


def drawn_batch():
    rng = np.random.default_rng(0)
    images = rng.random((5, 4, 4, 1), dtype="float32")
    return images, rng.standard_normal((5, 4, 4, 1)).astype("float32")


def test_the_optimal_sigma_is_the_batchs_root_mean_squared_error():
    images, logits = drawn_batch()
    found = array(ELBO(**OPTIMAL).negative_log_likelihood(images, logits))
    means = expit(logits.astype("float64"))
    sigma = math.sqrt(((means - images) ** 2).mean())
    expected = -norm.logpdf(images, means, sigma).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    others = [-norm.logpdf(images, means, sigma * factor).sum() for factor in (0.9, 1.1)]
    assert found.sum() < min(others)


def test_the_gradient_takes_the_optimal_sigma_for_a_constant():
    images, logits = drawn_batch()
    sigma = math.sqrt(((expit(logits.astype("float64")) - images) ** 2).mean())
    objectives = ELBO(**OPTIMAL), ELBO(**OPTIMAL | {"sigma": sigma})
    found, expected = (
        jacobian(lambda x, own=own: ops.sum(own.negative_log_likelihood(images, x)), logits)
        for own in objectives
    )
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_optimal_sigma_is_above_zero_for_images_without_an_error():
    images = np.full((2, 4, 4, 1), 0.5, "float32")
    found = array(ELBO(**OPTIMAL).negative_log_likelihood(images, 0 * images))
    np.testing.assert_allclose(found, 16 * norm(0.5, 1e-3).logpdf(0.5) * -1, rtol=1e-5)


def test_a_loss_with_the_optimal_sigma_is_of_batches():
    assert ELBO(**OPTIMAL).of_batches
    assert IWAE(**OPTIMAL | {"type": "iwae"}).of_batches
    assert ELBO(**OPTIMAL | {"sigma": 0.1, "capacity": 1.0}).of_batches
    for changes in ({"sigma": 0.1}, {"likelihood": "bernoulli"}):
        assert not ELBO(**OPTIMAL | changes).of_batches


def test_the_optimal_sigma_of_several_codes_is_one_for_all():
    images, logits = drawn_batch()
    both = np.stack([logits, 2 * logits], axis=1)
    draw = Draw(None, np.zeros((5, 2), "float32"), np.zeros(5), {})
    objective = IWAE(**OPTIMAL | {"type": "iwae", "samples": 2})
    found = array(objective.terms({"target": images}, draw, both, None)["bound"])
    means = expit(both.astype("float64"))
    sigma = math.sqrt(((means - images[:, None]) ** 2).mean())
    nats = norm.logpdf(images[:, None], means, sigma).sum(axis=(2, 3, 4))
    np.testing.assert_allclose(found, -(logsumexp(nats, axis=1) - math.log(2)), rtol=1e-5)


def test_figures_have_the_validation_images_sigma(few):
    subject = small(few, latent=GAUSSIAN, objective=OPTIMAL)
    images = subject.data.train_images[few.split[1]][..., None].astype("float32") / 255
    posterior = subject.model.posterior.predict(images, verbose=0)
    noise = np.random.default_rng(0).standard_normal((len(images), 4)).astype("float32")
    codes = posterior["mean"] + np.exp(posterior["log_variance"] / 2) * noise
    sigma = math.sqrt(((subject.model.decode(codes) - images) ** 2).mean())
    assert with_fixed_sigma(subject).sigma == pytest.approx(sigma, rel=1e-5)
    found = fmae_zoo.evaluate(subject.model, ["elbo"], data=subject.data)["elbo"]
    assert found["sigma"] == pytest.approx(sigma, rel=1e-5)
    assert nll(subject, samples=3)["sigma"] == found["sigma"]
    spec = tiny_spec(shape=[SIDE, SIDE, 1], latent=GAUSSIAN, objective=OPTIMAL | {"sigma": sigma})
    fixed = Autoencoder(spec.model_copy(update={"network": subject.model.spec.network}), seed=3)
    fixed.set_weights(subject.model.get_weights())
    expected = fmae_zoo.evaluate(fixed, ["elbo"], data=subject.data)["elbo"]
    assert numbers(found) == pytest.approx(numbers(expected), rel=1e-5)


# Bounds between the ELBO and the importance-weighted one.


def terms_of(log_weights, **options):
    """Return the bound of an objective, where the weights of codes are known: `(n, codes)`."""
    images = np.zeros((len(log_weights), 4, 4, 1), "float32")
    logits = np.zeros((*log_weights.shape, 4, 4, 1), "float32")
    ratio = (-log_weights - 16 * math.log(2)).astype("float32")
    objective = IWAE(type="iwae", **options)
    assert objective.codes == log_weights.shape[1]
    draw = Draw(None, ratio, np.zeros(len(images)), {})
    return -array(objective.terms({"target": images}, draw, logits, None)["bound"])


WEIGHTS = np.random.default_rng(1).normal(-20.0, 2.0, (3, 12))


def test_groups_have_the_mean_of_their_bounds():
    each = logsumexp(WEIGHTS.reshape(3, 4, 3), axis=2) - math.log(3)
    found = terms_of(WEIGHTS, samples=3, groups=4)
    np.testing.assert_allclose(found, each.mean(axis=1), rtol=1e-5)


def test_groups_of_one_code_and_a_share_of_one_give_the_elbo():
    expected = WEIGHTS.mean(axis=1)
    np.testing.assert_allclose(terms_of(WEIGHTS, samples=1, groups=12), expected, rtol=1e-5)
    np.testing.assert_allclose(terms_of(WEIGHTS, samples=12, elbo_share=1.0), expected, rtol=1e-5)


def test_a_share_of_the_elbo_is_mixed_with_the_bound():
    bound = logsumexp(WEIGHTS, axis=1) - math.log(12)
    found = terms_of(WEIGHTS, samples=12, elbo_share=0.3)
    np.testing.assert_allclose(found, 0.3 * WEIGHTS.mean(axis=1) + 0.7 * bound, rtol=1e-5)


def test_larger_groups_of_the_same_codes_give_a_tighter_bound():
    bounds = [terms_of(WEIGHTS, samples=k, groups=12 // k).mean() for k in (1, 2, 4, 12)]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1] - 0.5


def test_a_model_with_groups_is_trained_and_measured(few):
    objective = {"type": "iwae", "samples": 2, "groups": 3, "elbo_share": 0.25}
    subject = small(few, latent=GAUSSIAN, objective=objective)
    model, images = subject.model, subject.data.train_images[:32, ..., None]
    assert model(images[:5])["logits"].shape == (5, 6, SIDE, SIDE, 1)
    model.compile("adam")
    assert math.isfinite(model.fit(images, verbose=0).history["loss"][0])
    assert nll(subject, samples=4)["nll"] > 0
    assert math.isfinite(elbo(subject)["elbo"])
