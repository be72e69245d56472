"""Discrete and sparse codes and noise at the input, against their formulas."""

import json
import math

import keras
import numpy as np
import pytest
from keras import ops

import fmae_zoo
from fmae_zoo import Autoencoder
from fmae_zoo.augmentation import epoch_of, masked, noisy, patch_mask
from fmae_zoo.errors import SpecError
from fmae_zoo.evaluation.denoising import NOISE_SEED
from fmae_zoo.latents.categorical import CategoricalLatent
from fmae_zoo.latents.finite_scalar import MARGIN, FiniteScalarLatent
from fmae_zoo.latents.k_sparse import KSparseLatent
from fmae_zoo.layers.initial import Seeds
from fmae_zoo.layers.latent import LatentLayer
from fmae_zoo.objectives.sparse import Sparse
from fmae_zoo.recipe import Noise, PatchMask, Recipe
from tests.autodiff import jacobian
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

FINITE = {"type": "finite_scalar", "size": 6, "levels": [8, 5, 3]}
CATEGORICAL = {"type": "categorical", "size": 6, "categories": 3}
K_SPARSE = {"type": "k_sparse", "size": 8, "k": 3, "alpha": 1.7}
SPECS = {
    "finite_scalar": {"latent": FINITE},
    "categorical": {
        "latent": CATEGORICAL | {"final_temperature": 0.5},
        "objective": {"type": "elbo"},
    },
    "categorical_iwae": {"latent": CATEGORICAL, "objective": {"type": "iwae", "samples": 2}},
    "k_sparse": {"latent": K_SPARSE},
    "sparse_l1": {"objective": {"type": "sparse"}},
    "sparse_kl": {"objective": {"type": "sparse", "penalty": "kl"}},
}


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def layer_of(latent):
    return LatentLayer(latent, 0, Seeds(0), (28, 28, 1))


# All of them.


def test_the_steps_of_a_temperature_are_counted_in_mixed_precision():
    network = {"type": "dense", "units": [8]}
    model = Autoencoder(tiny_spec(**SPECS["categorical"], network=network), dtype="mixed_bfloat16")
    model.latent.steps.assign(1000.0)
    model.compile("sgd")
    model.train_on_batch(np.zeros((1, 28, 28, 1), "float32"))
    assert array(model.latent.steps) == 1001


@pytest.mark.parametrize("latent", [FINITE, CATEGORICAL, K_SPARSE], ids=lambda each: each["type"])
def test_plain_keras_reads_the_encoder(latent, tmp_path):
    model = Autoencoder(tiny_spec(latent=latent))
    images = np.random.default_rng(0).random((5, 28, 28, 1), dtype="float32")
    fmae_zoo.stock(model.encoder).save(tmp_path / "encoder.keras")
    plain = keras.saving.load_model(tmp_path / "encoder.keras")
    assert "fmae_zoo" not in json.dumps(plain.get_config(), default=str)
    codes = model.encode(images)
    np.testing.assert_allclose(plain.predict(images, verbose=0), codes, atol=1e-5)
    np.testing.assert_allclose(array(model(images)["code"]), codes, atol=1e-5)


