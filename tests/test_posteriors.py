"""Posteriors and priors beside the Gaussian ones, against closed forms, NumPy and autodiff."""

import functools
import json
import math

import keras
import numpy as np
import pytest
from keras import ops

import fmae_zoo
from fmae_zoo import Autoencoder
from fmae_zoo.component import any_of
from fmae_zoo.errors import SpecError
from fmae_zoo.evaluation.elbo import elbo
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.latents import LatentComponent
from fmae_zoo.latents.exemplar import ExemplarLatent
from fmae_zoo.latents.hierarchical import HierarchicalLatent
from fmae_zoo.latents.inverse_autoregressive import InverseAutoregressiveLatent
from fmae_zoo.latents.power_spherical import PowerSphericalLatent
from fmae_zoo.latents.sampled import SampledLatent
from fmae_zoo.latents.vamp import VampLatent
from fmae_zoo.layers.initial import Seeds
from fmae_zoo.layers.latent import LatentLayer
from tests.autodiff import jacobian
from tests.conftest import TINY_CONV, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

LATENTS = {
    "vamp": {"type": "vamp", "size": 4, "pseudo_inputs": 3},
    "exemplar": {"type": "exemplar", "size": 4, "exemplars": 3},
    "inverse_autoregressive": {
        "type": "inverse_autoregressive",
        "size": 4,
        "units": 8,
        "context": 5,
    },
    "power_spherical": {"type": "power_spherical", "size": 4},
    "hierarchical": {"type": "hierarchical", "size": 5, "top": 2, "units": 8, "free_bits": 0.1},
}
ELBO = {"type": "elbo"}


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def pictures(count, shape=(28, 28, 1), seed=0):
    return np.random.default_rng(seed).random((count, *shape), dtype="float32")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def model_of(name, seed=0, dtype=None, **changes):
    spec = tiny_spec(**{"latent": LATENTS[name], "objective": ELBO} | changes)
    return Autoencoder(spec, seed=seed, dtype=dtype)


@functools.cache
def untrained(name):
    """Return a model that no test changes."""
    return model_of(name)


def layer_of(latent):
    return LatentLayer(latent, 0, Seeds(0), (28, 28, 1))


def log_normal(code, mean, log_variance):
    from scipy.stats import norm

    return norm.logpdf(code, mean, np.exp(0.5 * log_variance)).sum(axis=-1)


# What holds for each of them.


@pytest.mark.parametrize("name", LATENTS)
def test_the_code_of_encode_is_the_one_that_is_drawn_without_noise(name):
    model, images = untrained(name), pictures(3)
    draw = model.latent.draw(model.posterior(images))
    np.testing.assert_allclose(model.encode(images), array(draw.code)[:, 0], atol=1e-5)


