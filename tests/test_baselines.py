"""Principal components and a mixture of Bernoullis, trained without gradient steps."""

import dataclasses

import keras
import numpy as np
import pytest
from scipy.special import expit, logit, logsumexp
from scipy.stats import bernoulli, beta
from sklearn.decomposition import PCA

import fmae_zoo
from fmae_zoo.augmentation import held_out_binarised
from fmae_zoo.errors import DataError, SpecError
from fmae_zoo.evaluation.elbo import binarised_test, elbo
from fmae_zoo.evaluation.reconstruction import pca_mse
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.objectives.expectation_maximisation import expectation_maximisation
from tests.conftest import tiny_spec

RECIPE = {"optimizer": "none", "epochs": 1, "batch_size": 50}


def pca_spec(size=4, **changes):
    return tiny_spec(
        **{
            "network": {"type": "linear", "output": "pixels"},
            "latent": {"type": "deterministic", "size": size},
            "objective": {"type": "principal_components"},
            "recipe": RECIPE,
        }
        | changes
    )


def mixture_spec(size=5, **changes):
    return tiny_spec(
        **{
            "network": {"type": "linear"},
            "latent": {"type": "categorical", "size": size, "categories": size},
            "objective": {"type": "expectation_maximisation"},
            "recipe": RECIPE | {"binarise": True},
        }
        | changes
    )


def weights_of(model):
    return [*model.posterior.get_weights(), *model.decoder.get_weights()]


