"""What makes each latent and objective different, against its formula."""

import json
import math

import keras
import numpy as np
import pytest
from keras import ops

import fmae_zoo
from fmae_zoo import Autoencoder
from fmae_zoo.errors import SpecError
from fmae_zoo.latents.gaussian import GaussianLatent
from fmae_zoo.latents.vector_quantized import EPSILON, VectorQuantizedLatent
from fmae_zoo.layers.initial import Seeds
from fmae_zoo.layers.latent import LatentLayer
from fmae_zoo.objectives.adversarial import Adversarial
from fmae_zoo.objectives.iwae import IWAE
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

GAUSSIAN = {"type": "gaussian", "size": 4}
QUANTIZED = {"type": "vector_quantized", "size": 8, "dimension": 2, "vectors": 5}


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def pictures(count, seed=0):
    return np.random.default_rng(seed).random((count, 28, 28, 1), dtype="float32")


def moved_by_a_step(model, images):
    """Train a model on a batch; return the names of its parts that have other values then."""
    before = {name: [array(v) for v in part.values()] for name, part in model.parts().items()}
    model.train_on_batch(images)
    return {
        name
        for name, part in model.parts().items()
        if any(not np.array_equal(array(v), b) for v, b in zip(part.values(), before[name]))
    }


# The importance-weighted bound.


def bounds(count, images, repeats=40):
    """Return the mean bound of each image over several draws of `count` codes."""
    objective = {"type": "iwae", "samples": count}
    model = Autoencoder(tiny_spec(latent=GAUSSIAN, objective=objective), seed=2)
    rng, found = np.random.default_rng(0), []
    parameters = model.posterior(images)
    for _ in range(repeats):
        noise = rng.standard_normal((len(images), count, 4)).astype("float32")
        draw = model.latent.draw(parameters, count, noise=noise)
        logits = model.decoder(ops.reshape(draw.code, (-1, 4)))
        logits = ops.reshape(logits, (len(images), count, 28, 28, 1))
        terms = model.spec.objective.terms({"target": images}, draw, logits, model)
        found.append(array(terms["bound"]))
    return -np.mean(found, axis=0), terms, draw


def test_the_bound_rises_with_the_number_of_codes():
    images = pictures(4)
    one, five, many = (bounds(count, images)[0].mean() for count in (1, 5, 50))
    assert one < five < many


def test_one_code_gives_the_elbo():
    _, terms, draw = bounds(1, pictures(3), repeats=1)
    expected = array(terms["reconstruction"]) + array(draw.log_ratio)[:, 0]
    np.testing.assert_allclose(array(terms["bound"]), expected, rtol=1e-5)


def test_the_bound_is_the_logarithm_of_the_mean_weight():
    rng, images = np.random.default_rng(0), pictures(3)
    logits = rng.standard_normal((3, 4, 28, 28, 1)).astype("float32")
    ratio = rng.standard_normal((3, 4)).astype("float32")
    objective = IWAE(type="iwae", samples=4, likelihood="gaussian", sigma=1.0)
    draw = fmae_zoo.latents.Draw(np.zeros((3, 4, 2), "float32"), ratio, np.zeros(3), {})
    error = (1 / (1 + np.exp(-logits.astype("float64"))) - images[:, None]) ** 2
    nats = error.sum(axis=(2, 3, 4)) / 2 + 392 * math.log(2 * math.pi)
    weights = np.exp(-(nats - nats.min()) - ratio)
    expected = np.log(weights.mean(axis=1)) - nats.min()
    found = objective.terms({"target": images}, draw, logits, None)["bound"]
    np.testing.assert_allclose(-array(found), expected, rtol=1e-5)


def test_several_codes_an_image_are_drawn_in_validation_too():
    spec = tiny_spec(latent=GAUSSIAN, objective={"type": "iwae", "samples": 3})
    model, images = Autoencoder(spec), pictures(5)
    outputs = model(images, training=False)
    assert outputs["code"].shape == (5, 3, 4)
    assert outputs["logits"].shape == (5, 3, 28, 28, 1)
    assert not np.allclose(array(outputs["code"])[:, 0], array(outputs["code"])[:, 1])
    np.testing.assert_allclose(model.encode(images), array(outputs["mean"]), atol=1e-5)
    model.compile("adam", metrics=[keras.metrics.MeanSquaredError(name="mse")])
    assert 0 < model.evaluate(images, verbose=0, return_dict=True)["mse"] < 1


# The codebook.


def quantized(**changes):
    latent = VectorQuantizedLatent(**QUANTIZED | changes)
    return LatentLayer(latent, 0, Seeds(0), (28, 28, 1))


