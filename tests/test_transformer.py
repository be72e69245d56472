"""The transformer, which leaves out what is hidden, and the loss on hidden pixels alone."""

import numpy as np
import pytest
from keras import ops

import fmae_zoo
from fmae_zoo import Autoencoder
from fmae_zoo.augmentation import fixed_mask
from fmae_zoo.errors import ArgumentError, ImagesError, SpecError
from fmae_zoo.layers import stock
from tests.conftest import tiny_spec
from tests.test_nothing_lost import SPECS

pytestmark = pytest.mark.usefixtures("eager")


def transformer(**changes):
    return Autoencoder(tiny_spec(**SPECS["transformer"] | changes), seed=3)


def pictures(count, seed=0):
    return np.random.default_rng(seed).random((count, 28, 28, 1), dtype="float32")


def masks(count, seed=1):
    patches = np.random.default_rng(seed).random((count, 4, 4)) < 0.6
    return patches.repeat(7, axis=1).repeat(7, axis=2)


def test_nothing_sees_a_hidden_patch():
    model, mask = transformer(), masks(5)
    one, other = pictures(5, 0), pictures(5, 1)
    other = np.where(mask[..., None], other, one)
    np.testing.assert_array_equal(model.encode(one, mask=mask), model.encode(other, mask=mask))
    assert not np.allclose(model.encode(one), model.encode(other), atol=1e-4)
    np.testing.assert_array_equal(
        model.reconstruct(one, mask=mask), model.reconstruct(other, mask=mask)
    )


def test_what_is_seen_stays_and_what_is_hidden_is_made_up(few):
    spec = tiny_spec(**SPECS["transformer"])
    model, mask = Autoencoder(spec, seed=3), masks(len(few.test_images))
    clean = few.test_images[..., None] / np.float32(255)
    found = model.reconstruct(few.test_images, mask=mask)
    decoded = model.decode(model.encode(few.test_images, mask=mask))
    np.testing.assert_array_equal(found, np.where(mask[..., None], decoded, clean))

    found = model.reconstruct(few.test_images)
    hidden = fixed_mask(len(clean), (28, 28, 1), spec.recipe).astype(bool)
    np.testing.assert_array_equal(found[~hidden], clean[~hidden])
    assert 0.3 < hidden.mean() < 0.9
    results = fmae_zoo.evaluate(model, ["reconstruction", "inpainting"], data=few)
    assert set(results) == {"inpainting"}
    figure = results["inpainting"]
    assert figure["mse"] == pytest.approx(np.square(found - clean)[hidden].mean(), rel=1e-5)
    mean = few.train_images.mean(axis=0)[..., None] / 255.0
    assert figure["mean_mse"] == pytest.approx(np.square(mean - clean)[hidden].mean(), rel=1e-4)
    assert figure["hidden"] == pytest.approx(hidden.mean())
    assert fmae_zoo.evaluate(Autoencoder(tiny_spec()), "inpainting", data=few) == {}


def test_codes_of_hidden_patches_are_zeros_and_no_others():
    mask = masks(5)
    codes = transformer().encode(pictures(5), mask=mask).reshape(5, 16, 3)
    hidden = mask[:, ::7, ::7].reshape(5, 16)
    np.testing.assert_array_equal((codes == 0).all(axis=-1), hidden)


def test_visible_patches_are_encoded_as_if_there_were_no_others():
    """As He et al. do it: hidden tokens are out of the sequence."""
    model, images = transformer(), pictures(1)
    mask = np.zeros((1, 28, 28), bool)
    mask[:, 7:] = True
    found = model.encode(images, mask=mask).reshape(16, 3)[:4]
    x = images.reshape(4, 7, 4, 7).transpose(0, 2, 1, 3).reshape(16, 49)[:4]
    weights = {variable.path: ops.convert_to_numpy(variable) for variable in model.encoder.weights}

    def of(layer, name="kernel"):
        return next(value for path, value in weights.items() if path.endswith(f"{layer}/{name}"))

    def normed(x, layer):
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return scaled * of(layer, "gamma") + of(layer, "beta")

    def dense(x, layer):
        return x @ of(layer) + of(layer, "bias")

    x = x @ of("encoder_embedding") + of("encoder_embedding", "bias")[:4]
    read = normed(x, "encoder1_norm1")
    query, key, value = (
        dense(read, f"encoder1_{what}").reshape(4, 2, 4).transpose(1, 0, 2)
        for what in ("query", "key", "value")
    )
    scores = query @ key.transpose(0, 2, 1) / 2.0
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    read = (scores / scores.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(4, 8)
    x = x + dense(read, "encoder1_projection")
    wide = dense(normed(x, "encoder1_norm2"), "encoder1_wide")
    wide = ops.convert_to_numpy(ops.gelu(wide, approximate=False))
    x = x + dense(wide, "encoder1_narrow")
    expected = dense(normed(x, "encoder_norm"), "encoder_code")
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_loss_is_of_hidden_pixels_alone():
    model, rng = transformer(), np.random.default_rng(0)
    images, mask = pictures(4), masks(4).astype("uint8")
    mask[3] = 0
    logits = rng.standard_normal((4, 1, 28, 28, 1)).astype("float32")
    terms = model.spec.objective.terms({"target": images, "mask": mask}, None, logits, model)
    error = (1 / (1 + np.exp(-logits[:, 0])) - images)[..., 0] ** 2
    expected = [784 * each[hidden != 0].mean() for each, hidden in zip(error[:3], mask)]
    found = ops.convert_to_numpy(terms["reconstruction"])
    np.testing.assert_allclose(found, [*expected, 0.0], rtol=1e-5)


def test_a_run_hides_patches_also_in_validation(few, compiled):
    spec = tiny_spec(**SPECS["transformer"])
    rows = fmae_zoo.train(spec, data=few, learning_rate=3e-3, epochs=6).rows
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]
    # A loss of hidden pixels is not zero: it is where there are none.
    assert rows[-1]["val_loss"] > 1.0


