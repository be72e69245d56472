"""Samplers that are trained: what they learn, what their draws are, and what is kept of them."""

import keras
import numpy as np
import pytest
from scipy.special import softmax

import fmae_zoo
from fmae_zoo import Autoencoder
from fmae_zoo.errors import WeightsError
from fmae_zoo.latents.categorical import CategoricalLatent
from fmae_zoo.latents.finite_scalar import FiniteScalarLatent
from fmae_zoo.samplers import (
    SAMPLERS,
    Autoregressive,
    TwoStage,
    autoregressive,
    samplers_of,
    tensors_of,
    two_stage,
)
from tests.conftest import tiny_spec
from tests.test_samplers import CONTINUOUS, DISCRETE, GAUSSIAN, assert_draws_alike, layer_of

VECTORS = {"type": "vector_quantized", "size": 6, "dimension": 2, "vectors": 5}
CATEGORIES = {"type": "categorical", "size": 12, "categories": 4}
SHAPES = {
    "two-stage": {
        "mean": (4,),
        "scale": (4,),
        "noise": (1,),
        "kernel_1": (4, 5),
        "bias_1": (5,),
        "kernel_2": (5, 6),
        "bias_2": (6,),
        "kernel_3": (10, 4),
        "bias_3": (4,),
    },
    "autoregressive": {
        "alphabet": (7, 2),
        "embedding": (7, 3),
        "kernel_1": (6, 10),
        "bias_1": (10,),
        "kernel_2": (10, 10),
        "bias_2": (10,),
        "kernel_3": (2, 5, 7),
        "bias_3": (2, 7),
    },
}
"""Of codes of four values."""


def random_tensors(name):
    rng = np.random.default_rng(0)
    return {
        key: rng.standard_normal(shape).astype("float32") for key, shape in SHAPES[name].items()
    }


def test_a_second_stage_draws_two_clusters_where_a_normal_distribution_fills_the_gap():
    rng = np.random.default_rng(0)
    turn = np.array([[2.0, 1.0], [-1.0, 2.0]])
    plain = rng.standard_normal((2000, 2)) * [0.3, 1.0] + rng.choice([-2, 2], (2000, 1)) * [1, 0]
    codes = (plain @ turn + [5, -3]).astype("float32")
    sampler = TwoStage.fit(codes, layer_of(CONTINUOUS), seed=1)
    drawn = sampler.codes(20_000, np.random.default_rng(1))
    covariance = np.cov(codes.T)
    np.testing.assert_allclose(drawn.mean(0), codes.mean(0), atol=0.3)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.15 * covariance.max())
    normal = rng.multivariate_normal(codes.mean(0), covariance, 20_000)

    def share_between(codes):
        return (np.abs((codes - [5, -3]) @ np.linalg.inv(turn))[:, 0] < 1).mean()

    assert share_between(codes) < 0.01
    assert share_between(normal) > 0.3
    assert share_between(drawn) < 0.12
    assert TwoStage.fit(codes, layer_of(DISCRETE)) is None
    assert TwoStage.fit(np.zeros((30, 1025), "float32"), layer_of(CONTINUOUS)) is None


def test_a_draw_of_the_second_stage_is_its_decoder_s_formula():
    tensors = random_tensors("two-stage")
    rng = np.random.default_rng(3)
    latent, around = (rng.standard_normal((5, 4)) for _ in range(2))
    hidden = np.maximum(latent @ tensors["kernel_1"] + tensors["bias_1"], 0)
    hidden = np.maximum(hidden @ tensors["kernel_2"] + tensors["bias_2"], 0)
    code = hidden @ tensors["kernel_3"][:6] + latent @ tensors["kernel_3"][6:] + tensors["bias_3"]
    expected = tensors["mean"] + tensors["scale"] * (code + tensors["noise"] * around)
    drawn = TwoStage(**tensors).codes(5, np.random.default_rng(3))
    np.testing.assert_allclose(drawn, expected, rtol=1e-4, atol=1e-4)


def pairs_of(index, first, second, kinds):
    bins = [np.arange(kinds + 1)] * 2
    return np.histogram2d(index[:, first], index[:, second], bins)[0] / len(index)


def test_a_chain_of_indices_is_learned():
    rng = np.random.default_rng(0)
    kinds, groups = 12, 5
    steps = rng.dirichlet(np.full(kinds, 0.3), kinds)
    index = np.zeros((4000, groups), "int64")
    index[:, 0] = rng.integers(0, kinds, len(index))
    for group in range(1, groups):
        shares = steps[index[:, group - 1]].cumsum(1)
        index[:, group] = (shares <= rng.random((len(index), 1))).sum(1).clip(max=kinds - 1)
    latent = layer_of(DISCRETE)
    sampler = Autoregressive.fit(latent.code_of(index), latent, seed=1)
    drawn = sampler.indices(20_000, np.random.default_rng(1))
    for first, second in ((0, 1), (2, 3), (3, 4), (0, 4)):
        found, expected = (pairs_of(each, first, second, kinds) for each in (drawn, index))
        independent = np.outer(expected.sum(1), expected.sum(0))
        assert np.abs(found - expected).sum() < 0.25
        assert (first, second) == (0, 4) or np.abs(independent - expected).sum() > 0.7
    codes = sampler.codes(50, np.random.default_rng(1))
    expected = latent.code_of(sampler.indices(50, np.random.default_rng(1)))
    np.testing.assert_array_equal(codes, expected)


