"""Latents and objectives, each against its formula."""

import keras
import numpy as np
import pytest
from keras import ops

import fmae_zoo
from fmae_zoo.errors import ArgumentError, DataError, FmaeError, SpecError
from fmae_zoo.latents import Draw
from fmae_zoo.latents.gaussian import GaussianLatent, bounded
from fmae_zoo.layers.initial import Seeds
from fmae_zoo.layers.latent import LatentLayer, spaced
from fmae_zoo.objectives.clustered_squared_error import ClusteredSquaredError
from fmae_zoo.objectives.elbo import ELBO
from fmae_zoo.objectives.squared_error import SquaredError
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

VAE = tiny_spec(latent={"type": "gaussian", "size": 4}, objective={"type": "elbo"})


def number(terms) -> float:
    """Return the mean of a term over images."""
    return float(np.mean(ops.convert_to_numpy(terms)))


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    images = rng.random((5, 28, 28, 1), dtype="float32")
    logits = rng.standard_normal((5, 28, 28, 1)).astype("float32")
    mean = rng.standard_normal((5, 4)).astype("float32")
    log_variance = rng.standard_normal((5, 4)).astype("float32")
    return images, {"logits": logits, "mean": mean, "log_variance": log_variance}


def terms_of(objective, images, outputs, model=None):
    """Return the terms of one code an image, and of what is known of the images."""
    mean = outputs["mean"]
    draw = Draw(mean[:, None], 0 * mean[:, :1], 0 * mean[:, 0], {"mean": mean})
    return objective.terms({"target": images} | outputs, draw, outputs["logits"][:, None], model)


def gaussian(size, seed=1):
    return LatentLayer(GaussianLatent(type="gaussian", size=size), seed, Seeds(0), (28, 28, 1))


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype("float64")))


def test_gated_layers_are_products_with_sigmoids():
    spec = tiny_spec(network={"type": "dense", "units": [6, 5], "gated": True})
    model = fmae_zoo.Autoencoder(spec)
    images = np.random.default_rng(0).random((3, 28, 28, 1), dtype="float32")
    x = images.reshape(3, -1)
    for name in ("encoder1", "encoder2"):
        value, gate = (
            x @ ops.convert_to_numpy(layer.kernel) + ops.convert_to_numpy(layer.bias)
            for layer in map(model.posterior.get_layer, (f"{name}_dense", f"{name}_gate"))
        )
        x = value * sigmoid(gate)
    features = model.posterior.get_layer("features").output
    found = keras.Model(model.posterior.inputs, features)([images])
    np.testing.assert_allclose(ops.convert_to_numpy(found), x, atol=1e-5)
    kernels = [each for each in model.trainable_variables if each.path.endswith("kernel")]
    count = sum(int(np.prod(each.shape)) for each in kernels)
    assert spec.network.parameters(spec.latent.size, spec.shape) == count
    with pytest.raises(SpecError, match="gated"):
        tiny_spec(network={"type": "dense", "units": [6], "gated": True, "batch_norm": True})


def test_squared_error_is_summed_over_pixels_and_averaged_over_the_batch(batch):
    images, outputs = batch
    expected = ((sigmoid(outputs["logits"]) - images) ** 2).sum() / 5
    terms = terms_of(SquaredError(type="squared_error"), images, outputs)
    assert number(terms["reconstruction"]) == pytest.approx(expected, rel=1e-5)


CLUSTERED = {"type": "clustered_squared_error", "clusters": 3, "cluster_weight": 0.5}


def test_clusters_are_the_cross_entropy_of_the_first_values_of_the_code(batch):
    images, outputs = batch
    objective = ClusteredSquaredError(**CLUSTERED)
    truth = np.array([0, 2, 1, 1, 0], np.int32)
    e = np.exp(outputs["mean"][:, :3].astype("float64"))
    expected = -np.log(e[np.arange(5), truth] / e.sum(axis=1)).mean()
    terms = terms_of(objective, images, outputs | {"cluster": truth})
    assert number(terms["clusters"]) == pytest.approx(expected, rel=1e-5)
    plain = terms_of(SquaredError(type="squared_error"), images, outputs)["reconstruction"]
    assert number(terms["reconstruction"]) == number(plain)
    assert objective.weights() == {"reconstruction": 1.0, "clusters": 0.5}
    assert number(terms_of(objective, images, outputs)["clusters"]) == 0.0
    column = terms_of(objective, images, outputs | {"cluster": truth[:, None]})
    assert number(column["clusters"]) == pytest.approx(expected, rel=1e-5)


