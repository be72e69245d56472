"""Objectives that ask more of a Gaussian code than the ELBO does, against their formulas."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from fmae_zoo import Autoencoder
from fmae_zoo.errors import SpecError
from fmae_zoo.latents import Draw
from fmae_zoo.latents.gaussian import GaussianLatent
from fmae_zoo.layers.initial import Seeds
from fmae_zoo.layers.latent import LatentLayer
from fmae_zoo.objectives.beta_tc import BetaTC
from fmae_zoo.objectives.dip import DIP
from fmae_zoo.objectives.elbo import ELBO
from fmae_zoo.objectives.factor import Factor, permuted
from tests.conftest import tiny_spec
from tests.test_variants import moved_by_a_step

pytestmark = pytest.mark.usefixtures("eager")

GAUSSIAN = {"type": "gaussian", "size": 3}


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def pictures(count, seed=0, shape=(28, 28, 1)):
    return np.random.default_rng(seed).random((count, *shape), dtype="float32")


def drawn(mean, log_variance, seed=0):
    """Return a draw of the Gaussian latent with such parameters, by NumPy's noise."""
    mean, log_variance = np.float32(mean), np.float32(log_variance)
    size = mean.shape[1]
    layer = LatentLayer(GaussianLatent(type="gaussian", size=size), 0, Seeds(0), (28, 28, 1))
    noise = np.random.default_rng(seed).standard_normal((len(mean), 1, size)).astype("float32")
    return layer.draw({"mean": mean, "log_variance": log_variance}, noise=noise)


def random_draw(count=7, size=3):
    rng = np.random.default_rng(1)
    return drawn(rng.standard_normal((count, size)), rng.uniform(-2, 1, (count, size)))


def terms_of(objective, draw, model=None, **batch):
    """Return the terms of a draw whose reconstructions are grey images of one pixel."""
    count = draw.code.shape[0]
    logits = np.zeros((count, 1, 1, 1, 1), "float32")
    target = np.full((count, 1, 1, 1), 0.5, "float32")
    terms = objective.terms({"target": target, **batch}, draw, logits, model)
    return {name: array(term) for name, term in terms.items()}


def alone(kind, term, **options):
    """Return an objective whose other terms have no weight."""

    class Alone(kind):
        def weights(self, step=None):
            return {name: float(name in term) for name in self.term_names}

    return Alone(type=kind.model_fields["type"].annotation.__args__[0], **options)


def model_with(objective):
    """Return a model whose posteriors begin with variances near 1."""
    spec = tiny_spec(latent=GAUSSIAN, objective={"type": "elbo"})
    model = Autoencoder(spec.model_copy(update={"objective": objective}))
    kernel = model.parts()["encoder"]["latent_log_variance.kernel"]
    kernel.assign(0.1 * array(kernel))
    return model


def trained_on_one_batch(model, images, steps, rate=1e-3):
    model.compile(keras.optimizers.Adam(rate))
    many = np.tile(images, (steps, 1, 1, 1))
    model.fit(many, batch_size=len(images), shuffle=False, verbose=0)


# What holds for each of them.


@pytest.mark.parametrize("kind", ["beta_tc", "dip", "factor"])
def test_a_latent_without_a_posterior_is_refused(kind):
    with pytest.raises(SpecError, match=r"gives .*log_variance: latent.type = .*'gaussian'"):
        tiny_spec(objective={"type": kind})


# The ELBO with a capacity.


def test_the_kl_of_a_batch_is_drawn_to_a_capacity_that_rises():
    draw = random_draw()
    mean = array(draw.kl).mean()
    objective = ELBO(type="elbo", beta=3.0, capacity=20.0, capacity_steps=100)
    for step, capacity in [(0, 0), (25, 5), (100, 20), (900, 20), (None, 20)]:
        batch = {} if step is None else {"step": ops.cast(step, "float32")}
        terms = terms_of(objective, draw, **batch)
        np.testing.assert_allclose(terms["capacity_gap"], abs(mean - capacity), rtol=1e-5)
        np.testing.assert_allclose(terms["kl"], array(draw.kl))
    assert objective.weights() == {"reconstruction": 1.0, "kl": 0.0, "capacity_gap": 3.0}
    assert objective.term_names == ("reconstruction", "kl", "capacity_gap")
    assert objective.of_batches


def test_without_a_capacity_the_elbo_is_what_it_was():
    objective = ELBO(type="elbo", beta=3.0)
    assert objective.term_names == tuple(terms_of(objective, random_draw()))
    assert objective.weights() == {"reconstruction": 1.0, "kl": 3.0}
    assert not objective.of_batches
    specs = [
        tiny_spec(latent=GAUSSIAN, objective={"type": "elbo"} | options)
        for options in ({}, {"capacity": 0.0, "capacity_steps": 0}, {"capacity": 1.0})
    ]
    assert specs[0].digest == specs[1].digest != specs[2].digest