@pytest.mark.parametrize("name", LATENTS)
def test_plain_keras_reads_the_encoder(name, tmp_path):
    model, images = untrained(name), pictures(3)
    path = tmp_path / "encoder.keras"
    fmae_zoo.stock(model.encoder).save(path)
    plain = keras.saving.load_model(path)
    assert "fmae_zoo" not in json.dumps(plain.get_config(), default=str)
    found = plain.predict(images, verbose=0)
    np.testing.assert_allclose(found, model.encode(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LATENTS)
def test_the_prior_makes_images_of_noise(name):
    images = untrained(name).generate(3, seed=1)
    assert images.shape == (3, 28, 28, 1)
    assert not np.allclose(images[0], images[1])


@pytest.mark.parametrize("name", LATENTS)
def test_several_codes_of_an_image_differ(name):
    model, images = untrained(name), pictures(3)
    draw = model.latent.draw(model.posterior(images), 2)
    assert draw.code.shape == (3, 2, model.spec.latent.size)
    assert draw.log_ratio.shape == (3, 2)
    assert not np.allclose(array(draw.code)[:, 0], array(draw.code)[:, 1])


@pytest.mark.parametrize("name", LATENTS)
def test_the_elbo_is_evaluated(name, few):
    found = elbo(Subject(untrained(name), few))
    assert math.isfinite(found["elbo"])


@pytest.mark.parametrize("name", LATENTS)
def test_the_mean_of_prior_over_posterior_is_one(name):
    """`E_q[p(z) / q(z|x)] = 1` says that both are densities, and q that of what is drawn."""
    latent = tiny_spec(latent=LATENTS[name], objective=ELBO).latent
    layer, count = layer_of(latent), 20_000
    for number, variable in enumerate(layer.trainable_variables):
        variable.assign(0.2 * normal(*variable.shape, seed=number))
    layer.parameters_of = lambda images: {
        "mean": 0.5 * normal(3, 4, seed=1),
        "log_variance": 0.2 * normal(3, 4, seed=2),
    }
    # Wider than the prior, so that few draws are enough; or hardly narrower.
    wide = [5.0, 5.0, 5.0, 0.5, 0.5] if name == "hierarchical" else [1.0] * 4
    parameters = {"mean": 0.3 * normal(2, latent.size, seed=3), "context": normal(2, 5)}
    parameters["log_variance"] = np.tile(np.array(wide, "float32"), (2, 1))
    if name == "power_spherical":
        parameters["mean"] /= np.linalg.norm(parameters["mean"], axis=-1, keepdims=True)
        parameters["concentration"] = np.full((2, 1), 0.8, "float32")
    noise = normal(2, count, latent.draw_noise_size, seed=4)
    ratio = array(layer.draw(parameters, count, noise=noise).log_ratio)
    np.testing.assert_allclose(np.exp(-ratio.astype("float64")).mean(axis=1), 1.0, atol=0.04)


def test_each_sampled_latent_and_no_other_is_tested_here():
    kinds = any_of("fmae_zoo.latents", LatentComponent).__args__[0].__args__
    sampled = {kind for kind in kinds if issubclass(kind, SampledLatent)}
    types = {kind.model_fields["type"].annotation.__args__[0] for kind in sampled}
    assert types <= set(LATENTS)


# Mixtures as priors.


def components(name):
    """Return a model, and means and log-variances of the components of its prior."""
    model, images = model_of(name, seed=1), pictures(3, seed=7)
    if name == "exemplar":
        model.latent.exemplars.assign(images)
        model.latent.spread.assign([0.7])
    else:
        model.latent.pseudo_inputs.assign(np.log(images / (1.0 - images) + 1e-9))
    found = model.posterior(images)
    mean, log_variance = array(found["mean"]), array(found["log_variance"])
    if name == "exemplar":
        log_variance = np.full_like(mean, 0.7 / 1.07)
    return model, mean, log_variance


@pytest.mark.parametrize("name", ["vamp", "exemplar"])
def test_the_prior_is_the_mixture_of_the_posteriors_of_some_images(name):
    from scipy.special import logsumexp

    model, mean, log_variance = components(name)
    own = {key: array(value) for key, value in model.posterior(pictures(2)).items()}
    noise = normal(2, 5, 4)
    draw = model.latent.draw(own, 5, noise=noise)
    wide = (own["mean"][:, None], own["log_variance"][:, None])
    code = wide[0] + np.exp(0.5 * wide[1]) * noise
    each = log_normal(code[:, :, None], mean, log_variance)
    expected = log_normal(code, *wide) - (logsumexp(each, axis=-1) - math.log(3))
    np.testing.assert_allclose(array(draw.code), code, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(array(draw.log_ratio), expected, rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(array(draw.kl), expected.mean(axis=1), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("name", ["vamp", "exemplar"])
def test_draws_of_the_prior_are_of_its_components_in_equal_shares(name):
    from scipy.stats import norm

    model, mean, log_variance = components(name)
    noise = normal(3000, 5)
    chosen = np.floor(3 * norm.cdf(noise[:, 4].astype("float64"))).astype(int)
    expected = mean[chosen] + np.exp(0.5 * log_variance[chosen]) * noise[:, :4]
    found = array(model.latent.prior(noise))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert np.abs(np.bincount(chosen) / 3000 - 1 / 3).max() < 0.03
    # The greatest numbers of float32 choose the last one.
    extreme = np.array([[0, 0, 0, 0, 9], [0, 0, 0, 0, -9]], "float32")
    np.testing.assert_allclose(array(model.latent.prior(extreme)), mean[[2, 0]], atol=1e-4)


def test_an_image_that_is_the_only_pseudo_input_costs_nothing():
    latent = {**LATENTS["vamp"], "pseudo_inputs": 1}
    model, image = model_of("vamp", latent=latent), pictures(1)
    model.latent.pseudo_inputs.assign(np.log(image / (1.0 - image) + 1e-9))
    draw = model.latent.draw(model.posterior(image), 20, training=True)
    np.testing.assert_allclose(array(draw.log_ratio), 0.0, atol=1e-3)


def test_no_image_among_the_pseudo_inputs_costs_more_than_their_number():
    model, images = model_of("vamp"), pictures(3)
    model.latent.pseudo_inputs.assign(np.log(images / (1.0 - images) + 1e-9))
    draw = model.latent.draw(model.posterior(images), 20, training=True)
    assert array(draw.log_ratio).max() <= math.log(3) + 1e-3


def test_without_noise_the_divergence_is_still_that_of_draws():
    """Of two Gaussians it is known; at the posterior's mode it would be two nats more."""
    latent = {**LATENTS["vamp"], "pseudo_inputs": 1}
    model = model_of("vamp", latent=latent)
    model.latent.parameters_of = lambda images: {
        "mean": np.full((1, 4), 0.2, "float32"),
        "log_variance": np.full((1, 4), 0.4, "float32"),
    }
    count = 20_000
    rows = {"mean": np.full((count, 4), 0.5), "log_variance": np.full((count, 4), -0.3)}
    rows = {key: values.astype("float32") for key, values in rows.items()}
    found = array(model.latent.draw(rows).kl)
    expected = 4 * 0.5 * (0.7 + (math.exp(-0.3) + 0.09) / math.exp(0.4) - 1.0)
    assert found.mean() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", ["vamp", "exemplar"])
def test_in_training_the_priors_images_pass_the_encoder_with_the_batch(name):
    """Else BatchNorm normalises the two by different statistics, which training can exploit."""
    model, images = model_of(name, network=TINY_CONV), pictures(5)
    kept = model.get_weights()
    of_prior = array(model.latent.latent.prior_images(model.latent))
    both = model.posterior(np.concatenate([of_prior, images]), training=True)
    model.set_weights(kept)
    found = model.latent.encoded(ops.convert_to_tensor(images), training=True)
    for key, value in both.items():
        np.testing.assert_allclose(array(found[f"prior_{key}"]), array(value)[:-5], atol=1e-5)
        np.testing.assert_allclose(array(found[key]), array(value)[-5:], atol=1e-5)
    assert set(model.latent.encoded(ops.convert_to_tensor(images))) == set(both)
    outputs = model(images, training=True)
    assert not any(key.startswith("prior_") for key in outputs)


@pytest.mark.parametrize("name", ["vamp", "exemplar"])
def test_a_prior_of_images_is_trained_by_compiled_steps(name, compiled):
    """A step is compiled before the number of images in a batch is known."""
    model = model_of(name, network=TINY_CONV)
    model.compile(keras.optimizers.Adam(0.01))
    losses = model.fit(pictures(5), batch_size=2, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_exemplars_are_training_images_and_stay_as_they_are(few):
    spec = tiny_spec(latent=LATENTS["exemplar"], objective=ELBO)
    model = fmae_zoo.train(spec, data=few, epochs=1).model
    fit, _ = few.split
    images = few.train_images[fit].reshape(-1, 784) / np.float32(255)
    found = array(model.latent.exemplars).reshape(-1, 784)
    distance = np.abs(found[:, None] - images).max(axis=-1)
    assert distance.min(axis=1).max() < 1e-6
    assert len(set(distance.argmin(axis=1))) == 3
    assert array(model.latent.spread) != 0.0


def test_fewer_images_than_exemplars_are_taken_more_than_once():
    layer = layer_of(ExemplarLatent(type="exemplar", size=2, exemplars=4))
    layer.prepare(np.full((1, 28, 28), 255, "uint8"))
    np.testing.assert_array_equal(array(layer.exemplars), 1.0)


# Inverse autoregressive flow.

FLOW = InverseAutoregressiveLatent(
    type="inverse_autoregressive", size=5, flows=3, units=16, context=4
)


@pytest.mark.parametrize("flow", ["flow1", "flow3"])
def test_each_value_of_a_step_depends_on_those_before_it_alone(flow):
    layer, context = layer_of(FLOW), normal(1, 4)

    def mean_and_gate(code):
        return ops.concatenate(FLOW._step(flow, code, context, layer), axis=-1)[0, 0]

    found = jacobian(mean_and_gate, normal(1, 1, 5, seed=1))[:, 0, 0]
    for part in (found[:5], found[5:]):
        np.testing.assert_array_equal(np.triu(part), 0.0)
        assert (part != 0.0).sum() >= 6


def test_the_order_is_reversed_from_step_to_step():
    """After two steps the last value of the first order is the first: it depends on all."""
    layer, context = layer_of(FLOW), normal(1, 4)
    code = normal(1, 1, 5, seed=1)
    found = jacobian(lambda z: FLOW.transformed(z, context, layer)[0][0, 0], code)[:, 0, 0]
    assert (found != 0.0).mean() > 0.8


def test_the_log_determinant_is_that_of_autodiff():
    layer, context = layer_of(FLOW), normal(1, 4)
    for seed in range(3):
        code = normal(1, 1, 5, seed=seed)
        _, found = FLOW.transformed(ops.convert_to_tensor(code), context, layer)
        matrix = jacobian(lambda z: FLOW.transformed(z, context, layer)[0][0, 0], code)[:, 0, 0]
        _, expected = np.linalg.slogdet(matrix.astype("float64"))
        assert array(found)[0, 0] == pytest.approx(expected, abs=1e-4)


def test_the_log_ratio_of_a_flow_is_of_the_transformed_gaussian():
    layer = layer_of(FLOW)
    parameters = {"mean": normal(1, 5), "log_variance": normal(1, 5), "context": normal(1, 4)}
    noise = normal(1, 1, 5, seed=1)
    draw = layer.draw(parameters, noise=noise)
    mean, log_variance = parameters["mean"], parameters["log_variance"]
    start = mean + np.exp(0.5 * log_variance) * noise[0]
    _, log_determinant = FLOW.transformed(
        ops.convert_to_tensor(start[None]), parameters["context"], layer
    )
    log_q = log_normal(start, mean, log_variance) - array(log_determinant)[0]
    log_p = log_normal(array(draw.code)[0], 0.0, np.zeros(5))
    np.testing.assert_allclose(array(draw.log_ratio)[0], log_q - log_p, rtol=1e-4)


def test_a_flow_of_one_value_and_one_unit_is_taken():
    latent = {"type": "inverse_autoregressive", "size": 1, "units": 1, "context": 1}
    assert model_of("inverse_autoregressive", latent=latent).encode(pictures(2)).shape == (2, 1)


# The power spherical distribution.


CONCENTRATIONS = (0.0, 1.0, 7.0, 200.0, 1e4)


@functools.cache
def spherical(size):
    """Return the mean directions, and draws of an image for each of the concentrations."""
    latent = PowerSphericalLatent(type="power_spherical", size=size)
    mean = normal(len(CONCENTRATIONS), size)
    mean /= np.linalg.norm(mean, axis=-1, keepdims=True)
    values = np.array(CONCENTRATIONS, "float32")[:, None]
    noise = normal(len(mean), 4000, 2 * size, seed=1)
    parameters = {"mean": mean, "concentration": values}
    return mean, layer_of(latent).draw(parameters, 4000, noise=noise)


def divergence(size, concentration):
    """Return `log surface - entropy`, as the paper has them (De Cao and Aziz 2020, section 3)."""
    from scipy.special import digamma, gammaln

    second = (size - 1) / 2
    first = second + concentration
    normaliser = (first + second) * math.log(2) + second * math.log(math.pi)
    normaliser += gammaln(first) - gammaln(first + second)
    entropy = normaliser - concentration * (math.log(2) + digamma(first) - digamma(first + second))
    surface = math.log(2) + size / 2 * math.log(math.pi) - gammaln(size / 2)
    return surface - entropy, surface, normaliser


@pytest.mark.parametrize("size", [2, 9, 32])
def test_codes_are_of_the_power_spherical_distribution(size):
    from scipy.stats import beta, kstest

    mean, draw = spherical(size)
    code = array(draw.code)
    np.testing.assert_allclose(np.linalg.norm(code, axis=-1), 1.0, atol=1e-5)
    cosine = (code * mean[:, None]).sum(axis=-1)
    # Of the greatest concentration float32 does not tell the cosine from 1 well enough.
    for value, found, direction, center in zip(CONCENTRATIONS[:4], cosine, code, mean):
        first, second = (size - 1) / 2 + value, (size - 1) / 2
        assert kstest((1 + found) / 2, beta(first, second).cdf).pvalue > 1e-3
        expected = (first - second) / (first + second)
        assert found.mean() == pytest.approx(expected, abs=4 * float(found.std()) / 4000**0.5)
        # Around the mean no direction is preferred.
        np.testing.assert_allclose(direction.mean(axis=0), expected * center, atol=0.05)


@pytest.mark.parametrize("size", [2, 9, 32])
def test_the_divergence_from_the_uniform_distribution_is_its_closed_form(size):
    expected = [divergence(size, each)[0] for each in CONCENTRATIONS]
    found = array(spherical(size)[1].kl)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("size", [2, 9, 32])
def test_the_log_ratio_is_of_the_density_at_the_code(size):
    mean, draw = spherical(size)
    cosine = (array(draw.code).astype("float64") * mean[:, None]).sum(axis=-1)
    for number, value in enumerate(CONCENTRATIONS[:3]):
        _, surface, normaliser = divergence(size, value)
        log_q = value * np.log1p(cosine[number]) - normaliser
        found = array(draw.log_ratio)[number]
        near = cosine[number] > -0.99
        np.testing.assert_allclose(found[near], (log_q + surface)[near], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("size", [2, 9, 32])
def test_the_divergence_is_the_mean_of_the_log_ratio(size):
    ratio = array(spherical(size)[1].log_ratio).astype("float64")
    error = 4 * ratio.std(axis=1) / 4000**0.5 + 1e-4
    assert (np.abs(ratio.mean(axis=1) - array(spherical(size)[1].kl)) < error).all()


@pytest.mark.parametrize("size", [2, 9])
def test_the_gradient_passes_the_draw(size):
    """The derivative of `E[t] = k / (k + size - 1)` is `(size - 1) / (k + size - 1)^2`."""
    latent = PowerSphericalLatent(type="power_spherical", size=size)
    layer, mean = layer_of(latent), np.eye(1, size, dtype="float32")
    noise = normal(1, 20_000, 2 * size)

    def mean_cosine(concentration):
        parameters = {"mean": mean, "concentration": ops.reshape(concentration, (1, 1))}
        return ops.mean(layer.draw(parameters, 20_000, noise=noise).code[0, :, 0])

    for value in (1.0, 10.0):
        found = jacobian(mean_cosine, np.float32(value))
        assert found == pytest.approx((size - 1) / (value + size - 1) ** 2, rel=0.05)


def test_the_prior_is_the_direction_of_noise():
    layer, noise = layer_of(PowerSphericalLatent(type="power_spherical", size=3)), normal(5, 3)
    expected = noise / np.linalg.norm(noise, axis=-1, keepdims=True)
    np.testing.assert_allclose(array(layer.prior(noise)), expected, atol=1e-6)


def test_codes_on_a_sphere_have_two_values_at_least():
    with pytest.raises(SpecError, match="size"):
        tiny_spec(latent={"type": "power_spherical", "size": 1}, objective=ELBO)


# Two layers of Gaussians.


def two_layers(**changes):
    latent = HierarchicalLatent(
        **{"type": "hierarchical", "size": 5, "top": 2, "units": 8} | changes
    )
    layer = layer_of(latent)
    for number, variable in enumerate(layer.trainable_variables):
        variable.assign(0.3 * normal(*variable.shape, seed=number))
    return layer


def of_top(layer, top):
    """Return mean and log-variance of `p(z1|z2)`, by NumPy."""
    weights = [array(each) for each in layer.trainable_variables]
    hidden = np.maximum(top @ weights[0] + weights[1], 0.0)
    spread = hidden @ weights[4] + weights[5]
    return hidden @ weights[2] + weights[3], spread / (1.0 + np.abs(spread) / 10.0)


def test_both_divergences_and_the_log_ratio_are_those_of_gaussians():
    layer, noise = two_layers(), normal(3, 4, 5)
    own_mean, own_spread = normal(3, 5, seed=1), normal(3, 5, seed=2)
    draw = layer.draw({"mean": own_mean, "log_variance": own_spread}, 4, noise=noise)
    mean, spread = own_mean[:, None], own_spread[:, None]
    top = mean[..., 3:] + np.exp(0.5 * spread[..., 3:]) * noise[..., 3:]
    prior_mean, prior_spread = of_top(layer, top)
    precisions = np.exp(-spread[..., :3]), np.exp(-prior_spread)
    total = sum(precisions)
    low_mean = (precisions[0] * mean[..., :3] + precisions[1] * prior_mean) / total
    low = low_mean + noise[..., :3] / np.sqrt(total)
    code = np.concatenate([low, top], axis=-1)
    np.testing.assert_allclose(array(draw.code), code, rtol=1e-3, atol=1e-4)
    log_q = log_normal(low, low_mean, -np.log(total))
    log_q += log_normal(top, mean[..., 3:], spread[..., 3:])
    log_p = log_normal(low, prior_mean, prior_spread)
    log_p += log_normal(top, 0.0, np.zeros(2))
    np.testing.assert_allclose(array(draw.log_ratio), log_q - log_p, rtol=1e-3, atol=1e-3)
    kl_top = 0.5 * (own_mean**2 + np.exp(own_spread) - 1 - own_spread)[:, 3:].sum(axis=-1)
    ratio = 1 / total / np.exp(prior_spread)
    squares = (low_mean - prior_mean) ** 2 / np.exp(prior_spread)
    kl_bottom = 0.5 * (ratio + squares - 1 - np.log(ratio)).sum(axis=-1).mean(axis=1)
    np.testing.assert_allclose(array(draw.extra["kl_top"]), kl_top, rtol=1e-4)
    np.testing.assert_allclose(array(draw.extra["kl_bottom"]), kl_bottom, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(array(draw.kl), kl_top + kl_bottom, rtol=1e-3, atol=1e-4)


def test_the_divergence_of_two_layers_is_the_mean_of_the_log_ratio():
    layer = two_layers()
    parameters = {"mean": normal(2, 5, seed=1), "log_variance": 0.3 * normal(2, 5, seed=2)}
    draw = layer.draw(parameters, 20_000, noise=normal(2, 20_000, 5))
    np.testing.assert_allclose(array(draw.log_ratio).mean(axis=1), array(draw.kl), rtol=0.02)


def test_where_an_image_says_nothing_the_posterior_is_the_prior():
    layer, noise = two_layers(), normal(2, 1, 5)
    wide = np.array([10.0, 10.0, 10.0, 0.0, 0.0], "float32")
    parameters = {"mean": np.zeros((2, 5), "float32"), "log_variance": np.tile(wide, (2, 1))}
    draw = layer.draw(parameters, noise=noise)
    np.testing.assert_allclose(array(draw.kl), 0.0, atol=0.01)
    np.testing.assert_allclose(
        array(draw.code)[:, 0], array(layer.prior(noise[:, 0])), rtol=0.02, atol=0.02
    )


def test_the_prior_draws_the_lower_layer_given_the_upper_one():
    layer, noise = two_layers(), normal(7, 5)
    mean, spread = of_top(layer, noise[:, 3:])
    expected = np.concatenate([mean + np.exp(0.5 * spread) * noise[:, :3], noise[:, 3:]], axis=-1)
    np.testing.assert_allclose(array(layer.prior(noise)), expected, rtol=1e-3, atol=1e-4)


def test_free_bits_are_the_least_that_a_layer_counts_for_in_training():
    free, bound = two_layers(free_bits=2.0), two_layers()
    spread = np.tile(np.array([1.0, 1.0, 1.0, -4.0, -4.0], "float32"), (3, 1))
    parameters = {"mean": 0.1 * normal(3, 5), "log_variance": spread}
    noise = normal(3, 1, 5)
    exact = bound.draw(parameters, training=True, noise=noise)
    top, bottom = (array(exact.extra[name]) for name in ("kl_top", "kl_bottom"))
    assert top.mean() > 2.0 > bottom.mean()
    found = array(free.draw(parameters, training=True, noise=noise).kl)
    np.testing.assert_allclose(found, top + 2.0, rtol=1e-5)
    np.testing.assert_allclose(
        array(free.draw(parameters, noise=noise).kl), top + bottom, rtol=1e-5
    )


def test_both_layers_must_have_values():
    with pytest.raises(SpecError, match="top: 5, but both layers together have size = 5"):
        tiny_spec(latent={"type": "hierarchical", "size": 5, "top": 5}, objective=ELBO)


def test_pseudo_inputs_begin_as_training_images():
    layer = layer_of(VampLatent(type="vamp", size=2, pseudo_inputs=3))
    images = pictures(5)
    layer.prepare(images)
    found = array(ops.sigmoid(layer.pseudo_inputs))
    distance = np.abs(found[:, None] - np.clip(images, 0.02, 0.98)).max(axis=(2, 3, 4))
    assert distance.min(axis=1).max() < 1e-5
    assert len(set(distance.argmin(axis=1))) == 3


def test_without_images_pseudo_inputs_begin_as_noise():
    layer = layer_of(VampLatent(type="vamp", size=2, pseudo_inputs=3))
    images = array(ops.sigmoid(layer.pseudo_inputs))
    assert images.shape == (3, 28, 28, 1)
    assert 0.1 < images.std() < 0.3
    assert np.abs(images[0] - images[1]).mean() > 0.1
