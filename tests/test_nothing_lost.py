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
from fmae_zoo.weights import tensors_of
from tests.conftest import TINY_CONV, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

QUANTIZED = {"type": "vector_quantized", "size": 8, "dimension": 4, "vectors": 6}
SPECS = {
    "plain": {},
    "convolutional": {"network": TINY_CONV, "latent": {"type": "spatial", "size": 196}},
    "linear": {
        "network": {"type": "linear", "output": "pixels"},
        "objective": {"type": "principal_components"},
        "recipe": {"optimizer": "none", "epochs": 1},
    },
    "mixture": {
        "network": {"type": "linear", "output": "logits"},
        "latent": {"type": "categorical", "size": 4, "categories": 4},
        "objective": {"type": "expectation_maximisation"},
        "recipe": {"optimizer": "none", "epochs": 1},
    },
    "clusters": {"objective": {"type": "clustered_squared_error", "clusters": 3}},
    "elbo": {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "elbo"}},
    "beta_tc": {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "beta_tc"}},
    "dip": {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "dip"}},
    "factor": {
        "latent": {"type": "gaussian", "size": 4},
        "objective": {"type": "factor", "units": [8, 4]},
    },
    "iwae": {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "iwae"}},
    "quantized": {"latent": QUANTIZED, "objective": {"type": "committed_squared_error"}},
    "adversarial": {
        "latent": {"type": "normal_prior", "size": 4},
        "objective": {"type": "adversarial", "units": [8, 4]},
    },
    "vamp": {
        "latent": {"type": "vamp", "size": 3, "pseudo_inputs": 2},
        "objective": {"type": "elbo"},
    },
    "exemplar": {
        "latent": {"type": "exemplar", "size": 3, "exemplars": 2},
        "objective": {"type": "elbo"},
    },
    "inverse autoregressive": {
        "latent": {"type": "inverse_autoregressive", "size": 3, "units": 4, "context": 2},
        "objective": {"type": "elbo"},
    },
    "power spherical": {
        "latent": {"type": "power_spherical", "size": 3},
        "objective": {"type": "elbo"},
    },
    "hierarchical": {
        "latent": {"type": "hierarchical", "size": 3, "top": 1, "units": 4},
        "objective": {"type": "elbo"},
    },
    "finite_scalar": {"latent": {"type": "finite_scalar", "size": 4, "levels": [4, 3]}},
    "categorical": {
        "latent": {"type": "categorical", "size": 6, "categories": 3, "final_temperature": 0.5},
        "objective": {"type": "elbo"},
    },
    "k_sparse": {"latent": {"type": "k_sparse", "size": 6, "k": 2, "first_k": 4}},
    "sparse": {"objective": {"type": "sparse"}},
    "mmd": {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "mmd"}},
    "sliced": {"latent": {"type": "normal_prior", "size": 4}, "objective": {"type": "sliced"}},
    "regularised": {"objective": {"type": "regularised"}},
    "contractive": {"objective": {"type": "contractive"}},
    "vaegan": {
        "latent": {"type": "gaussian", "size": 4},
        "objective": {"type": "vaegan", "filters": [4, 3]},
    },
    "conditional": {"classes": 10},
    "transformer": {
        "network": {
            "type": "transformer",
            "patch": 7,
            "channels": 3,
            "encoder": {"width": 8, "depth": 1, "heads": 2},
            "decoder": {"width": 8, "depth": 1, "heads": 1},
        },
        "latent": {"type": "spatial", "size": 48},
        "objective": {"type": "masked_squared_error"},
        "recipe": {"epochs": 2, "batch_size": 16, "mask": {"patch": 7, "probability": 0.6}},
    },
}


RESUMED = ["quantized", "adversarial", "exemplar", "conditional", "transformer"]
PUSHED = [*RESUMED, "convolutional", "vamp", "inverse autoregressive", "hierarchical", "vaegan"]
"""What owns more than layers between images: the Hub has the files that `save` writes of all."""


def leaves(model):
    """Return every variable that is neither a metric's nor a generator's, by its place."""
    return dict(enumerate(model.weights))


def changed(name, seed=1):
    """Return a model all of whose variables have other values than it was made with."""
    model, rng = Autoencoder(tiny_spec(**SPECS[name])), np.random.default_rng(seed)
    for variable in model.weights:
        if variable.dtype == "float32":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype("float32"))
    return model


def assert_same(one, other):
    one, other = tensors_of(leaves(one)), tensors_of(leaves(other))
    assert one.keys() == other.keys()
    for key, tensor in one.items():
        np.testing.assert_array_equal(tensor, other[key])


def test_every_registered_component_is_among_the_specs():
    specs = [tiny_spec(**changes) for changes in SPECS.values()]
    bases = {"latents": LatentComponent, "networks": NetworkComponent}
    for package, base in {**bases, "objectives": ObjectiveComponent}.items():
        union = any_of(f"fmae_zoo.{package}", base).__args__[0].__args__
        used = {type(getattr(spec, package.removesuffix("s"))) for spec in specs}
        assert used == set(union)


