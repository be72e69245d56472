"""Objectives that match codes to a prior, regularise without noise, or have images compared."""

import keras
import numpy as np
import pytest
from keras import ops

from fmae_zoo import Autoencoder
from fmae_zoo.errors import SpecError
from fmae_zoo.objectives.jacobian import squared_jacobian
from fmae_zoo.objectives.mmd import MMD, SCALES, squared_mmd
from fmae_zoo.objectives.regularised import Regularised
from fmae_zoo.objectives.sliced import Sliced, sliced_distance
from fmae_zoo.objectives.stateless import decode_again
from fmae_zoo.objectives.vaegan import VAEGAN
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

GAUSSIAN = {"type": "gaussian", "size": 4}
NORMAL = {"type": "normal_prior", "size": 4}
PLAIN = {"type": "deterministic", "size": 4}
CONV = {
    "type": "conv",
    "encoder": [{"filters": [3], "pool": "average"}],
    "decoder": [{"filters": [2], "upsample": True}],
}
SMALL_VAEGAN = {"type": "vaegan", "filters": [4, 3]}


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def pictures(count, seed=0, shape=(28, 28, 1)):
    return np.random.default_rng(seed).random((count, *shape), dtype="float32")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def terms_of(model, images):
    """Return the objective's terms of images, computed as in training."""
    draw, logits = model._drawn(model(images, training=True))
    batch = {"image": ops.convert_to_tensor(images), "target": ops.convert_to_tensor(images)}
    terms = model.spec.objective.terms(batch, draw, logits, model)
    return {name: array(term) for name, term in terms.items()}


def trained_by(objective, term, latent, **changes):
    """Return a model whose objective has no weight but that of one term."""

    class Alone(type(objective)):
        def weights(self, step=None):
            return {**dict.fromkeys(self.term_names, 0.0), term: 1.0}

    spec = tiny_spec(latent=latent, objective=objective.model_dump(), **changes)
    return Autoencoder(spec.model_copy(update={"objective": Alone(**objective.model_dump())}))


def compiled(model, optimizer):
    """Compile a model; on TensorFlow its steps run as they are, for XLA compiles for longer."""
    model.compile(optimizer, run_eagerly=keras.backend.backend() == "tensorflow")


def values(part):
    return {name: array(each) for name, each in part.items()}


def statistics(model):
    """Return the moving statistics of every BatchNorm."""
    parts = model.parts()
    every = {f"{p}.{n}": v for p in ("encoder", "decoder") for n, v in parts[p].items()}
    return {name: array(each) for name, each in every.items() if "moving" in name}


# All of them.


KINDS = {
    "infovae": {"latent": GAUSSIAN, "objective": {"type": "mmd", "kl_weight": 0.5}},
    "wae": {"latent": NORMAL, "objective": {"type": "mmd", "kernel": "rbf"}},
    "sliced": {"latent": NORMAL, "objective": {"type": "sliced"}},
    "l2": {"latent": PLAIN, "objective": {"type": "regularised", "decoder": "l2"}},
    "gradient": {"latent": PLAIN, "objective": {"type": "regularised"}},
    "contractive": {"latent": PLAIN, "objective": {"type": "contractive"}},
    "vaegan": {"latent": GAUSSIAN, "objective": SMALL_VAEGAN},
}


# The maximum mean discrepancy.


def loop_mmd(codes, others, kernel):
    """Return the unbiased estimate by its definition."""

    def k(x, y):
        distance, width = np.sum((x - y) ** 2), 2.0 * len(x)
        if kernel == "rbf":
            return sum(np.exp(-distance / (width * scale)) for scale in SCALES)
        return sum(width * scale / (width * scale + distance) for scale in SCALES)

    n = len(codes)
    apart = [(i, j) for i in range(n) for j in range(n) if i != j]
    within = sum(k(codes[i], codes[j]) + k(others[i], others[j]) for i, j in apart)
    between = sum(k(x, y) for x in codes for y in others)
    return within / (n * (n - 1)) - 2 * between / n**2


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_equals_its_double_loop(kernel):
    codes, others = 2 * normal(7, 3) + 1, normal(7, 3, seed=1)
    expected = loop_mmd(codes.astype("float64"), others.astype("float64"), kernel)
    found = squared_mmd(ops.convert_to_tensor(codes), ops.convert_to_tensor(others), kernel)
    assert float(array(found)) == pytest.approx(expected, rel=1e-4)