def test_a_code_is_made_of_the_nearest_vectors():
    layer, mean = quantized(), np.random.default_rng(0).standard_normal((6, 8)).astype("float32")
    vectors = array(layer.codebook.embeddings)
    distances = ((mean.reshape(6, 4, 1, 2) - vectors) ** 2).sum(axis=-1)
    nearest = distances.argmin(axis=-1)
    draw = layer.draw({"mean": mean})
    np.testing.assert_array_equal(array(draw.extra["index"]), nearest)
    np.testing.assert_allclose(array(draw.code)[:, 0], vectors[nearest].reshape(6, 8), atol=1e-6)
    np.testing.assert_allclose(array(layer.code({"mean": mean})), array(draw.code)[:, 0], atol=1e-6)
    np.testing.assert_allclose(
        array(draw.extra["commitment"]), distances.min(axis=-1).sum(axis=-1), rtol=1e-4
    )


def test_the_codebook_follows_moving_averages():
    layer = quantized(decay=0.9, revive_below=0.0)
    mean = np.random.default_rng(0).standard_normal((6, 8)).astype("float32")
    use, total = array(layer.use), array(layer.total)
    draw = layer.draw({"mean": mean}, training=True)
    chosen = np.eye(5)[array(draw.extra["index"]).reshape(-1)]
    use = 0.9 * use + 0.1 * chosen.sum(axis=0)
    total = 0.9 * total + 0.1 * chosen.T @ mean.reshape(-1, 2)
    np.testing.assert_allclose(array(layer.use), use, rtol=1e-5)
    np.testing.assert_allclose(array(layer.total), total, rtol=1e-4, atol=1e-6)
    expected = total / (use + EPSILON)[:, None]
    np.testing.assert_allclose(array(layer.codebook.embeddings), expected, rtol=1e-4, atol=1e-6)
    layer.draw({"mean": mean}, training=False)
    np.testing.assert_allclose(array(layer.use), use, rtol=1e-5)


def test_what_a_latent_owns_is_read_as_float32_by_a_model_of_mixed_precision():
    spec = tiny_spec(latent=QUANTIZED, objective={"type": "committed_squared_error"})
    model = Autoencoder(spec, dtype="mixed_bfloat16")
    model.compile("adam")
    model.latent.use.assign(np.full(5, 1000.0 + 1 / 16, "float32"))
    model.train_on_batch(pictures(4))
    # bfloat16 knows 1000 and 1008, and nothing between.
    left = 0.99 * (1000.0 + 1 / 16)
    assert array(model.latent.use).sum() == pytest.approx(5 * left + 0.01 * 16, rel=1e-6)


def test_a_vector_that_nothing_chooses_is_put_on_a_group_of_the_batch():
    layer = quantized(decay=0.0, revive_below=0.5)
    far = np.full((5, 2), 100.0, "float32")
    far[0] = 0.0
    layer.codebook.embeddings.assign(far)
    mean = np.random.default_rng(0).standard_normal((6, 8)).astype("float32")
    layer.draw({"mean": mean}, training=True)
    vectors, groups = array(layer.codebook.embeddings), mean.reshape(-1, 2)
    distances = np.abs(vectors[1:, None] - groups).max(axis=-1).min(axis=-1)
    np.testing.assert_allclose(distances, 0.0, atol=1e-3)
    assert len(np.unique(vectors[1:].round(4), axis=0)) == 4


def test_the_gradient_passes_the_choice_as_if_it_were_none():
    """Of a loss that is linear in the code, the step of the mean's bias is known."""
    spec = tiny_spec(latent=QUANTIZED, objective={"type": "committed_squared_error"})
    slopes = np.random.default_rng(1).standard_normal(8).astype("float32")

    class Linear(Autoencoder):
        def compute_loss(self, x=None, y=None, y_pred=None, *args, **options):
            return ops.mean(ops.matmul(y_pred["code"], slopes[:, None]))

    model = Linear(spec)
    model.compile(keras.optimizers.SGD(1.0))
    bias = model.parts()["encoder"]["latent.bias"]
    before = array(bias)
    model.train_on_batch(pictures(6))
    np.testing.assert_allclose(array(bias) - before, -slopes, rtol=1e-3, atol=1e-5)


def test_plain_keras_reads_the_encoder_of_a_codebook(tmp_path):
    spec = tiny_spec(latent=QUANTIZED, objective={"type": "committed_squared_error"})
    model, images = Autoencoder(spec), pictures(7)
    model.compile("adam")
    model.fit(images, epochs=2, verbose=0)
    path = tmp_path / "encoder.keras"
    fmae_zoo.stock(model.encoder).save(path)
    plain = keras.saving.load_model(path)
    assert "fmae_zoo" not in json.dumps(plain.get_config(), default=str)
    np.testing.assert_allclose(
        plain.predict(images, verbose=0), model.encode(images), rtol=1e-4, atol=1e-5
    )


