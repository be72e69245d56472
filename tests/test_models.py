"""The promises that every registered entry keeps, by being registered.

The costly ones are tested of a small entry of each kind of network.
"""

import json

import keras
import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import registry
from fmae_zoo.augmentation import fixed_mask, masked
from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.layers import plain_keras, stock
from fmae_zoo.training.optimizer import make_optimizer
from fmae_zoo.verification import check_entry
from fmae_zoo.weights import load_weights, named_variables, save_weights
from tests.conftest import BACKENDS, run_python
from tests.entries import FEW, TRAINED, names

pytestmark = pytest.mark.usefixtures("eager")

NAMES = names(FEW)

one_of_each_network = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def models() -> dict[str, Autoencoder]:
    """One untrained model of each entry, built when it is first wanted."""

    class Built(dict):
        def __missing__(self, name):
            self[name] = fmae_zoo.load(name)
            return self[name]

    return Built()


def test_there_are_entries():
    expected = {"dense-ae", "conv-ae-bn", "conv-ae-bn-spatial", "dense-vae", "conv-vae-bn"}
    assert expected <= set(names(TRAINED))


def test_each_kind_of_network_that_is_trained_by_steps_is_among_the_few():
    stepped = [each.spec for each in TRAINED if each.spec.recipe.optimizer != "none"]
    assert [each.spec.network.type for each in FEW] == sorted({s.network.type for s in stepped})


@pytest.mark.parametrize("entry", TRAINED, ids=names(TRAINED))
def test_an_entry_is_whole_and_gives_its_goldens(entry):
    """Spec, licence, digests, every weight, and outputs of which none is NaN."""
    checks, model = check_entry(entry)
    assert [check for check in checks if check.passed is not True] == []
    assert {"licence", "spec", "golden codes", "golden reconstructions"} < {c.name for c in checks}
    assert model.parts().keys() >= {"encoder", "decoder"}


@one_of_each_network
def test_shapes_ranges_and_no_nan(models, name, images):
    model = models[name]
    codes = model.encode(images)
    assert codes.shape == (16, model.spec.latent.size)
    assert codes.dtype == np.float32
    assert np.isfinite(codes).all()
    reconstructions = model.reconstruct(images)
    assert reconstructions.shape == (16, 28, 28, 1)
    assert reconstructions.min() >= 0
    assert reconstructions.max() <= 1


@one_of_each_network
def test_encode_is_deterministic_and_does_not_depend_on_the_batch(models, name, images):
    codes = models[name].encode(images)
    np.testing.assert_array_equal(codes, models[name].encode(images))
    apart = np.concatenate([models[name].encode(images[:5]), models[name].encode(images[5:])])
    np.testing.assert_allclose(codes, apart, atol=1e-4 * max(1.0, float(np.abs(codes).max())))


@one_of_each_network
def test_the_fast_path_gives_what_plain_keras_gives(models, name, images):
    inputs = images[..., None].astype("float32") / 255
    with plain_keras():
        keras_own = fmae_zoo.load(name).encoder
    plain = keras.ops.convert_to_numpy(keras_own(inputs, training=False))
    fast = keras.ops.convert_to_numpy(models[name].encoder(inputs, training=False))
    np.testing.assert_allclose(plain, fast, atol=1e-4, rtol=1e-4)


def to_train_on(model, images):
    """What `fit` takes: images, with a mask where the loss is of hidden pixels."""
    if not model.spec.objective.reads_mask:
        return {"x": images}
    mask = fixed_mask(len(images), model.spec.shape, model.spec.recipe)
    hidden = masked(images, mask, model.spec.network.hidden)
    return {"x": hidden, "y": {"image": images, "mask": mask}}


@one_of_each_network
def test_training_moves_every_parameter_and_lowers_the_loss(name, sample):
    spec = fmae_zoo.load(name).spec
    model = Autoencoder(spec)
    recipe = spec.recipe.model_copy(
        update={
            "schedule": "constant",
            "restart": None,
            "warmup_epochs": 0,
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
        }
    )
    if recipe.optimizer == "none":  # What finds its weights otherwise can be trained all the same.
        recipe = recipe.model_copy(update={"optimizer": "adam"})
    model.compile(optimizer=make_optimizer(recipe, 4))
    before = [keras.ops.convert_to_numpy(v.value).copy() for v in model.trainable_variables]
    inputs = sample.train_images[:64, ..., None].astype("float32") / 255
    options = {"batch_size": 32, "epochs": 4, "verbose": 0}
    losses = model.fit(**to_train_on(model, inputs), **options).history["loss"]
    after = [keras.ops.convert_to_numpy(v.value) for v in model.trainable_variables]
    still = [
        variable.path
        for variable, old, new in zip(model.trainable_variables, before, after)
        if np.array_equal(old, new)
    ]
    assert still == []
    assert losses[-1] < losses[0]