def test_a_target_must_hold_an_image_and_replaces_no_output(batch):
    images, outputs = batch
    model = fmae_zoo.Autoencoder(tiny_spec())
    zeros = np.zeros(5, "float32")
    outputs = outputs | {"code": outputs["mean"], "kl": zeros, "log_ratio": zeros}
    plain = number(model.compute_loss(x=images, y_pred=outputs, training=False))
    target = {"image": images, "logits": 0 * outputs["logits"]}
    assert number(model.compute_loss(y=target, y_pred=outputs, training=False)) == plain
    with pytest.raises(ArgumentError, match=r"an 'image'; received \['cluster'\]"):
        model.compute_loss(y={"cluster": 0}, y_pred=outputs, training=False)


def test_the_weight_of_the_clusters_is_the_final_one_after_its_steps():
    objective = ClusteredSquaredError(**CLUSTERED, final_weight=0.125, final_after_steps=100)
    weights = [
        number(objective.weights(ops.cast(step, "float32"))["clusters"]) for step in (0, 99, 100)
    ]
    assert [*weights, objective.weights()["clusters"]] == [0.5, 0.5, 0.125, 0.125]


def test_clusters_divide_the_images_alike_each_time_and_need_no_label(few, compiled):
    objective = ClusteredSquaredError(**CLUSTERED | {"clusters": 10})
    fit, validation = few.split
    images = few.train_images
    one, others = objective.annotations(
        {"image": images[fit]}, {"image": images[validation]}, seed=0
    )
    again, _ = objective.annotations({"image": images[fit]}, {"image": images[validation]}, seed=0)
    np.testing.assert_array_equal(one["cluster"], again["cluster"])
    assert set(one["cluster"]) == set(range(10))
    assert others["cluster"].shape == (len(validation),)
    labels = few.train_labels[fit]
    pure = sum(np.bincount(labels[one["cluster"] == k]).max() for k in range(10)) / len(fit)
    assert pure > 0.4
    copies, _ = objective.annotations({"image": images[fit]}, {"image": images[fit]}, seed=0)[::-1]
    np.testing.assert_array_equal(copies["cluster"], one["cluster"])


def test_clusters_must_fit_the_code_and_the_images(few):
    with pytest.raises(SpecError, match=r"latent\.size: 4, but .* at least 5 values"):
        tiny_spec(objective=CLUSTERED | {"clusters": 5})
    with pytest.raises(DataError, match="2 training images cannot be divided into 3 clusters"):
        ClusteredSquaredError(**CLUSTERED).annotations({"image": few.train_images[:2]}, {}, 0)


def test_labels_reach_an_objective_that_asks_for_them(few):
    class Labelled(SquaredError):
        def annotations(self, training, validation, seed):
            return {"label": training["label"]}, {"label": validation["label"]}

        def terms(self, batch, draw, logits, model):
            terms = super().terms(batch, draw, logits, model)
            return {
                "reconstruction": 0 * terms["reconstruction"] + ops.cast(batch["label"], "float32")
            }

    spec = tiny_spec(recipe={"epochs": 1})
    spec = spec.model_copy(update={"objective": Labelled(type="squared_error")})
    row = fmae_zoo.train(spec, data=few).rows[0]
    fit, validation = (few.train_labels[rows] for rows in few.split)
    assert row["loss"] == pytest.approx(fit.mean(), rel=1e-5)
    assert row["val_loss"] == pytest.approx(validation.mean(), rel=1e-5)