@pytest.mark.parametrize("name", SPECS)
def test_a_saved_model_comes_back_whole(name, tmp_path):
    model = changed(name)
    fmae_zoo.save(model, tmp_path / "saved")
    assert_same(model, fmae_zoo.load(f"local:{tmp_path / 'saved'}", pretrained=True))
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    encoder = fmae_zoo.load(f"local:{tmp_path / 'saved'}", pretrained=True, part="encoder")
    codes = encoder.predict(images[..., None] / np.float32(255), verbose=0)
    np.testing.assert_allclose(codes, model.encode(images), rtol=1e-4, atol=1e-4)
    assert all(
        check.passed is not False for check in fmae_zoo.verify(f"local:{tmp_path / 'saved'}")
    )


@pytest.mark.parametrize("name", SPECS)
def test_a_keras_file_and_a_clone_hold_the_whole_model(name, tmp_path):
    model = changed(name)
    model.save(tmp_path / "model.keras")
    assert_same(model, keras.saving.load_model(tmp_path / "model.keras"))
    clone = Autoencoder.from_config(model.get_config())
    clone.set_weights(model.get_weights())
    assert_same(model, clone)


@pytest.mark.parametrize("name", SPECS)
def test_a_checkpoint_holds_the_whole_model(name, tmp_path):
    model = changed(name)
    model.compile("adam")
    write_checkpoint(tmp_path, model, Progress({}))
    other = Autoencoder(model.spec)
    other.compile("adam")
    for each in (model, other):
        each.optimizer.build(each.trainable_variables)
    write_checkpoint(tmp_path, model, Progress({}))
    read_checkpoint(tmp_path, other, {})
    assert_same(model, other)


@pytest.mark.parametrize("name", PUSHED)
def test_the_hub_gives_the_whole_model_back(name, hub, tmp_path):
    model = changed(name)
    fmae_zoo.push(model, "me/whole", token="hf_writer")
    assert_same(model, fmae_zoo.load("hf://me/whole", pretrained=True))
    folder = fmae_zoo.pull("hf://me/whole", tmp_path / "pulled")
    assert_same(model, fmae_zoo.load(f"local:{folder}", pretrained=True))


@pytest.mark.parametrize(
    "name",
    ["quantized", "finite_scalar", "categorical", "k_sparse", "adversarial", "iwae", "conditional"],
)
def test_a_classifier_on_any_code_is_tuned_and_comes_back(name, tmp_path):
    encoder = Autoencoder(tiny_spec(**SPECS[name])).encoder
    images = np.random.default_rng(0).integers(0, 256, (16, 28, 28), dtype=np.uint8)
    labels = np.arange(16) % 2
    before = encoder.get_layer("latent").get_weights()[0]
    model = fmae_zoo.Classifier(encoder, num_classes=2, hidden=32)
    model.fit(images, labels, epochs=1)
    tuned = model.unfreeze()
    codebook = {v.path for v in tuned.trainable_variables if "codebook" in v.path}
    assert not codebook
    tuned.fit(images, labels, epochs=3, learning_rate=0.1)
    assert not np.array_equal(before, tuned.encoder.get_layer("latent").get_weights()[0])
    fmae_zoo.save(tuned, tmp_path / "tuned")
    again = fmae_zoo.load(f"local:{tmp_path / 'tuned'}", pretrained=True)
    np.testing.assert_allclose(again.predict(images), tuned.predict(images), atol=1e-5)


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_is_resumed_with_all_that_it_learned(name, few, tmp_path):
    recipe = {**SPECS[name].get("recipe", {}), "epochs": 2, "batch_size": 64}
    spec = tiny_spec(**SPECS[name] | {"recipe": recipe})
    whole = fmae_zoo.train(spec, data=few, output=tmp_path / "whole")
    stop = Stop(epoch=1)
    with pytest.raises(KeyboardInterrupt):
        fmae_zoo.train(spec, data=few, output=tmp_path / "half", progress=stop)
    resumed = fmae_zoo.train(spec, data=few, output=tmp_path / "half", resume=True)
    assert_same(whole.model, resumed.model)
    assert_same(whole.model, fmae_zoo.load(f"local:{tmp_path / 'half'}", pretrained=True))


class Stop:
    """A progress that ends the run when an epoch begins."""

    def __init__(self, epoch):
        self.epoch = epoch

    def __call__(self, epoch, epochs, batch, batches, loss):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_a_variable_in_no_part_is_an_error_that_names_it(tmp_path):
    model = Autoencoder(tiny_spec())
    model.extra = model.add_weight(shape=(2,), name="forgotten")
    with pytest.raises(WeightsError, match="forgotten"):
        fmae_zoo.save(model, tmp_path / "saved")


def test_a_file_that_lacks_what_the_model_has_is_refused(tmp_path):
    model = changed("quantized")
    fmae_zoo.save(model, tmp_path / "saved")
    path = tmp_path / "saved" / "encoder.safetensors"
    from fmae_zoo.weights import load_weights, read_tensors, save_tensors

    tensors = read_tensors(path)
    del tensors["vector_quantized.use"]
    save_tensors(tensors, path)
    before = tensors_of(leaves(model))
    with pytest.raises(WeightsError, match=r"missing tensor vector_quantized\.use"):
        load_weights(model.parts()["encoder"], path)
    for key, tensor in tensors_of(leaves(model)).items():
        np.testing.assert_array_equal(tensor, before[key])
