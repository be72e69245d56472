"""Whatever a model learns or needs comes back from every place that it is kept in."""

import keras
import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import Autoencoder
from fmae_zoo.component import any_of
from fmae_zoo.errors import WeightsError
from fmae_zoo.latents import LatentComponent
from fmae_zoo.networks import NetworkComponent
from fmae_zoo.objectives import ObjectiveComponent
from fmae_zoo.training.checkpoint import Progress, read_checkpoint, write_checkpoint
from fmae_zoo.weights import load_weights, read_tensors, save_tensors, tensors_of
from tests.conftest import TINY_CONV, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

GAUSSIAN = {"type": "gaussian", "size": 4}
PRIOR = {"type": "normal_prior", "size": 4}
BY_STEPS_OF_ITS_OWN = {"optimizer": "none", "epochs": 1}


def of(latent=None, objective=None, **parts):
    given = {"latent": latent, "objective": objective and {"type": objective}}
    return {key: each for key, each in given.items() if each} | parts


SPECS = {
    "plain": {},
    "convolutional": of({"type": "spatial", "size": 196}, network=TINY_CONV),
    "linear": of(
        objective="principal_components",
        network={"type": "linear", "output": "pixels"},
        recipe=BY_STEPS_OF_ITS_OWN,
    ),
    "mixture": of(
        {"type": "categorical", "size": 4, "categories": 4},
        "expectation_maximisation",
        network={"type": "linear", "output": "logits"},
        recipe=BY_STEPS_OF_ITS_OWN,
    ),
    "clusters": {"objective": {"type": "clustered_squared_error", "clusters": 3}},
    "factor": of(GAUSSIAN) | {"objective": {"type": "factor", "units": [8, 4]}},
    "adversarial": of(PRIOR) | {"objective": {"type": "adversarial", "units": [8, 4]}},
    "vaegan": of(GAUSSIAN) | {"objective": {"type": "vaegan", "filters": [4, 3]}},
    "quantized": of(
        {"type": "vector_quantized", "size": 8, "dimension": 4, "vectors": 6},
        "committed_squared_error",
    ),
    "vamp": of({"type": "vamp", "size": 3, "pseudo_inputs": 2}, "elbo"),
    "exemplar": of({"type": "exemplar", "size": 3, "exemplars": 2}, "elbo"),
    "inverse autoregressive": of(
        {"type": "inverse_autoregressive", "size": 3, "units": 4, "context": 2}, "elbo"
    ),
    "power spherical": of({"type": "power_spherical", "size": 3}, "elbo"),
    "hierarchical": of({"type": "hierarchical", "size": 3, "top": 1, "units": 4}, "elbo"),
    "finite_scalar": of({"type": "finite_scalar", "size": 4, "levels": [4, 3]}),
    "categorical": of(
        {"type": "categorical", "size": 6, "categories": 3, "final_temperature": 0.5}, "elbo"
    ),
    "k_sparse": of({"type": "k_sparse", "size": 6, "k": 2, "first_k": 4}),
    **{name: of(GAUSSIAN, name) for name in ("elbo", "beta_tc", "dip", "iwae", "mmd")},
    "sliced": of(PRIOR, "sliced"),
    **{name: of(objective=name) for name in ("sparse", "regularised", "contractive")},
    "conditional": {"classes": 10},
    "transformer": of(
        {"type": "spatial", "size": 48},
        "masked_squared_error",
        network={
            "type": "transformer",
            "patch": 7,
            "channels": 3,
            "encoder": {"width": 8, "depth": 1, "heads": 2},
            "decoder": {"width": 8, "depth": 1, "heads": 1},
        },
        recipe={"epochs": 2, "batch_size": 16, "mask": {"patch": 7, "probability": 0.6}},
    ),
}


FEW = ["quantized", "adversarial", "exemplar", "conditional", "transformer"]
"""What owns more than layers between images. The Hub has the files that `save` writes of all."""


@pytest.fixture(scope="module", params=SPECS)
def model(request):
    return changed(request.param)


def changed(name, seed=1):
    """Return a model all of whose variables have other values than it was made with."""
    model, rng = Autoencoder(tiny_spec(**SPECS[name])), np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype == "float32":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype("float32"))
    return model


def leaves(model):
    """Return every variable that is neither a metric's nor a generator's, by its place."""
    return tensors_of(dict(enumerate(model.weights)))


def assert_same(one, other):
    one, other = leaves(one), leaves(other)
    assert one.keys() == other.keys()
    for key, tensor in one.items():
        np.testing.assert_array_equal(tensor, other[key])


def cloned(model):
    clone = Autoencoder.from_config(model.get_config())
    clone.set_weights(model.get_weights())
    return clone