@pytest.mark.parametrize(
    ("latent", "words"),
    [
        (FINITE | {"size": 7}, "7 is no multiple of the number of levels, 3"),
        (FINITE | {"levels": [1000, 1000, 1000]}, "1,000,000,000 codes of a group"),
        (CATEGORICAL | {"size": 7}, "7 is no multiple of categories, 3"),
        (K_SPARSE | {"k": 9}, "k: 9 values cannot stay of size = 8"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(latent, words):
    with pytest.raises(SpecError, match=words):
        tiny_spec(latent=latent)


VECTORS = {"type": "vector_quantized", "size": 6, "dimension": 3, "vectors": 11}


@pytest.mark.parametrize("latent", [FINITE, CATEGORICAL, VECTORS], ids=lambda each: each["type"])
def test_the_code_of_the_index_of_a_code_is_the_code(latent):
    model = Autoencoder(tiny_spec(latent=latent))
    rng = np.random.default_rng(0)
    for variable in model.posterior.trainable_variables:
        variable.assign(0.3 * rng.standard_normal(variable.shape).astype("float32"))
    images = rng.random((40, 28, 28, 1), dtype="float32")
    index = array(model(images)["index"])
    assert len(np.unique(index)) > 2
    assert index.max() < model.latent.kinds
    codes = model.latent.code_of(index)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes, model.encode(images), atol=1e-5)


# Finite scalar quantization.


def bounded(mean, levels):
    """Return the bound of a group's values in float64, as the paper has it."""
    half = (np.array(levels) - 1) * (1 - MARGIN) / 2
    offset = np.where(np.array(levels) % 2, 0, 0.5)
    shift = np.arctanh(offset / half)
    return np.tanh(mean.astype("float64") + shift) * half - offset, half, shift


def test_every_level_is_reached_and_no_other():
    levels = (3, 4, 5, 8)
    layer = layer_of(FiniteScalarLatent(type="finite_scalar", size=4, levels=levels))
    mean = np.repeat(np.linspace(-30, 30, 6001, dtype="float32")[:, None], 4, axis=1)
    codes = array(layer.code({"mean": mean}))
    for column, count in zip(codes.T, levels):
        below = count // 2
        expected = (np.arange(count) - below) / below
        np.testing.assert_allclose(np.unique(column), expected, atol=1e-6)
        assert (np.diff(column) >= 0).all()
    np.testing.assert_array_equal(codes[3000], 0.0)


def test_codes_are_the_rounded_bound_and_an_index_its_digits():
    levels, mean = FINITE["levels"], 2 * normal(50, 6)
    layer = layer_of(FiniteScalarLatent(**FINITE | {"levels": tuple(levels)}))
    draw = layer.draw({"mean": mean}, samples=2)
    digits = np.round(bounded(mean.reshape(50, 2, 3), levels)[0]) + np.array(levels) // 2
    index = array(draw.extra["index"])
    of_index = np.unravel_index(index, levels, order="F")
    np.testing.assert_array_equal(np.stack(of_index, axis=-1), digits)
    code = (digits - np.array(levels) // 2) / (np.array(levels) // 2)
    for each in range(2):
        np.testing.assert_allclose(array(draw.code)[:, each], code.reshape(50, 6), atol=1e-6)


def test_the_gradient_of_a_code_is_that_of_its_bound():
    mean, slopes = normal(7, 6), normal(7, 6, seed=1)
    layer = layer_of(FiniteScalarLatent(**FINITE | {"levels": (8, 5, 3)}))
    found = jacobian(
        lambda x: ops.sum(ops.multiply(layer.draw({"mean": x}).code[:, 0], slopes)), mean
    )
    _, half, shift = bounded(mean.reshape(7, 2, 3), (8, 5, 3))
    slope = half / np.cosh(mean.reshape(7, 2, 3) + shift) ** 2 / (4, 2, 1)
    np.testing.assert_allclose(found, slope.reshape(7, 6) * slopes, rtol=1e-4, atol=1e-5)


# Categorical variables.


def categorical(count, seed=0, **changes):
    """Return a layer and the parameters of `count` images."""
    latent = CategoricalLatent(**CATEGORICAL | changes)
    logits = normal(count, latent.variables, latent.categories, seed=seed)
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    p = p.reshape(count, latent.size)
    return layer_of(latent), {"mean": p, "log_probabilities": np.log(p)}


def test_the_kl_to_the_uniform_prior_is_the_entropy_that_lacks():
    from scipy.stats import entropy

    layer, parameters = categorical(9)
    p = parameters["mean"].reshape(9, 2, 3)
    expected = (math.log(3) - entropy(p, axis=-1)).sum(axis=-1)
    np.testing.assert_allclose(array(layer.draw(parameters).kl), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("temperature", [None, 1.0])
def test_draws_have_their_probabilities(temperature):
    """Also the greatest values of relaxed draws do, whatever the temperature."""
    layer, parameters = categorical(2)
    draw = layer.draw(parameters, samples=20_000, training=temperature is not None)
    codes = array(draw.code).reshape(2, 20_000, 2, 3)
    np.testing.assert_allclose(codes.sum(axis=-1), 1.0, atol=1e-5)
    assert (set(np.unique(codes)) == {0.0, 1.0}) == (temperature is None)
    frequencies = np.eye(3)[codes.argmax(axis=-1)].mean(axis=1).reshape(2, 6)
    np.testing.assert_allclose(frequencies, parameters["mean"], atol=0.015)


def test_a_relaxed_draw_is_the_softmax_of_gumbel_noise():
    from scipy.special import softmax
    from scipy.stats import gumbel_r, norm

    layer, parameters = categorical(4, temperature=0.7)
    noise = normal(4, 5, 6, seed=3)
    gumbel = gumbel_r.ppf(norm.cdf(noise.astype("float64")))
    scores = parameters["log_probabilities"][:, None] + gumbel
    expected = softmax(scores.reshape(4, 5, 2, 3) / 0.7, axis=-1).reshape(4, 5, 6)
    code = array(layer.draw(parameters, 5, training=True, noise=noise).code)
    np.testing.assert_allclose(code, expected, atol=1e-4)
    hard = array(layer.draw(parameters, 5, noise=noise).code).reshape(4, 5, 2, 3)
    np.testing.assert_array_equal(hard.argmax(-1), expected.reshape(4, 5, 2, 3).argmax(-1))


def test_a_draw_of_a_low_temperature_is_one_hot():
    layer, parameters = categorical(50, temperature=0.01)
    code = array(layer.draw(parameters, training=True).code)
    assert (np.minimum(code, 1 - code) < 1e-3).mean() > 0.95


def test_the_temperature_falls_with_the_steps_of_training():
    from scipy.special import softmax

    layer, parameters = categorical(3, temperature=2.0, final_temperature=0.5, temperature_steps=4)
    noise, found = normal(3, 1, 6), []
    hard = layer.draw(parameters, noise=noise)
    slow = layer_of(CategoricalLatent(**CATEGORICAL, temperature=1.0))
    scores = np.log(array(slow.draw(parameters, training=True, noise=noise).code))
    for step in range(6):
        code = array(layer.draw(parameters, training=True, noise=noise).code)
        temperature = 2.0 * (0.5 / 2.0) ** min(step / 4, 1)
        expected = softmax(scores.reshape(3, 2, 3) / temperature, axis=-1)
        np.testing.assert_allclose(code.reshape(3, 2, 3), expected, atol=1e-4)
        found.append(code)
    np.testing.assert_array_equal(found[4], found[5])
    assert array(layer.steps) == 6
    np.testing.assert_array_equal(array(layer.draw(parameters, noise=noise).code), array(hard.code))


def test_the_log_ratio_of_a_relaxed_draw_is_that_of_the_relaxed_densities():
    import torch
    from torch.distributions import RelaxedOneHotCategorical

    layer, parameters = categorical(4, temperature=0.8)
    draw = layer.draw(parameters, 3, training=True)
    z = torch.tensor(array(draw.code).reshape(4, 3, 2, 3), dtype=torch.float64)
    z = z / z.sum(dim=-1, keepdim=True)
    p = torch.tensor(parameters["mean"].reshape(4, 1, 2, 3), dtype=torch.float64)
    temperature = torch.tensor(0.8, dtype=torch.float64)
    q, prior = (
        RelaxedOneHotCategorical(temperature, probs=each, validate_args=False)
        for each in (p, torch.ones_like(p) / 3)
    )
    expected = (q.log_prob(z) - prior.log_prob(z)).sum(dim=-1).numpy()
    np.testing.assert_allclose(array(draw.log_ratio), expected, rtol=1e-3, atol=1e-3)


def test_the_log_ratio_of_a_draw_is_of_its_probability_and_its_mean_the_kl():
    layer, parameters = categorical(2)
    draw = layer.draw(parameters, 20_000)
    log_p = parameters["log_probabilities"]
    expected = (array(draw.code) * log_p[:, None]).sum(axis=-1) + 2 * math.log(3)
    np.testing.assert_allclose(array(draw.log_ratio), expected, atol=1e-5)
    np.testing.assert_allclose(array(draw.log_ratio).mean(axis=1), array(draw.kl), atol=0.03)


def test_the_code_without_noise_is_of_the_likeliest_categories():
    layer, parameters = categorical(9)
    draw = layer.draw(parameters)
    likeliest = parameters["mean"].reshape(9, 2, 3).argmax(axis=-1)
    np.testing.assert_array_equal(array(draw.code)[:, 0], np.eye(3)[likeliest].reshape(9, 6))
    np.testing.assert_array_equal(array(draw.extra["index"]), likeliest)
    slopes = normal(9, 6, seed=2)

    def linear(mean):
        return ops.sum(ops.multiply(layer.draw({**parameters, "mean": mean}).code[:, 0], slopes))

    np.testing.assert_allclose(jacobian(linear, parameters["mean"]), slopes, atol=1e-6)


def test_the_prior_is_uniform():
    layer, _ = categorical(1)
    codes = array(layer.prior(normal(20_000, 6))).reshape(-1, 2, 3)
    np.testing.assert_array_equal(codes.sum(axis=-1), 1.0)
    np.testing.assert_allclose(codes.mean(axis=0), 1 / 3, atol=0.015)
    model = Autoencoder(tiny_spec(latent=CATEGORICAL, objective={"type": "elbo"}))
    assert model.generate(3).shape == (3, 28, 28, 1)


# The k largest.


@pytest.mark.parametrize(("training", "count"), [(True, 3), (False, 5)])
def test_as_many_values_stay_as_the_spec_says_and_they_are_the_largest(training, count):
    layer, mean = layer_of(KSparseLatent(**K_SPARSE)), normal(20, 8)
    expected = np.zeros_like(mean)
    places = np.argsort(mean, axis=1)[:, -count:]
    np.put_along_axis(expected, places, np.take_along_axis(mean, places, axis=1), axis=1)
    draw = layer.draw({"mean": mean}, samples=2, training=training)
    for each in range(2):
        np.testing.assert_array_equal(array(draw.code)[:, each], expected)
    assert ((expected != 0).sum(axis=1) == count).all()


def test_fewer_values_stay_with_each_step_of_a_training():
    layer = layer_of(KSparseLatent(**K_SPARSE, first_k=7, k_steps=4))
    found = [array(layer.draw({"mean": normal(20, 8)}, training=True).code) for _ in range(6)]
    assert [int((code != 0).sum(axis=-1).max()) for code in found] == [7, 6, 5, 4, 3, 3]
    assert (array(layer.draw({"mean": normal(20, 8)}).code) != 0).sum(axis=-1).max() == 5
    with pytest.raises(ValueError, match="first_k: expected k = 3 to size = 8; received 2"):
        KSparseLatent(**K_SPARSE, first_k=2)


def test_the_gradient_reaches_the_values_that_stay():
    layer, mean, slopes = layer_of(KSparseLatent(**K_SPARSE)), normal(20, 8), normal(20, 8, seed=1)

    def linear(values):
        return ops.sum(ops.multiply(layer.draw({"mean": values}, training=True).code[:, 0], slopes))

    stay = array(layer.draw({"mean": mean}, training=True).code)[:, 0] != 0
    np.testing.assert_allclose(jacobian(linear, mean), slopes * stay, atol=1e-6)


# Sparsity as a penalty.


def sparse_terms(code, **changes):
    objective = Sparse(type="sparse", **changes)
    count = code.shape[0]
    draw = fmae_zoo.latents.Draw(code[:, None], None, None, {})
    images, logits = np.ones((count, 2, 2, 1), "float32"), np.zeros((count, 1, 2, 2, 1), "float32")
    return objective.terms({"target": images}, draw, logits, None)


def test_the_l1_penalty_is_the_sum_of_absolute_values_in_units_of_their_spread():
    code = normal(5, 4)
    terms = {name: array(term) for name, term in sparse_terms(code).items()}
    sizes = np.abs(code) / np.sqrt(code.var(axis=0) + 1e-4)
    np.testing.assert_allclose(terms["sparsity"], sizes.sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(terms["activity"], sizes.mean(axis=1), rtol=1e-5)
    larger = sparse_terms(100.0 * code)["sparsity"]
    np.testing.assert_allclose(array(larger), terms["sparsity"], rtol=1e-3)
    one_in_a_hundred = np.eye(100, 1, dtype="float32")
    activity = array(sparse_terms(one_in_a_hundred)["activity"]).mean()
    assert activity == pytest.approx(0.1, rel=0.01)
    assert np.isfinite(jacobian(lambda x: sparse_terms(x)["sparsity"], np.zeros((3, 2)))).all()
    np.testing.assert_allclose(terms["reconstruction"], 1.0)
    weights = Sparse(type="sparse", sparsity_weight=0.3).weights()
    assert weights == {"reconstruction": 1.0, "sparsity": 0.3, "activity": 0.0}


def test_the_kl_penalty_is_between_the_target_and_the_mean_activity():
    from scipy.special import expit, rel_entr

    code = 2 * normal(6, 4)
    terms = sparse_terms(code, penalty="kl", target_activity=0.1)
    activity = expit(code.astype("float64")).mean(axis=0)
    expected = (rel_entr(0.1, activity) + rel_entr(0.9, 1 - activity)).sum()
    np.testing.assert_allclose(array(terms["sparsity"]), expected, rtol=1e-5)
    np.testing.assert_allclose(array(terms["activity"]).mean(), activity.mean(), rtol=1e-5)


def test_the_kl_penalty_of_codes_far_from_zero_is_finite_and_moves_them():
    for value in (-200.0, 200.0):
        code = np.full((1, 2), value, "float32")
        slopes = jacobian(lambda x: sparse_terms(x, penalty="kl")["sparsity"], code)
        assert np.isfinite(array(sparse_terms(code, penalty="kl")["sparsity"]))
        assert (np.sign(slopes) == np.sign(value)).all()


def test_to_minimise_the_kl_penalty_is_to_reach_the_target_activity(compiled):
    def penalty(code):
        return sparse_terms(code, penalty="kl", target_activity=0.2)["sparsity"]

    code = normal(16, 3)
    for _ in range(60):
        code = code - 10 * jacobian(penalty, code)
    np.testing.assert_allclose((1 / (1 + np.exp(-code))).mean(axis=0), 0.2, atol=5e-3)


@pytest.mark.parametrize("penalty", ["l1", "kl"])
def test_training_makes_codes_less_active(penalty, compiled):
    options = {"penalty": penalty, "sparsity_weight": 10.0}
    network = {"type": "dense", "units": [32]}
    model = Autoencoder(tiny_spec(network=network, objective={"type": "sparse", **options}))
    model.compile(keras.optimizers.Adam(3e-3))
    images = np.random.default_rng(0).random((32, 28, 28, 1), dtype="float32")
    activity = model.fit(images, epochs=60, batch_size=32, verbose=0).history["activity"]
    assert activity[-1] < 0.7 * activity[0]


# Noise at the input.

KINDS = ("gaussian", "salt_pepper", "masking")


def grey(count=200, channels=()):
    return np.full((count, 28, 28, *channels), 102, np.uint8)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_in_the_input_alone_and_anew_in_every_epoch(few, kind):
    recipe = Recipe(noise=Noise(type=kind, amount=0.3))
    one, same, other = (
        epoch_of(few.train_images, recipe, np.random.default_rng([1, epoch])) for epoch in (2, 2, 3)
    )
    clean = few.train_images[..., None] / np.float32(255)
    np.testing.assert_array_equal(one.targets, clean)
    np.testing.assert_array_equal(one.inputs, same.inputs)
    assert not np.array_equal(one.inputs, clean)
    assert not np.array_equal(one.inputs, other.inputs)
    assert one.inputs.dtype == np.float32
    assert one.inputs.min() >= 0.0
    assert one.inputs.max() <= 1.0
    assert one.mask is None


def test_gaussian_noise_has_its_standard_deviation_and_is_cut_off():
    images = np.full((200, 28, 28, 1), 0.4, "float32")
    result = noisy(images, Noise(type="gaussian", amount=0.05), np.random.default_rng(0))
    assert (result - 0.4).std() == pytest.approx(0.05, rel=0.02)
    assert result.mean() == pytest.approx(0.4, abs=1e-3)
    wide = noisy(images, Noise(type="gaussian", amount=1.0), np.random.default_rng(0))
    assert (wide == 0).mean() == pytest.approx(0.345, abs=0.01)
    assert (wide == 1).mean() == pytest.approx(0.274, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "black", "white"), [("salt_pepper", 0.15, 0.15), ("masking", 0.3, 0)]
)
def test_a_share_of_the_pixels_is_black_or_white_in_all_channels(kind, black, white):
    recipe = Recipe(noise=Noise(type=kind, amount=0.3))
    inputs, targets, _ = epoch_of(grey(channels=(3,)), recipe, np.random.default_rng(0))
    assert (inputs == inputs[..., :1]).all()
    assert (inputs == 0).mean() == pytest.approx(black, abs=0.01)
    assert (inputs == 1).mean() == pytest.approx(white, abs=0.01)
    np.testing.assert_array_equal(inputs[(inputs != 0) & (inputs != 1)], targets[0, 0, 0, 0])


def test_patches_hide_noise_too():
    recipe = Recipe(
        noise=Noise(type="gaussian", amount=0.1), mask=PatchMask(patch=7, probability=0.5)
    )
    inputs, targets, mask = epoch_of(grey(), recipe, np.random.default_rng(0), hidden=-1.0)
    np.testing.assert_array_equal(inputs[..., 0] == -1.0, mask == 1)
    seen = inputs[..., 0][mask == 0]
    assert seen.std() == pytest.approx(0.1, rel=0.02)
    assert (targets == targets[0, 0, 0, 0]).all()


def test_without_noise_an_epoch_draws_what_it_drew_before(few):
    mask = PatchMask(patch=4, probability=0.4)
    found = epoch_of(few.train_images, Recipe(mask=mask), np.random.default_rng(5), hidden=-1.0)
    clean = few.train_images[..., None] / np.float32(255)
    expected = patch_mask(len(clean), (28, 28, 1), mask, np.random.default_rng(5))
    np.testing.assert_array_equal(found.mask, expected)
    np.testing.assert_array_equal(found.inputs, masked(clean, expected, -1.0))


@pytest.mark.parametrize("noise", [{"type": "masking"}, {"type": "speckle", "amount": 0.1}, 0.1])
def test_a_noise_that_there_is_not_is_refused(noise):
    with pytest.raises(SpecError, match=r"recipe\.noise"):
        tiny_spec(recipe={"noise": noise})


def test_validation_is_of_clean_images(few):
    recipe = {"epochs": 1, "noise": {"type": "gaussian", "amount": 0.5}}
    network = {"type": "dense", "units": [8]}
    history = fmae_zoo.train(tiny_spec(network=network, recipe=recipe), data=few)
    history.model.compile("sgd")
    images = few.train_images[few.split[1]][..., None]
    loss = history.model.evaluate(images, verbose=0, return_dict=True)["loss"]
    assert history.rows[0]["val_loss"] == pytest.approx(loss, rel=1e-4)


# Figures.


@pytest.mark.parametrize("kind", KINDS)
def test_denoising_compares_what_noisy_images_give_with_clean_ones(few, kind):
    recipe = {"noise": {"type": kind, "amount": 0.2}}
    model = Autoencoder(tiny_spec(recipe=recipe))
    result = fmae_zoo.evaluate(model, "denoising", data=few)["denoising"]
    clean = few.test_images[..., None] / np.float32(255)
    rng = np.random.default_rng(NOISE_SEED)
    inputs = noisy(clean, Noise(type=kind, amount=0.2), rng)
    mse = np.mean((clean - model.reconstruct(inputs)) ** 2)
    assert result["mse"] == pytest.approx(mse, rel=1e-4)
    assert result["psnr"] == pytest.approx(-10 * np.log10(mse), rel=1e-4)
    assert result["noisy_mse"] == pytest.approx(np.mean((clean - inputs) ** 2), rel=1e-4)
    assert (result["noise"], result["amount"]) == (kind, 0.2)


def test_models_without_noise_or_a_code_to_count_have_no_such_figure(few):
    model = Autoencoder(tiny_spec())
    assert fmae_zoo.evaluate(model, ["denoising", "code_use"], data=few) == {}


@pytest.mark.parametrize("name", ["finite_scalar", "categorical"])
def test_the_use_of_a_discrete_code_is_that_of_its_groups(few, name):
    model = Autoencoder(tiny_spec(**SPECS[name]))
    kernel = model.parts()["encoder"]["latent.kernel"]
    kernel.assign(8 * array(kernel))
    result = fmae_zoo.evaluate(model, "code_use", data=few)["code_use"]
    codes = model.encode(few.test_images).reshape(len(few.test_images), 2, 3)
    perplexities, kinds = [], []
    for group in range(2):
        _, counts = np.unique(codes[:, group].round(3), axis=0, return_counts=True)
        p = counts / counts.sum()
        perplexities.append(np.prod(p**-p))
        kinds.append(len(p))
    assert max(kinds) > 1
    assert result["perplexity"] == pytest.approx(np.mean(perplexities), rel=1e-4)
    assert result["codes_used"] == np.mean(kinds)


def test_the_use_of_a_gaussian_code_is_the_kl_of_each_value(few):
    latent = {"type": "gaussian", "size": 5}
    model = Autoencoder(tiny_spec(latent=latent, objective={"type": "elbo"}))
    kernel = model.parts()["encoder"]["latent.kernel"]
    kernel.assign(array(kernel) * np.array([1, 0, 1, 0, 1], "float32"))
    result = fmae_zoo.evaluate(model, "code_use", data=few)["code_use"]
    found = model.posterior.predict(few.test_images[..., None] / np.float32(255), verbose=0)
    draw = model.latent.draw(found)
    assert result["kl"] == pytest.approx(array(draw.kl).mean(), rel=1e-4)
    assert sum(result["kl_of_values"]) == pytest.approx(result["kl"], rel=1e-5)
    assert result["kl_of_values"] == sorted(result["kl_of_values"], reverse=True)
    assert len(result["kl_of_values"]) == 5
    assert result["active_values"] == 3