def test_groups_must_be_whole():
    with pytest.raises(SpecError, match="9 is no multiple of dimension, 2"):
        tiny_spec(latent=QUANTIZED | {"size": 9})


# The critic.


@pytest.mark.parametrize(
    ("term", "moves"),
    [
        ("reconstruction", {"encoder", "decoder"}),
        ("adversary", {"encoder"}),
        ("critic", {"critic"}),
    ],
)
def test_each_term_moves_its_own_side_alone(term, moves):
    class Alone(Adversarial):
        def weights(self, step=None):
            return {**dict.fromkeys(self.term_names, 0.0), term: 1.0}

    objective = {"type": "adversarial", "units": [8]}
    spec = tiny_spec(latent={"type": "normal_prior", "size": 4}, objective=objective)
    model = Autoencoder(
        spec.model_copy(update={"objective": Alone(type="adversarial", units=(8,))})
    )
    model.compile(keras.optimizers.SGD(1.0))
    assert moved_by_a_step(model, pictures(8)) == moves


def test_a_critic_learns_to_tell_codes_from_the_prior():
    objective = {"type": "adversarial", "units": [32], "adversary_weight": 1e-6}
    spec = tiny_spec(latent={"type": "normal_prior", "size": 4}, objective=objective)
    model = Autoencoder(spec)
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(pictures(64), epochs=30, batch_size=32, verbose=0).history
    assert history["critic"][-1] < 0.8 * history["critic"][0]


def test_what_has_a_prior_generates():
    objective = {"type": "adversarial", "units": [8]}
    spec = tiny_spec(latent={"type": "normal_prior", "size": 4}, objective=objective)
    images = Autoencoder(spec).generate(3, seed=1)
    assert images.shape == (3, 28, 28, 1)


# A learned prior that asks the encoder.


class Vamp(GaussianLatent):
    """The prior is the mixture of the posteriors of three learned images."""

    def build(self, layer, seeds):
        layer.pseudo_inputs = layer.add_weight(
            shape=(3, *layer.image_shape), initializer="ones", name="pseudo_inputs"
        )

    def draw(self, parameters, layer, *args, **options):
        draw = super().draw(parameters, layer, *args, **options)
        of_prior = layer.parameters_of(layer.pseudo_inputs)
        code = draw.code[:, :, None]
        log_p = log_density(code, of_prior["mean"], of_prior["log_variance"])
        log_p = ops.logsumexp(log_p, axis=-1) - math.log(3)
        own = (parameters["mean"][:, None], parameters["log_variance"][:, None])
        log_ratio = log_density(draw.code, *own) - log_p
        return draw._replace(log_ratio=log_ratio, kl=ops.mean(log_ratio, axis=1))


def log_density(code, mean, log_variance):
    squares = ops.square(code - mean) / ops.exp(log_variance)
    return -0.5 * ops.sum(squares + log_variance + math.log(2 * math.pi), axis=-1)


def test_a_prior_may_learn_and_ask_the_encoder():
    spec = tiny_spec(latent=GAUSSIAN, objective={"type": "elbo"})
    spec = spec.model_copy(update={"latent": Vamp(**GAUSSIAN)})
    model, images = Autoencoder(spec), pictures(16)
    assert list(model.parts()["encoder"])[-1] == "gaussian.pseudo_inputs"
    model.compile(keras.optimizers.Adam(0.1))
    model.fit(images, epochs=2, verbose=0)
    assert not np.allclose(array(model.latent.pseudo_inputs), 1.0)
    # The posterior of a pseudo-input is a third of the prior.
    model.latent.pseudo_inputs.assign(images[:3])
    draw = model.latent.draw(model.posterior(images[:3]), training=True)
    assert array(draw.log_ratio).max() <= math.log(3) + 1e-4


# What does not fit together.


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("elbo", "gives kl: latent.type = .*'gaussian'"),
        ("iwae", "gives kl, log_ratio: latent.type = .*'gaussian'"),
        ("adversarial", "gives prior: latent.type = .*'normal_prior'"),
        ("committed_squared_error", "gives commitment: latent.type = 'vector_quantized'"),
    ],
)
def test_an_objective_says_which_latents_it_can_do_with(objective, words):
    with pytest.raises(SpecError, match=words):
        tiny_spec(objective={"type": objective})