def colour_data(few):
    """Images of 32x32x3 that need five components, and fall into five kinds."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(60, 200, (5, 32, 32, 3))

    def some(count):
        noise = rng.integers(-9, 10, (count, 32, 32, 3))
        return (kinds[rng.integers(0, 5, count)] + noise).astype(np.uint8)

    return dataclasses.replace(
        few,
        train_images=some(len(few.train_images)),
        test_images=some(len(few.test_images)),
        source="colours",
        listed=None,
    )


@pytest.fixture(scope="module")
def pca(few):
    return fmae_zoo.train(pca_spec(), data=few)


@pytest.fixture(scope="module")
def mixture(few):
    return fmae_zoo.train(mixture_spec(), data=few)


def test_codes_and_images_are_those_of_scikit_learns_pca_but_for_signs(few, pca):
    fit, _ = few.split
    rows = few.train_images.reshape(-1, 784) / 255.0
    theirs = PCA(4, svd_solver="full").fit(rows[fit])
    codes, expected = pca.model.encode(few.train_images), theirs.transform(rows)
    signs = np.sign((codes * expected).sum(axis=0))
    np.testing.assert_allclose(codes * signs, expected, atol=1e-3)
    restored = np.clip(theirs.inverse_transform(expected), 1e-4, 1 - 1e-4)
    images = pca.model.reconstruct(few.train_images).reshape(-1, 784)
    np.testing.assert_allclose(images, restored, atol=1e-4)


def test_the_losses_in_the_history_are_those_of_the_components(few, pca):
    [row] = pca.rows
    for name, rows in zip(("loss", "val_loss"), few.split):
        images = few.train_images[rows][..., None] / 255.0
        error = np.square(pca.model.reconstruct(few.train_images[rows]) - images)
        assert row[name] == pytest.approx(error.sum(axis=(1, 2, 3)).mean(), rel=1e-4)
    assert (row["learning_rate"], pca.record.epochs) == (0.0, 1)


def test_the_error_is_at_most_that_of_the_pca_that_stands_beside_each_entry(few, pca):
    fit, _ = few.split
    arrays = {"train_images": few.train_images[fit], "train_labels": few.train_labels[fit]}
    same = dataclasses.replace(few, **arrays)
    images = few.test_images[..., None] / 255.0
    mse = np.square(pca.model.reconstruct(few.test_images) - images).mean()
    assert 0.9 * pca_mse(same, 4) < mse <= pca_mse(same, 4) + 1e-6


def test_a_known_mixture_is_recovered():
    rng = np.random.default_rng(0)
    true = rng.choice([0.1, 0.9], (4, 60))
    images = (rng.random((4000, 60)) < true[rng.integers(0, 4, 4000)]).astype("float32")
    logits, bounds = expectation_maximisation(images, 4, np.random.default_rng(1), 1.0, 100, 1e-9)
    distance = np.abs(expit(logits)[:, None] - true[None]).max(axis=2)
    nearest = distance.argmin(axis=1)
    assert sorted(nearest) == [0, 1, 2, 3]
    assert distance.min(axis=1).max() < 0.06
    assert len(bounds) < 100


def test_each_iteration_raises_the_likelihood_and_the_prior_as_scipy_has_them(few):
    images = (few.train_images.reshape(-1, 784) > 100).astype("float32")

    def bound_of(iterations):
        rng = np.random.default_rng(2)
        logits, bounds = expectation_maximisation(images, 6, rng, 0.5, iterations, 0.0)
        p = expit(logits)
        each = bernoulli.logpmf(images[:, None], p[None]).sum(axis=2)
        likelihood = logsumexp(each, axis=1).mean() - np.log(6)
        prior = (beta.logpdf(p, 1.5, 1.5) - beta.logpdf(0.5, 1.5, 1.5) + np.log(0.5)).sum()
        return likelihood + prior / len(images), bounds

    after, bounds = bound_of(3)
    assert after == pytest.approx(bound_of(4)[1][3], abs=1e-4)
    many = bound_of(12)[1]
    np.testing.assert_allclose(many[:3], bounds)
    assert np.diff(many).min() > -1e-5
    assert many[5] > many[0] + 10


def test_the_bound_of_a_mixture_is_its_exact_log_likelihood(few, mixture):
    model = mixture.model
    subject = Subject(model, few, seed=0)
    found = elbo(subject)
    p = model.decode(np.eye(5)).reshape(5, 784).astype("float64")
    each = bernoulli.logpmf(binarised_test(subject).reshape(-1, 1, 784), p).sum(axis=2)
    exact = logsumexp(each, axis=1).mean() - np.log(5)
    assert found["elbo"] == pytest.approx(exact, abs=1e-3)
    assert found["kl"] > 1.0
    validation = few.train_images[few.split[1]].reshape(-1, 1, 784) / 255.0
    each = bernoulli.logpmf(held_out_binarised(validation, validation)[0], p).sum(axis=2)
    expected = np.log(5) - logsumexp(each, axis=1).mean()
    assert mixture.rows[0]["val_loss"] == pytest.approx(expected, abs=1e-3)


def test_a_code_is_the_likeliest_component_and_decodes_to_its_probabilities(few, mixture):
    model = mixture.model
    images = few.test_images.reshape(-1, 1, 784) / 255.0
    p = model.decode(np.eye(5)).reshape(5, 784)
    each = (images * np.log(p) + (1 - images) * np.log1p(-p)).sum(axis=2)
    np.testing.assert_array_equal(model.encode(few.test_images), np.eye(5)[each.argmax(axis=1)])
    restored = model.reconstruct(few.test_images).reshape(-1, 784)
    np.testing.assert_allclose(restored, p[each.argmax(axis=1)], atol=1e-6)
    assert model.generate(3).shape == (3, 28, 28, 1)


def test_training_again_gives_the_same_weights(few, pca, mixture):
    for first in (pca.model, mixture.model):
        again = fmae_zoo.train(first.spec, data=few).model
        for one, other in zip(weights_of(first), weights_of(again)):
            np.testing.assert_array_equal(one, other)


def test_a_stopped_run_resumes_to_the_same_model_and_loads(few, tmp_path):
    spec = mixture_spec(recipe=RECIPE | {"binarise": True, "epochs": 2})

    def stop(epoch, epochs, batch, batches, loss):
        if epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fmae_zoo.train(spec, data=few, output=tmp_path / "run", progress=stop)
    resumed = fmae_zoo.train(spec, data=few, output=tmp_path / "run", resume=True)
    whole = fmae_zoo.train(spec, data=few)
    assert len(resumed.rows) == 2
    assert [row["loss"] for row in resumed.rows] == [row["loss"] for row in whole.rows]
    assert resumed.rows[0]["loss"] != resumed.rows[1]["loss"], "the second began as the first"
    loaded = fmae_zoo.load(f"local:{tmp_path / 'run'}", pretrained=True)
    for first, second, third in zip(*map(weights_of, (resumed.model, whole.model, loaded))):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, third)


def test_colour_images_of_another_size_have_components_and_mixtures_too(few):
    data = colour_data(few)
    model = fmae_zoo.train(pca_spec(), data=data).model
    assert model.spec.shape == (32, 32, 3)
    error = np.square(model.reconstruct(data.test_images) - data.test_images / 255.0).mean()
    assert error < 2 * (6 / 255) ** 2
    model = fmae_zoo.Autoencoder(mixture_spec(8, shape=(32, 32, 3)))
    images = data.train_images / np.float32(255)
    model.spec.objective.solve(model, images, np.random.default_rng(0))
    codes = model.encode(data.test_images)
    assert codes.shape == (len(data.test_images), 8)
    assert 2 <= np.count_nonzero(codes.sum(axis=0)) <= 8


def test_fit_takes_gradient_steps_and_solve_then_finds_less(few):
    images = few.train_images[:64, ..., None] / np.float32(255)
    for spec in (pca_spec(), mixture_spec(recipe=RECIPE)):
        model = fmae_zoo.Autoencoder(spec)
        model.compile(keras.optimizers.Adam(1e-2))
        losses = model.fit(images, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
        spec.objective.solve(model, images, np.random.default_rng(0))
        model.optimizer.learning_rate = 0.0
        assert model.fit(images, verbose=0).history["loss"][0] < losses[-1]


ADAM = {"recipe": {"optimizer": "adam"}}
DENSE = {"network": {"type": "dense", "units": [8]}}


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (tiny_spec, {"recipe": RECIPE}, "'none', but objective squared_error .* by gradient steps"),
        (pca_spec, ADAM, "'adam', but objective principal_components .* without gradient steps"),
        (mixture_spec, ADAM, "'adam', but objective expectation_maximisation .* expected 'none'"),
        (pca_spec, DENSE, "type = 'linear', output = 'pixels'"),
        (pca_spec, {"network": {"type": "linear"}}, "output = 'pixels'"),
        (mixture_spec, DENSE, "output = 'logits'"),
        (pca_spec, {"latent": {"type": "gaussian", "size": 4}}, "latent.type = 'deterministic'"),
        (mixture_spec, {"latent": {"type": "deterministic", "size": 4}}, "type = 'categorical'"),
        (
            mixture_spec,
            {"latent": {"type": "categorical", "size": 8, "categories": 4}},
            "latent.categories: 4, but a mixture has one variable: expected latent.size, 8",
        ),
        (pca_spec, {"classes": 10}, "classes: 10, but objective principal_components"),
        (pca_spec, {"latent": {"type": "deterministic", "size": 785}}, "latent.size: 785"),
    ],
)
def test_what_cannot_be_solved_is_refused_with_what_can(make, changes, message):
    with pytest.raises(SpecError, match=message):
        make(**changes)


def test_fewer_images_than_components_are_refused(few):
    with pytest.raises(DataError, match=r"192 training images have no 300 principal components"):
        fmae_zoo.train(pca_spec(300), data=few)


def test_the_linear_network_decodes_affinely_whatever_the_latent():
    latent = {"type": "gaussian", "size": 3}
    spec = tiny_spec(network={"type": "linear"}, latent=latent, objective={"type": "elbo"})
    model = fmae_zoo.Autoencoder(spec)
    one, other = np.random.default_rng(0).normal(0.0, 10.0, (2, 2, 3)).astype("float32")
    logits = [logit(model.decode(z).astype("float64")) for z in (one, other, one + other, 0 * one)]
    np.testing.assert_allclose(logits[0] + logits[1], logits[2] + logits[3], atol=1e-4)
    assert np.abs(logits[0]).max() > 0.1