def test_training_takes_the_kl_to_the_capacity(compiled):
    objective = ELBO(type="elbo", beta=1000.0, capacity=6.0, capacity_steps=100)
    model, images = model_with(objective), pictures(16)
    model.compile(keras.optimizers.Adam(1e-3))
    first = model.train_on_batch(images, return_dict=True)
    assert first["capacity_gap"] == pytest.approx(first["kl"], rel=1e-4)
    # Step 1 of 100.
    model.reset_metrics()
    second = model.train_on_batch(images, return_dict=True)
    assert second["capacity_gap"] == pytest.approx(abs(second["kl"] - 0.06), rel=1e-4)
    trained_on_one_batch(model, images, 400)
    logs = model.evaluate(images, verbose=0, return_dict=True)
    assert logs["kl"] == pytest.approx(6.0, abs=0.5)
    assert logs["capacity_gap"] == pytest.approx(abs(logs["kl"] - 6.0), abs=1e-3)


# The three parts of the KL.


@pytest.mark.parametrize("sampling", ["weighted", "stratified"])
def test_the_parts_of_the_kl_are_those_of_densities_of_the_batch(sampling):
    from scipy.special import logsumexp
    from scipy.stats import norm

    draw, count, images = random_draw(), 7, 1000
    code = np.float64(array(draw.code))[:, 0]
    mean = np.float64(array(draw.extra["mean"]))
    deviation = np.exp(np.float64(array(draw.extra["log_variance"])) / 2)
    pairs = norm.logpdf(code[:, None], mean[None], deviation[None])
    share = np.full((count, count), 1 / (count * images))
    if sampling == "stratified":
        share = np.full((count, count), (1 - 1 / images) / (count - 1))
        np.fill_diagonal(share, 1 / images)
    own = norm.logpdf(code, mean, deviation).sum(axis=-1)
    of_all = logsumexp(pairs.sum(axis=-1), b=share, axis=1)
    of_values = logsumexp(pairs, b=share[..., None], axis=1).sum(axis=-1)
    terms = terms_of(BetaTC(type="beta_tc", sampling=sampling, images=images), draw)
    expected = {
        "mutual_information": own - of_all,
        "total_correlation": of_all - of_values,
        "dimension_kl": of_values - norm.logpdf(code).sum(axis=-1),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(terms["kl"], array(draw.kl))


@pytest.mark.parametrize("sampling", ["weighted", "stratified"])
def test_the_parts_sum_to_the_log_ratio_of_the_draw(sampling):
    draw = random_draw(20, 8)
    terms = terms_of(BetaTC(type="beta_tc", sampling=sampling), draw)
    total = terms["mutual_information"] + terms["total_correlation"] + terms["dimension_kl"]
    np.testing.assert_allclose(total, array(draw.log_ratio)[:, 0], rtol=1e-4, atol=1e-4)


def correlated(correlation, count, seed=0, variance=0.1):
    """Return a draw whose codes are standard normal pairs with a correlation."""
    rng = np.random.default_rng(seed)
    covariance = np.array([[1.0, correlation], [correlation, 1.0]]) - variance * np.eye(2)
    mean = rng.multivariate_normal(np.zeros(2), covariance, count)
    return drawn(mean, np.full((count, 2), math.log(variance)), seed + 1)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.85])
def test_the_total_correlation_of_correlated_gaussians_is_the_known_one(correlation):
    draw = correlated(correlation, 1500)
    known = -0.5 * math.log(1 - correlation**2)
    for sampling, constant in (("stratified", 0.0), ("weighted", math.log(50_000))):
        terms = terms_of(BetaTC(type="beta_tc", sampling=sampling), draw)
        assert terms["total_correlation"].mean() - constant == pytest.approx(known, abs=0.05)
        # The codes' values are standard normal, so that what is left is their information.
        assert terms["dimension_kl"].mean() + 2 * constant == pytest.approx(0.0, abs=0.05)
        information = array(draw.kl).mean() - known
        assert terms["mutual_information"].mean() - constant == pytest.approx(information, abs=0.1)


def test_the_size_of_the_data_moves_no_gradient_of_weighted_sampling():
    draw = random_draw()
    few, many = (terms_of(BetaTC(type="beta_tc", images=images), draw) for images in (100, 50_000))
    moved = few["total_correlation"] - many["total_correlation"]
    np.testing.assert_allclose(moved, -2 * math.log(500), rtol=1e-4)


def test_each_part_of_the_kl_has_its_weight():
    weights = BetaTC(type="beta_tc", alpha=2.0, beta=3.0, gamma=4.0).weights()
    assert weights == {
        "reconstruction": 1.0,
        "mutual_information": 2.0,
        "total_correlation": 3.0,
        "dimension_kl": 4.0,
        "kl": 0.0,
    }


# The covariance of the codes.


def covariance(parameters, variant):
    """Return the covariance that a variant is about, by NumPy."""
    found = np.cov(array(parameters["mean"]), rowvar=False, bias=True)
    if variant == "ii":
        found += np.diag(np.exp(array(parameters["log_variance"])).mean(axis=0))
    return found