def test_what_an_autoregressive_sampler_does_not_suit_it_leaves():
    many = FiniteScalarLatent(type="finite_scalar", size=4, levels=(32, 33))
    long = CategoricalLatent(type="categorical", size=2 * 65, categories=2)
    for latent in (CONTINUOUS, many, long):
        assert Autoregressive.fit(np.zeros((9, latent.size), "float32"), layer_of(latent)) is None


def test_a_group_is_drawn_by_those_before_it_alone():
    tensors = random_tensors("autoregressive")
    sampler = Autoregressive(**tensors)
    drawn = sampler.indices(40_000, np.random.default_rng(0))
    first = np.maximum(tensors["bias_1"][:5], 0) @ tensors["kernel_2"][:5, :5]
    first = np.maximum(first + tensors["bias_2"][:5], 0) @ tensors["kernel_3"][0]
    expected = softmax(first + tensors["bias_3"][0])
    np.testing.assert_allclose(np.bincount(drawn[:, 0], minlength=7) / 40_000, expected, atol=0.01)
    before = expected.argmax()
    hidden = np.maximum(
        tensors["bias_1"] + tensors["embedding"][before] @ tensors["kernel_1"][:3], 0
    )
    hidden[:5] = np.maximum(tensors["bias_1"][:5], 0)
    second = np.maximum(hidden @ tensors["kernel_2"][:, 5:] + tensors["bias_2"][5:], 0)
    expected = softmax(second @ tensors["kernel_3"][1] + tensors["bias_3"][1])
    given = drawn[drawn[:, 0] == before, 1]
    found = np.bincount(given, minlength=7) / len(given)
    np.testing.assert_allclose(found, expected, atol=4 / np.sqrt(len(given)))


@pytest.mark.parametrize("latent", [VECTORS, CATEGORIES], ids=lambda each: each["type"])
def test_samplers_of_discrete_codes_give_such_codes(few, latent, monkeypatch):
    monkeypatch.setattr(autoregressive, "EPOCHS", 1)
    model = Autoencoder(tiny_spec(latent=latent), seed=1)
    fmae_zoo.fit_samplers(model, few)
    assert set(model.fitted) == {"autoregressive"}
    codes = model.fitted["autoregressive"].codes(30, np.random.default_rng(0))
    kinds = model.latent.code_of(np.arange(model.latent.kinds)[:, None])
    groups = codes.reshape(-1, 1, kinds.shape[1])
    assert (np.abs(groups - kinds).max(2).min(1) < 1e-6).all()
    assert model.generate(3, sampler="autoregressive").shape == (3, 28, 28, 1)


def test_every_sampler_that_suits_is_fitted_and_the_same_seed_fits_the_same(few, monkeypatch):
    monkeypatch.setattr(two_stage, "EPOCHS", 2)
    model = Autoencoder(tiny_spec(**GAUSSIAN), seed=1)
    fmae_zoo.fit_samplers(model, few, seed=3)
    assert model.samplers == ("prior", "gmm", "two-stage")
    tensors = tensors_of(model.fitted)
    model.fitted = {name: each for name, each in model.fitted.items() if name == "gmm"}
    fmae_zoo.fit_samplers(model, few, seed=3, names="two-stage")
    assert model.samplers == ("prior", "gmm", "two-stage")
    for key, tensor in tensors_of(model.fitted).items():
        np.testing.assert_allclose(tensor, tensors[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SHAPES)
def test_tensors_of_a_sampler_are_kept_with_the_model_and_give_its_draws(name, tmp_path):
    model = Autoencoder(tiny_spec(), seed=1)
    model.fitted = {name: SAMPLERS[name].of(random_tensors(name), 4)}
    model.sampler = name
    fmae_zoo.save(model, tmp_path / "saved")
    model.save(tmp_path / "model.keras")
    for other in (
        fmae_zoo.load(f"local:{tmp_path / 'saved'}"),
        keras.saving.load_model(tmp_path / "model.keras"),
    ):
        assert_draws_alike(model, other)
        drawn = [each.fitted[name].codes(9, np.random.default_rng(5)) for each in (model, other)]
        np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize("name", SHAPES)
def test_tensors_of_other_shapes_or_names_are_no_sampler(name):
    tensors = {f"{name}.{key}": tensor for key, tensor in random_tensors(name).items()}
    assert samplers_of(tensors, 4)[name].codes(2, np.random.default_rng(0)).shape == (2, 4)
    for size in (3, 5):
        with pytest.raises(WeightsError, match=r"expected tensors of shapes|groups of 2 values"):
            samplers_of(tensors, size)
    for key, tensor in tensors.items():
        rest = {other: each for other, each in tensors.items() if other != key}
        with pytest.raises(WeightsError, match="expected tensors"):
            samplers_of(rest, 4)
        for wrong in (tensor[..., :0], tensor[None], np.float32(1.0), tensor[..., None]):
            with pytest.raises(WeightsError, match="expected tensors of shapes"):
                samplers_of({**rest, key: np.array(wrong)}, 4)
        for damaged in (tensor * np.nan, tensor.astype("float64")):
            with pytest.raises(WeightsError, match="finite numbers, float32"):
                samplers_of({**rest, key: damaged}, 4)