def test_a_model_compiled_by_its_recipe_serialises_and_returns(images, tmp_path):
    model = Autoencoder(fmae_zoo.load("conv-ae-bn").spec)
    model.compile(optimizer=make_optimizer(model.spec.recipe, 2))
    model.fit(images[..., None], verbose=0)
    model.save(tmp_path / "model.keras")
    returned = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(returned.encode(images), model.encode(images))
    rates = [
        [float(m.optimizer._learning_rate(step)) for step in (0, 39, 40, 44)]
        for m in (model, returned)
    ]
    assert rates[0] == pytest.approx(rates[1])


@one_of_each_network
def test_serialises_and_returns(models, name, images, tmp_path):
    model = models[name]
    model.save(tmp_path / "model.keras")
    returned = keras.saving.load_model(tmp_path / "model.keras")
    assert returned.spec == model.spec
    np.testing.assert_array_equal(returned.encode(images), model.encode(images))


@one_of_each_network
def test_weights_survive_a_file(models, name, images, tmp_path):
    digest = save_weights(models[name].posterior, tmp_path / "encoder.safetensors")
    other = fmae_zoo.load(name, seed=1)
    assert not np.array_equal(other.encode(images), models[name].encode(images))
    load_weights(other.posterior, tmp_path / "encoder.safetensors", digest)
    np.testing.assert_array_equal(other.encode(images), models[name].encode(images))


@one_of_each_network
def test_the_stock_encoder_is_plain_keras_without_this_package(models, name, images):
    plain = stock(models[name].encoder)
    assert "fmae_zoo" not in json.dumps(plain.get_config())
    codes = models[name].encode(images)
    found = plain.predict(images[..., None].astype("float32") / 255, verbose=0)
    np.testing.assert_allclose(found, codes, atol=1e-4 * max(1.0, float(np.abs(codes).max())))


@pytest.mark.parametrize(
    ("name", "policy"),
    [("dense-vae", "mixed_float16"), *((name, "mixed_bfloat16") for name in NAMES)],
)
def test_mixed_precision_runs_and_keeps_float32_weights(name, policy, images):
    model = Autoencoder(fmae_zoo.load(name).spec, dtype=policy)
    inputs = images[:4, ..., None].astype("float32") / 255
    outputs = model(inputs, training=True)
    assert keras.backend.standardize_dtype(outputs["logits"].dtype) == "float32"
    assert np.isfinite(keras.ops.convert_to_numpy(outputs["logits"])).all()
    assert {v.dtype for v in named_variables(model.encoder).values()} == {"float32"}
    model.compile(optimizer=make_optimizer(model.spec.recipe, 1))
    # As the zoo trains: plain Keras on PyTorch cannot where a CPU has no fast float16.
    history = model.fit(**to_train_on(model, inputs), verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.once
def test_weights_of_this_backend_give_equal_outputs_on_the_others(models, images, tmp_path):
    """With the suite run on each backend, all six pairs."""
    np.save(tmp_path / "images.npy", images)
    for name in NAMES:
        save_weights(models[name].posterior, tmp_path / f"{name}.encoder")
        save_weights(models[name].decoder, tmp_path / f"{name}.decoder")
        codes = models[name].encode(images)
        np.savez(tmp_path / f"{name}.npz", codes=codes, images=models[name].decode(codes))
    reader = """
import sys, numpy as np, keras, fmae_zoo
from fmae_zoo.weights import load_weights
folder = sys.argv[1]
images = np.load(f"{folder}/images.npy")
assert keras.backend.backend() == sys.argv[2]
for name in sys.argv[3:]:
    model = fmae_zoo.load(name, seed=5)
    load_weights(model.posterior, f"{folder}/{name}.encoder")
    load_weights(model.decoder, f"{folder}/{name}.decoder")
    expected = np.load(f"{folder}/{name}.npz")
    scale = max(1.0, float(expected["codes"].std()))
    np.testing.assert_allclose(model.encode(images), expected["codes"], atol=1e-4 * scale)
    np.testing.assert_allclose(model.decode(expected["codes"]), expected["images"], atol=1e-4)
    print("equal", name)
"""
    for backend in set(BACKENDS) - {keras.backend.backend()}:
        result = run_python(reader, str(tmp_path), backend, *NAMES, backend=backend)
        assert result.returncode == 0, result.stderr[-3000:]
        assert result.stdout.count("equal") == len(NAMES)


@one_of_each_network
def test_a_part_reads_its_own_file_only(name, tmp_path):
    import shutil

    folder = tmp_path / name
    shutil.copytree(registry.find_entry(name).folder, folder)
    (folder / "decoder.safetensors").unlink()
    encoder = fmae_zoo.load(f"local:{folder}", part="encoder")
    assert isinstance(encoder, keras.Model)
    with pytest.raises(fmae_zoo.WeightsError, match=r"decoder\.safetensors"):
        fmae_zoo.load(f"local:{folder}")