@pytest.mark.parametrize("variant", ["i", "ii"])
def test_the_covariance_is_compared_with_the_identity(variant):
    draw = random_draw()
    found = covariance(draw.extra, variant)
    off = found - np.diag(np.diag(found))
    objective = DIP(type="dip", variant=variant, lambda_od=2.0, lambda_d=3.0)
    terms = terms_of(objective, draw)
    np.testing.assert_allclose(terms["off_diagonal"], (off**2).sum(), rtol=1e-4)
    np.testing.assert_allclose(terms["diagonal"], ((np.diag(found) - 1) ** 2).sum(), rtol=1e-4)
    np.testing.assert_allclose(terms["kl"], array(draw.kl))
    assert list(objective.weights().values()) == [1.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("variant", ["i", "ii"])
def test_steps_down_these_terms_take_the_covariance_to_the_identity(variant, compiled):
    model = model_with(alone(DIP, ("off_diagonal", "diagonal"), variant=variant))
    images = pictures(32)
    kernel = model.parts()["encoder"]["latent.kernel"]
    kernel.assign(3.0 * kernel)
    before = covariance(model.posterior(images), variant)
    trained_on_one_batch(model, images, 150, rate=3e-3)
    after = covariance(model.posterior(images), variant)
    assert np.abs(before - np.eye(3)).max() > 0.3
    np.testing.assert_allclose(after, np.eye(3), atol=0.05)


# The critic of independent values.


@pytest.mark.parametrize(
    ("term", "moves"),
    [
        ("reconstruction", {"encoder", "decoder"}),
        ("kl", {"encoder"}),
        ("total_correlation", {"encoder"}),
        ("critic", {"critic"}),
    ],
)
def test_each_term_moves_its_own_side_alone(term, moves):
    model = model_with(alone(Factor, (term,), units=(8,)))
    model.compile(keras.optimizers.SGD(1.0))
    assert moved_by_a_step(model, pictures(8)) == moves


def test_permuted_codes_have_the_same_values_in_other_company():
    rng = np.random.default_rng(0)
    code, noise = (rng.standard_normal((50, 3)).astype("float32") for _ in range(2))
    found = array(permuted(ops.convert_to_tensor(code), ops.convert_to_tensor(noise)))
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort(code, axis=0))
    origin = [[np.flatnonzero(code[:, j] == row[j])[0] for j in range(3)] for row in found]
    alike = [len(set(each)) == 1 for each in origin]
    assert np.mean(alike) < 0.1


class CriticAlone(keras.Model):
    """A critic that learns of codes that are given."""

    def __init__(self, objective, size):
        super().__init__()
        spec = tiny_spec(latent={"type": "gaussian", "size": size}, objective={"type": "elbo"})
        self.objective = objective
        self.latent = LatentLayer(spec.latent, 0, Seeds(0), spec.shape)
        self.critic = objective.module(spec, Seeds(0))

    def call(self, codes):
        return codes

    def terms(self, codes):
        nothing = ops.zeros_like(codes[:, 0])
        draw = Draw(codes[:, None], nothing[:, None], nothing, {})
        pixel = ops.reshape(nothing, (-1, 1, 1, 1))
        return self.objective.terms({"target": pixel}, draw, pixel[:, None], self)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(self.terms(x)["critic"])


@pytest.mark.parametrize("correlation", [0.0, 0.85])
def test_a_trained_critic_estimates_the_known_total_correlation(correlation, compiled):
    model = CriticAlone(Factor(type="factor", units=(32, 32)), 2)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 240)))
    codes, others = (array(correlated(correlation, 4096, seed).code)[:, 0] for seed in (0, 7))
    model.fit(codes, batch_size=512, epochs=30, shuffle=False, verbose=0)
    terms = model.terms(ops.convert_to_tensor(others))
    known = -0.5 * math.log(1 - correlation**2)
    assert array(terms["total_correlation"]).mean() == pytest.approx(known, abs=0.1)
    assert array(terms["critic"]).mean() <= math.log(2) + 0.01
    accuracy = array(terms["accuracy"]).mean()
    assert accuracy == pytest.approx(0.5, abs=0.05) if correlation == 0 else accuracy > 0.6


def test_the_loss_is_the_weighted_sum_of_the_terms():
    objective = {"type": "factor", "gamma": 50.0, "units": [8]}
    model = Autoencoder(tiny_spec(latent=GAUSSIAN, objective=objective))
    model.compile("adam")
    history = model.fit(pictures(32), epochs=1, batch_size=16, verbose=0).history
    weights = {"reconstruction": 1.0, "kl": 1.0, "total_correlation": 50.0, "critic": 1.0}
    expected = sum(weight * history[name][-1] for name, weight in weights.items())
    assert history["loss"][-1] == pytest.approx(expected, rel=1e-4)