def test_mmd_of_equal_distributions_is_zero_in_the_mean_and_of_others_positive():
    def estimates(shift):
        samples = normal(200, 2, 16, 3)
        samples[:, 0] += shift
        return np.array([float(array(squared_mmd(*ops.convert_to_tensor(s)))) for s in samples])

    same, other = estimates(0.0), estimates(1.0)
    error = same.std() / len(same) ** 0.5
    assert abs(same.mean()) < 4 * error
    assert same.min() < 0
    assert other.mean() > 20 * error


def test_mmd_of_one_image_has_no_pairs():
    one, other = np.zeros((1, 2), "float32"), np.full((1, 2), 2.0, "float32")
    expected = -2 * sum(4 * scale / (4 * scale + 8) for scale in SCALES)
    found = squared_mmd(ops.convert_to_tensor(one), ops.convert_to_tensor(other))
    assert float(array(found)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_the_gradient_of_the_mmd_is_that_of_its_double_loop(kernel):
    """Of the bias of the codes, by one step of rate 1 against central differences."""
    model = trained_by(MMD(type="mmd", kernel=kernel), "mmd", NORMAL)
    prior, images = normal(3, 4), pictures(3)
    model.latent.noise = lambda shape: ops.convert_to_tensor(prior)
    codes = model.encode(images).astype("float64")
    slopes = [
        (loop_mmd(codes + move, prior, kernel) - loop_mmd(codes - move, prior, kernel)) / 2e-4
        for move in 1e-4 * np.eye(4)
    ]
    bias = model.parts()["encoder"]["latent.bias"]
    before = array(bias)
    compiled(model, keras.optimizers.SGD(1.0))
    model.train_on_batch(images)
    np.testing.assert_allclose(before - array(bias), slopes, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("objective", "term"), [(MMD(type="mmd"), "mmd"), (Sliced(type="sliced"), "sliced")]
)
def test_training_moves_codes_to_the_prior(objective, term):
    model = trained_by(objective, term, NORMAL)
    model.parts()["encoder"]["latent.bias"].assign(np.full(4, 3.0, "float32"))
    images = pictures(32)
    start = model.encode(images).mean(axis=0)
    compiled(model, keras.optimizers.Adam(3e-3))
    history = model.fit(images, epochs=40, batch_size=32, verbose=0).history[term]
    assert np.linalg.norm(model.encode(images).mean(axis=0)) < 0.4 * np.linalg.norm(start)
    assert history[-1] < 0.3 * history[0]


def test_the_kl_beside_the_mmd_is_the_latents_own():
    images = pictures(5)
    of_gaussian = Autoencoder(tiny_spec(latent=GAUSSIAN, objective={"type": "mmd"}))
    parameters = {name: array(each) for name, each in of_gaussian.posterior(images).items()}
    mean, log_variance = parameters["mean"], parameters["log_variance"]
    expected = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(axis=1)
    np.testing.assert_allclose(terms_of(of_gaussian, images)["kl"], expected, rtol=1e-4)
    of_point = Autoencoder(tiny_spec(latent=NORMAL, objective={"type": "mmd"}))
    np.testing.assert_array_equal(terms_of(of_point, images)["kl"], np.zeros(5))


def test_a_weight_is_that_of_its_term():
    mmd = MMD(type="mmd", mmd_weight=3.0, kl_weight=0.5)
    assert mmd.weights() == {"reconstruction": 1.0, "mmd": 3.0, "kl": 0.5}
    assert Sliced(type="sliced", sliced_weight=2.0).weights()["sliced"] == 2.0
    assert Regularised(type="regularised", code_weight=2.0, decoder_weight=3.0).weights() == {
        "reconstruction": 1.0,
        "code": 2.0,
        "decoder": 3.0,
    }


# The sliced distance.


def test_sliced_distance_of_a_sample_and_itself_in_another_order_is_zero():
    codes = normal(9, 4)
    found = sliced_distance(*map(ops.convert_to_tensor, (codes, codes[::-1].copy(), normal(4, 6))))
    assert float(array(found)) == pytest.approx(0.0, abs=1e-10)


def test_sliced_distance_of_a_shift_is_its_square_times_the_mean_squared_cosine():
    codes, shift, directions = normal(9, 3), np.float32([1, -2, 0.5]), normal(3, 40)
    cosines = shift @ directions / np.linalg.norm(directions, axis=0) / np.linalg.norm(shift)
    found = sliced_distance(*map(ops.convert_to_tensor, (codes + shift, codes, directions)))
    assert float(array(found)) == pytest.approx(shift @ shift * np.mean(cosines**2), rel=1e-4)
    many = sliced_distance(*map(ops.convert_to_tensor, (codes + shift, codes, normal(3, 20_000))))
    assert float(array(many)) == pytest.approx(shift @ shift / 3, rel=0.03)


def test_sliced_distance_equals_a_sort_of_each_projection():
    codes, others, directions = normal(8, 3) * 2, normal(8, 3, seed=1), normal(3, 5, seed=2)
    costs = []
    for direction in directions.T:
        unit = direction / np.linalg.norm(direction)
        costs.append(np.mean((np.sort(codes @ unit) - np.sort(others @ unit)) ** 2))
    found = sliced_distance(*map(ops.convert_to_tensor, (codes, others, directions)))
    assert float(array(found)) == pytest.approx(np.mean(costs), rel=1e-4)


# Jacobians.


def dense_jacobian(part, names, x, activation):
    """Return the Jacobian `(inputs, outputs)` of dense ReLU layers at x, by the chain rule."""
    x, jacobian = x.astype("float64"), np.eye(len(x))
    for name in names:
        x = x @ array(part[f"{name}.kernel"]) + array(part[f"{name}.bias"])
        jacobian = jacobian @ array(part[f"{name}.kernel"]).astype("float64")
        if name != names[-1]:
            jacobian, x = jacobian * (x > 0), np.maximum(x, 0)
    if activation == "sigmoid":
        x = 1 / (1 + np.exp(-x))
        jacobian = jacobian * (x * (1 - x))
    return jacobian


DECODER = ("decoder1_dense", "decoder2_dense", "logits_dense")
ENCODER = ("encoder1_dense", "encoder2_dense", "latent")


def test_the_mean_over_orthogonal_directions_is_the_squared_norm():
    model = Autoencoder(tiny_spec())
    code = normal(4)
    exact = np.sum(dense_jacobian(model.parts()["decoder"], DECODER, code, "sigmoid") ** 2)
    found = squared_jacobian(
        lambda codes: ops.sigmoid(model.decoder(codes)),
        ops.convert_to_tensor(np.tile(code, (4, 1))),
        ops.convert_to_tensor(3.0 * np.eye(4, dtype="float32")),
        1e-3,
    )
    assert found.shape == (4,)
    assert array(found).mean() == pytest.approx(exact, rel=1e-2)


def test_the_decoders_penalty_is_the_squared_norm_in_the_mean():
    objective = {"type": "regularised", "step": 0.01}
    model, image = Autoencoder(tiny_spec(objective=objective)), pictures(1)
    code = model.encode(image)[0]
    exact = np.sum(dense_jacobian(model.parts()["decoder"], DECODER, code, "sigmoid") ** 2)
    terms = terms_of(model, np.repeat(image, 2000, axis=0))
    assert terms["decoder"].mean() == pytest.approx(exact, rel=0.06)
    np.testing.assert_allclose(terms["code"], np.sum(code**2) / 2, rtol=1e-3)


def test_the_contraction_is_the_squared_norm_in_the_mean():
    objective = {"type": "contractive", "step": 0.001}
    model, image = Autoencoder(tiny_spec(objective=objective)), pictures(1)
    part = model.parts()["encoder"]
    exact = np.sum(dense_jacobian(part, ENCODER, image.ravel(), "linear") ** 2)
    terms = terms_of(model, np.repeat(image, 2000, axis=0))
    assert terms["contraction"].mean() == pytest.approx(exact, rel=0.06)


def test_the_penalty_of_kernels_is_their_squared_length():
    model = Autoencoder(tiny_spec(objective={"type": "regularised", "decoder": "l2"}))
    part = values(model.parts()["decoder"])
    expected = sum(np.sum(each**2) for name, each in part.items() if "kernel" in name)
    assert terms_of(model, pictures(2))["decoder"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["gradient", "l2"])
def test_a_penalty_of_the_decoder_is_lowered_by_training_on_it(kind):
    objective = Regularised(type="regularised", decoder=kind)
    model = trained_by(objective, "decoder", PLAIN)
    compiled(model, keras.optimizers.SGD(0.02))
    history = model.fit(pictures(64), epochs=10, batch_size=64, verbose=0).history["decoder"]
    assert history[-1] < 0.8 * history[0]


@pytest.mark.parametrize("name", ["gradient", "contractive", "vaegan"])
def test_statistics_move_once_in_a_step(name):
    kind = KINDS[name]
    plain = {"type": "elbo"} if kind["latent"] == GAUSSIAN else {"type": "squared_error"}
    specs = [
        tiny_spec(network=CONV, latent=kind["latent"], objective=objective)
        for objective in (kind["objective"], plain)
    ]
    model, other = (Autoencoder(spec, seed=4) for spec in specs)
    before = statistics(model)
    for each in (model, other):
        compiled(each, keras.optimizers.SGD(0.0))
        each.train_on_batch(pictures(4))
    expected = statistics(other)
    for key, each in statistics(model).items():
        assert not np.array_equal(each, before[key])
        np.testing.assert_allclose(each, expected[key], rtol=1e-4, atol=1e-6, err_msg=key)


# The critic of images.


@pytest.mark.parametrize(
    ("term", "moves"),
    [
        ("features", {"encoder", "decoder"}),
        ("kl", {"encoder"}),
        ("adversary", {"decoder"}),
        ("critic", {"critic"}),
    ],
)
def test_each_term_moves_its_own_side_alone(term, moves):
    model = trained_by(VAEGAN(type="vaegan", filters=(4, 3)), term, GAUSSIAN)
    compiled(model, keras.optimizers.SGD(1.0))
    before = {name: values(part) for name, part in model.parts().items()}
    model.train_on_batch(pictures(4))
    moved = {
        name
        for name, part in model.parts().items()
        if any(not np.array_equal(each, before[name][key]) for key, each in values(part).items())
    }
    assert moved == moves


def test_the_terms_of_a_critic_are_its_features_and_cross_entropies():
    spec = tiny_spec(latent=GAUSSIAN, objective=SMALL_VAEGAN)
    model, images = Autoencoder(spec), pictures(3)
    posterior = model.posterior(images)
    draw = model.latent.draw(posterior, noise=np.zeros((3, 1, 4), "float32"))
    logits, noise = model.decoder(draw.code[:, 0]), normal(3, 4)
    model.latent.noise = lambda shape: ops.convert_to_tensor(noise)
    batch = {"image": images, "target": ops.convert_to_tensor(images)}
    terms = model.spec.objective.terms(batch, draw, logits[:, None], model)

    def judged(pixels):
        found = model.critic(pixels)
        return array(found["features"]), array(found["logits"])[:, 0].astype("float64")

    real, of_real = judged(images)
    rebuilt, of_rebuilt = judged(ops.sigmoid(logits))
    _, of_prior = judged(ops.sigmoid(model.decoder(noise)))
    expected = {
        "features": 0.5 * np.sum((real - rebuilt) ** 2, axis=1),
        "kl": array(draw.kl),
        "adversary": np.log1p(np.exp(-of_rebuilt)) + np.log1p(np.exp(-of_prior)),
        "critic": np.log1p(np.exp(-of_real))
        + np.log1p(np.exp(of_rebuilt))
        + np.log1p(np.exp(of_prior)),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(array(terms[name]), value, rtol=1e-3, err_msg=name)


def test_a_critic_learns_to_tell_real_images():
    model = trained_by(VAEGAN(type="vaegan", filters=(4, 3)), "critic", GAUSSIAN)
    compiled(model, keras.optimizers.Adam(1e-2))
    history = model.fit(pictures(32), epochs=15, batch_size=32, verbose=0).history
    assert history["critic"][-1] < 0.8 * history["critic"][0]


@pytest.mark.parametrize("name", ["gradient", "vaegan"])
def test_a_decoder_that_is_told_the_class_is_told_it_again(name):
    model = Autoencoder(tiny_spec(classes=3, **KINDS[name]))
    label, codes = np.array([0, 1, 2, 1], "int32"), normal(8, 4)
    images = decode_again(model, ops.convert_to_tensor(codes), {"label": label})
    expected = model.decode(codes, label=np.concatenate([label, label]))
    np.testing.assert_allclose(array(images), expected, rtol=1e-4, atol=1e-5)
    compiled(model, keras.optimizers.SGD(1e-3))
    assert np.isfinite(model.train_on_batch({"image": pictures(4), "label": label})).all()


def test_a_deep_critic_reads_small_images():
    objective = {"type": "vaegan", "filters": [2, 2, 2, 2, 2]}
    model = Autoencoder(tiny_spec(shape=[4, 6, 3], latent=GAUSSIAN, objective=objective))
    found = model.critic(pictures(2, shape=(4, 6, 3)))
    assert found["features"].shape == (2, 2)
    assert np.isfinite(array(found["logits"])).all()


@pytest.mark.parametrize(
    ("objective", "words"),
    [("mmd", "gives prior"), ("sliced", "gives prior"), ("vaegan", "gives kl, prior")],
)
def test_an_objective_says_what_it_needs(objective, words):
    with pytest.raises(SpecError, match=words):
        tiny_spec(objective={"type": objective})