def test_a_term_of_the_batch_is_added_once_and_validated_in_batches_of_the_same_size(few):
    class OfBatch(SquaredError):
        of_batches = True
        term_names = ("reconstruction", "batch")

        def terms(self, batch, draw, logits, model):
            sizes.add(logits.shape[0])
            return super().terms(batch, draw, logits, model) | {"batch": ops.ones(()) * 7.0}

    sizes = set()
    spec = tiny_spec(recipe={"epochs": 1, "batch_size": 16})
    spec = spec.model_copy(update={"objective": OfBatch(type="squared_error")})
    row = fmae_zoo.train(spec, data=few).rows[0]
    assert row["batch"] == row["val_batch"] == pytest.approx(7)
    assert row["val_loss"] == pytest.approx(row["val_reconstruction"] + 7, rel=1e-5)
    assert not any(size and size > 16 for size in sizes)
    model = fmae_zoo.Autoencoder(spec)
    model.compile("sgd")
    images, weights = few.train_images[:8, ..., None], np.zeros(8, "float32")
    logs = model.evaluate(images, sample_weight=weights, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(7)


def test_a_code_of_clusters_tells_them_apart(few, compiled):
    spec = tiny_spec(objective=CLUSTERED | {"cluster_weight": 100.0}, recipe={"epochs": 8})
    history = fmae_zoo.train(spec, data=few, optimizer="muon", learning_rate=1e-2, batch_size=16)
    first, last = history.rows[0], history.rows[-1]
    assert last["clusters"] < first["clusters"] < 3
    assert last["val_clusters"] < np.log(3)
    assert last["loss"] == pytest.approx(last["reconstruction"] + 100 * last["clusters"], rel=1e-4)
    fit, validation = few.split
    images = few.train_images
    truth, _ = spec.objective.annotations(
        {"image": images[fit]}, {"image": images[validation]}, seed=0
    )
    found = history.model.encode(images[fit])[:, :3].argmax(axis=1)
    assert (found == truth["cluster"]).mean() > 0.8


def test_bernoulli_is_the_cross_entropy(batch):
    images, outputs = batch
    p = sigmoid(outputs["logits"])
    expected = -(images * np.log(p) + (1 - images) * np.log(1 - p)).sum() / 5
    terms = terms_of(ELBO(type="elbo"), images, outputs)
    assert number(terms["reconstruction"]) == pytest.approx(expected, rel=1e-5)


def test_bernoulli_stays_finite_for_extreme_logits():
    images = np.ones((1, 28, 28, 1), "float32")
    outputs = {"logits": np.full((1, 28, 28, 1), -1e4, "float32")}
    nll = ELBO(type="elbo").negative_log_likelihood(images, outputs["logits"])
    assert number(nll[0]) == pytest.approx(1e4 * 784, rel=1e-5)


def test_gaussian_is_the_log_density(batch):
    from scipy.stats import norm

    images, outputs = batch
    expected = -norm.logpdf(images, sigmoid(outputs["logits"]), 0.3).sum() / 5
    terms = terms_of(ELBO(type="elbo", likelihood="gaussian", sigma=0.3), images, outputs)
    assert number(terms["reconstruction"]) == pytest.approx(expected, rel=1e-4)


def test_kl_is_that_of_two_gaussians_and_zero_at_the_prior(batch):
    _, outputs = batch
    mean, log_variance = outputs["mean"], outputs["log_variance"]
    expected = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum() / 5
    posterior = {"mean": mean, "log_variance": log_variance}
    assert number(gaussian(4).draw(posterior).kl) == pytest.approx(expected, rel=1e-5)
    prior = {"mean": 0 * mean, "log_variance": 0 * log_variance}
    assert number(gaussian(4).draw(prior).kl) == pytest.approx(0, abs=1e-5)


def test_the_log_ratio_of_a_draw_is_that_of_two_densities(batch):
    from scipy.stats import norm

    _, outputs = batch
    mean, log_variance = outputs["mean"], outputs["log_variance"]
    noise = np.random.default_rng(1).standard_normal((5, 3, 4)).astype("float32")
    draw = gaussian(4).draw({"mean": mean, "log_variance": log_variance}, 3, noise=noise)
    code = ops.convert_to_numpy(draw.code)
    deviation = np.exp(log_variance / 2)[:, None]
    np.testing.assert_allclose(code, mean[:, None] + deviation * noise, rtol=1e-5, atol=1e-6)
    expected = norm.logpdf(code, mean[:, None], deviation) - norm.logpdf(code)
    np.testing.assert_allclose(
        ops.convert_to_numpy(draw.log_ratio), expected.sum(axis=-1), rtol=1e-3, atol=1e-4
    )


def test_the_weight_of_the_kl_rises_to_beta():
    objective = ELBO(type="elbo", beta=2.0, kl_warmup_steps=100)
    weights = [number(objective.weights(ops.cast(s, "float32"))["kl"]) for s in (0, 25, 100, 900)]
    np.testing.assert_allclose(weights, [0.0, 0.5, 2.0, 2.0], rtol=1e-6)
    assert ELBO(type="elbo").weights(0)["kl"] == 1.0


def test_the_code_is_the_mean_outside_training():
    parameters = {"mean": ops.ones((3, 2)), "log_variance": ops.zeros((3, 2))}
    draw = gaussian(2).draw(parameters, training=False)
    np.testing.assert_array_equal(ops.convert_to_numpy(draw.code), np.ones((3, 1, 2)))


def test_samples_have_the_posteriors_moments():
    shape = (20_000, 1)
    parameters = {"mean": ops.full(shape, 3.0), "log_variance": ops.full(shape, np.log(4.0))}
    for samples, training in ((1, True), (2, False)):
        draw = gaussian(1).draw(parameters, samples, training)
        codes = ops.convert_to_numpy(draw.code)
        assert codes.shape == (20_000, samples, 1)
        assert codes.mean() == pytest.approx(3.0, abs=0.06)
        assert codes.std() == pytest.approx(2.0, abs=0.06)


def test_samples_repeat_with_the_seed_and_differ_from_call_to_call():
    parameters = {"mean": ops.zeros((8, 4)), "log_variance": ops.zeros((8, 4))}

    def codes(layer):
        return ops.convert_to_numpy(layer.draw(parameters, training=True).code)

    one, other = gaussian(4), gaussian(4)
    first, second = codes(one), codes(one)
    np.testing.assert_array_equal(first, codes(other))
    assert not np.array_equal(first, second)


def test_neighbouring_seeds_are_spaced():
    seeds = [spaced(seed) for seed in range(100)]
    assert len(set(seeds)) == 100
    assert min(np.diff(sorted(seeds))) > 1000
    assert min(seeds) >= 0
    assert max(seeds) < 2**31


def test_generated_images_depend_on_the_seed_alone():
    model = fmae_zoo.Autoencoder(VAE)
    images = model.generate(7, seed=2)
    assert images.shape == (7, 28, 28, 1)
    assert images.min() >= 0
    assert images.max() <= 1
    np.testing.assert_array_equal(images, model.generate(7, seed=2))
    assert not np.array_equal(images, model.generate(7, seed=3))


def test_what_has_no_prior_cannot_generate():
    with pytest.raises(FmaeError, match="no prior"):
        fmae_zoo.Autoencoder(tiny_spec()).generate(3)


def test_codes_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(n, 4\); received \(2, 5\)"):
        fmae_zoo.Autoencoder(tiny_spec()).decode(np.zeros((2, 5)))


def test_no_images_give_no_codes():
    assert fmae_zoo.Autoencoder(tiny_spec()).encode(np.zeros((0, 28, 28), "uint8")).shape == (0, 4)


def test_the_training_noise_does_not_reach_encode():
    model = fmae_zoo.Autoencoder(VAE)
    images = np.random.default_rng(0).random((4, 28, 28, 1), dtype="float32")
    noisy = ops.convert_to_numpy(model(images, training=True)["code"])
    still = ops.convert_to_numpy(model(images, training=False)["code"])
    assert not np.allclose(noisy, still)
    np.testing.assert_allclose(model.encode(images), still, atol=1e-5)


def test_building_a_model_leaves_the_global_random_state_alone():
    np.random.seed(0)
    expected = np.random.random(3)
    np.random.seed(0)
    fmae_zoo.Autoencoder(tiny_spec())
    np.testing.assert_array_equal(np.random.random(3), expected)
    assert keras.config.dtype_policy().name == "float32"


def test_the_slope_of_a_bounded_log_variance_does_not_vanish():
    raw = np.array([-1e4, -100.0, -5.0, 0.0, 5.0, 100.0, 1e4], dtype="float32")
    found = ops.convert_to_numpy(bounded(raw))
    np.testing.assert_allclose(found, raw / (1 + np.abs(raw) / 10), rtol=1e-4, atol=1e-6)
    assert np.abs(found).max() < 10
    step = 1.0
    slope = ops.convert_to_numpy(bounded(raw + step) - bounded(raw))[1:-1] / step
    assert slope.min() > 1e-3