def test_every_registered_component_is_among_the_specs():
    specs = [tiny_spec(**changes) for changes in SPECS.values()]
    bases = {"latents": LatentComponent, "networks": NetworkComponent}
    for package, base in {**bases, "objectives": ObjectiveComponent}.items():
        union = any_of(f"fmae_zoo.{package}", base).__args__[0].__args__
        used = {type(getattr(spec, package.removesuffix("s"))) for spec in specs}
        assert used == set(union)


def test_a_saved_model_comes_back_whole(model, tmp_path):
    source = f"local:{fmae_zoo.save(model, tmp_path / 'saved')}"
    assert_same(model, fmae_zoo.load(source, pretrained=True))
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    encoder = fmae_zoo.load(source, pretrained=True, part="encoder")
    codes = encoder.predict(images[..., None] / np.float32(255), verbose=0)
    np.testing.assert_allclose(codes, model.encode(images), rtol=1e-4, atol=1e-4)
    assert all(check.passed is not False for check in fmae_zoo.verify(source))


def test_a_keras_file_and_a_clone_hold_the_whole_model(model, tmp_path):
    model.save(tmp_path / "model.keras")
    assert_same(model, keras.saving.load_model(tmp_path / "model.keras"))
    assert_same(model, cloned(model))


def test_a_checkpoint_holds_the_whole_model(model, tmp_path):
    written, read = cloned(model), Autoencoder(model.spec)
    for each in (written, read):
        each.compile("adam")
        each.optimizer.build(each.trainable_variables)
    write_checkpoint(tmp_path, written, Progress({}))
    read_checkpoint(tmp_path, read, {})
    assert_same(model, read)


@pytest.mark.parametrize("name", FEW)
def test_the_hub_gives_the_whole_model_back(name, hub):
    model = changed(name)
    fmae_zoo.push(model, "me/whole", token="hf_writer")
    assert_same(model, fmae_zoo.load("hf://me/whole", pretrained=True))


@pytest.mark.parametrize(
    "name", ["quantized", "finite_scalar", "categorical", "k_sparse", "adversarial", "conditional"]
)
def test_a_classifier_on_any_code_is_tuned_and_comes_back(name, tmp_path):
    encoder = Autoencoder(tiny_spec(**SPECS[name])).encoder
    images = np.random.default_rng(0).integers(0, 256, (16, 28, 28), dtype=np.uint8)
    labels = np.arange(16) % 2
    before = encoder.get_layer("latent").get_weights()[0]
    tuned = fmae_zoo.Classifier(encoder, num_classes=2, hidden=32).unfreeze()
    assert not any("codebook" in variable.path for variable in tuned.trainable_variables)
    tuned.fit(images, labels, epochs=3, learning_rate=0.1)
    assert not np.array_equal(before, tuned.encoder.get_layer("latent").get_weights()[0])
    again = fmae_zoo.load(fmae_zoo.save(tuned, tmp_path / "tuned"), pretrained=True)
    np.testing.assert_allclose(again.predict(images), tuned.predict(images), atol=1e-5)


@pytest.mark.parametrize("name", FEW)
def test_a_run_is_resumed_with_all_that_it_learned(name, few, tmp_path):
    recipe = {**SPECS[name].get("recipe", {}), "epochs": 2, "batch_size": 64}
    spec = tiny_spec(**SPECS[name] | {"recipe": recipe})

    def stop(epoch, *progress):
        if epoch == 1:
            raise KeyboardInterrupt

    whole = fmae_zoo.train(spec, data=few, output=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fmae_zoo.train(spec, data=few, output=tmp_path / "half", progress=stop)
    resumed = fmae_zoo.train(spec, data=few, output=tmp_path / "half", resume=True)
    assert_same(whole.model, resumed.model)
    assert_same(whole.model, fmae_zoo.load(f"local:{tmp_path / 'half'}", pretrained=True))


def test_a_variable_in_no_part_is_an_error_that_names_it(tmp_path):
    model = Autoencoder(tiny_spec())
    model.extra = model.add_weight(shape=(2,), name="forgotten")
    with pytest.raises(WeightsError, match="forgotten"):
        fmae_zoo.save(model, tmp_path / "saved")


def test_a_file_that_lacks_what_the_model_has_is_refused(tmp_path):
    model = changed("quantized")
    path = fmae_zoo.save(model, tmp_path / "saved") / "encoder.safetensors"
    tensors = read_tensors(path)
    del tensors["vector_quantized.use"]
    save_tensors(tensors, path)
    before = cloned(model)
    with pytest.raises(WeightsError, match=r"vector_quantized\.use"):
        load_weights(model.parts()["encoder"], path)
    assert_same(model, before)