def test_an_image_that_is_hidden_as_a_whole_gives_numbers():
    codes = transformer().encode(pictures(2), mask=np.ones((2, 28, 28)))
    np.testing.assert_array_equal(codes, 0.0)
    model = transformer()
    model.compile("adam")
    hidden = np.full((2, 28, 28, 1), -1.0, "float32")
    target = {"image": pictures(2), "mask": np.ones((2, 28, 28), "uint8")}
    assert np.isfinite(model.train_on_batch(hidden, target)).all()
    assert all(np.isfinite(ops.convert_to_numpy(each)).all() for each in model.weights)


def test_it_is_trained_in_float16(few):
    spec = tiny_spec(**SPECS["transformer"])
    history = fmae_zoo.train(spec, data=few, epochs=1, precision="mixed_float16")
    assert np.isfinite(history.rows[0]["loss"])


def test_plain_keras_layers_compute_the_same():
    model, images = transformer(), pictures(3)
    found = ops.convert_to_numpy(stock(model.encoder)(images))
    np.testing.assert_allclose(found, model.encode(images), atol=1e-5)


def test_other_networks_are_hidden_from_with_black(few):
    model, images = Autoencoder(tiny_spec()), few.test_images[:3]
    mask = masks(3)
    blank = np.where(mask, 0, images).astype("uint8")
    np.testing.assert_allclose(model.encode(images, mask=mask), model.encode(blank), atol=1e-6)


@pytest.mark.parametrize("wrong", [None, (4, 14, 14), (4, 28, 28, 1)], ids=str)
def test_a_loss_of_hidden_pixels_asks_which_are_hidden(wrong):
    model, images = transformer(), pictures(4)
    model.compile("adam")
    target = None if wrong is None else {"image": images, "mask": np.ones(wrong, "uint8")}
    for method in (model.fit, model.evaluate):
        with pytest.raises(ArgumentError, match="'mask' that they are hidden by"):
            method(images, target, verbose=0)


@pytest.mark.parametrize("value", ["no", np.nan, None])
def test_a_mask_is_of_numbers(value):
    with pytest.raises(ImagesError, match="booleans or numbers"):
        transformer().encode(pictures(2), mask=np.full((2, 28, 28), value))


def test_what_does_not_fit_is_refused_with_what_would():
    with pytest.raises(SpecError, match=r"height 30: patches of 7 pixels .* 28 or 35"):
        transformer(shape=[30, 28, 1])
    with pytest.raises(SpecError, match=r"recipe\.mask: objective .* needs masks"):
        transformer(recipe={})
    mask = {"patch": 7, "probability": 0.5, "until": 0.5}
    with pytest.raises(SpecError, match=r"until = 0\.5"):
        transformer(recipe={"mask": mask})
    with pytest.raises(SpecError, match=r"recipe\.mask\.patch: 4, but .* multiple"):
        transformer(recipe={"mask": {"patch": 4, "probability": 0.5}})
    blocks = {"width": 10, "depth": 1, "heads": 4}
    with pytest.raises(SpecError, match="10 values for 4 heads"):
        transformer(network=SPECS["transformer"]["network"] | {"encoder": blocks})
    with pytest.raises(ImagesError, match=r"mask of shape \(2, 28, 28\)"):
        transformer().encode(pictures(2), mask=np.zeros((2, 14, 14)))


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (32, 24, 3)], ids=str)
def test_images_of_other_shapes(shape):
    network = SPECS["transformer"]["network"] | {"patch": 4}
    spec = tiny_spec(
        **SPECS["transformer"]
        | {
            "network": network,
            "shape": list(shape),
            "latent": {"type": "spatial", "size": 3 * shape[0] * shape[1] // 16},
            "recipe": {"mask": {"patch": 4, "probability": 0.5}},
        }
    )
    model = Autoencoder(spec)
    images = np.random.default_rng(0).random((2, *shape), dtype="float32")
    assert model.reconstruct(images).shape == (2, *shape)


def test_a_patch_comes_back_where_it_was():
    """The decoder puts patches where the encoder took them from."""
    model = transformer(shape=[28, 14, 3], latent={"type": "spatial", "size": 24})
    decoder = model.decoder
    bias = next(v for v in decoder.weights if v.path.endswith("logits_dense/bias"))
    kernel = next(v for v in decoder.weights if v.path.endswith("logits_dense/kernel"))
    patch = np.random.default_rng(0).random((7, 7, 3)).astype("float32")
    kernel.assign(np.zeros(kernel.shape, "float32"))
    bias.assign(patch.reshape(-1))
    logits = ops.convert_to_numpy(decoder(np.zeros((1, 24), "float32")))[0]
    np.testing.assert_allclose(logits, np.tile(patch, (4, 2, 1)), atol=1e-6)
