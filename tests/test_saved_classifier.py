"""A classifier is an entry too: saved, loaded and verified with its labels."""

import json
import os
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest

import fmae_zoo
from fmae_zoo.classifier import Classifier
from fmae_zoo.component import MAX_PARAMETERS
from fmae_zoo.datasets import CLASS_NAMES
from fmae_zoo.errors import ArgumentError, FmaeError, SpecError, WeightsError
from fmae_zoo.files import sha256_of
from fmae_zoo.head import MAX_CLASSES
from fmae_zoo.manifest import Manifest
from fmae_zoo.saving import record_files
from fmae_zoo.weights import load_weights, read_tensors, save_tensors, tensors_of
from tests.conftest import BACKENDS, TINY_CONV, run_python, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

WEIGHTS = "classifier.safetensors"

SPECS = {
    "dense": {},
    "batch norm": {"network": {"type": "dense", "units": [32, 16], "batch_norm": True}},
    "convolutional": {"network": TINY_CONV},
    "variational": {
        "network": TINY_CONV,
        "latent": {"type": "gaussian", "size": 4},
        "objective": {"type": "elbo"},
    },
    "spatial": {"network": TINY_CONV, "latent": {"type": "spatial", "size": 196}},
}

SETTINGS = {
    "tuned": {"trainable": True},
    "features": {"layer": "features", "hidden": 8, "dropout": 0.1, "seed": 5},
    "labels": {"labels": CLASS_NAMES},
    "labels of any language": {"num_classes": 2, "labels": ["Überzieher", "靴"]},
    "numbers of numpy": {
        "num_classes": np.int64(3),
        "hidden": np.int32(8),
        "dropout": np.float32(0.1),
        "trainable": np.True_,
        "seed": np.int16(4),
    },
    "bfloat16": {"precision": "mixed_bfloat16", "layer": "features", "trainable": True},
}


def classifier_of(spec=None, **settings):
    encoder = fmae_zoo.Autoencoder(tiny_spec(**(spec or SPECS["convolutional"])), seed=3).encoder
    return Classifier(encoder, **{"num_classes": 10, **settings})


@pytest.fixture(scope="module")
def tuned(few):
    """A classifier whose encoder was trained too."""
    classifier = classifier_of(layer="features", trainable=True, labels=CLASS_NAMES)
    classifier.fit(few.train_images, few.train_labels, epochs=1, augment=True)
    return classifier


@pytest.fixture(scope="module")
def saved(tuned, tmp_path_factory):
    return fmae_zoo.save(tuned, tmp_path_factory.mktemp("saved") / "mine")


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "mine")


def settings_of(classifier):
    """What a classifier was made with, but for its encoder and the name that Keras gives it."""
    config = classifier.get_config()
    return {key: value for key, value in config.items() if key not in ("encoder", "name")}


def recorded(folder):
    """Give the manifest the digests of the files as they now are."""
    record_files(folder, Manifest.read(folder)).write(folder)


def change_tensors(path, changes):
    tensors = read_tensors(path) | changes
    save_tensors({name: each for name, each in tensors.items() if each is not None}, path)
    recorded(path.parent)


def failed_checks(folder, **options):
    return [c.name for c in fmae_zoo.verify(folder, **options) if c.passed is False]


def describe(folder, **changes):
    """Change the description of the head; the manifest agrees with it."""
    content = json.loads((folder / "head.json").read_text()) | changes
    content = {key: value for key, value in content.items() if value is not ...}
    (folder / "head.json").write_text(json.dumps(content))
    recorded(folder)


# What comes back


@pytest.mark.parametrize(
    ("spec", "setting"),
    [(spec, "features") for spec in SPECS] + [("convolutional", each) for each in SETTINGS],
)
def test_a_saved_classifier_loads_with_the_same_probabilities(spec, setting, images, tmp_path):
    classifier = classifier_of(SPECS[spec], **SETTINGS[setting])
    loaded = fmae_zoo.load(f"local:{fmae_zoo.save(classifier, tmp_path / 'mine')}")
    assert isinstance(loaded, Classifier)
    np.testing.assert_array_equal(loaded.predict(images), classifier.predict(images))
    assert settings_of(loaded) == settings_of(classifier)
    assert loaded.encoder.trainable == classifier.encoder.trainable
    assert len(loaded.trainable_weights) == len(classifier.trainable_weights)


def test_all_that_was_trained_comes_back_in_float32(tuned, saved, few):
    loaded = fmae_zoo.load(saved)
    for one, other in zip(tuned.weights, loaded.weights, strict=True):
        assert other.dtype == "float32"
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other)
        )
    names = set(read_tensors(saved / WEIGHTS))
    assert {"encoder.stage1_conv1_bn.moving_mean", "head.standardise.moving_variance"} <= names
    losses = loaded.fit(few.train_images, few.train_labels, epochs=1).history["loss"]
    assert np.isfinite(losses[0])


def test_what_is_loaded_saves_the_same_again(saved, tmp_path):
    again = fmae_zoo.save(fmae_zoo.load(saved), tmp_path / "again")
    for name in ("head.json", "spec.toml", WEIGHTS):
        assert (again / name).read_bytes() == (saved / name).read_bytes()


def test_a_classifier_that_keras_returned_is_saved_too(tuned, images, tmp_path):
    tuned.save(tmp_path / "mine.keras")
    returned = keras.saving.load_model(tmp_path / "mine.keras")
    loaded = fmae_zoo.load(fmae_zoo.save(returned, tmp_path / "mine"))
    np.testing.assert_allclose(loaded.predict(images), tuned.predict(images), atol=1e-6)
    assert loaded.labels == CLASS_NAMES


def test_the_manifest_states_sizes_and_digests(saved, tuned):
    manifest = Manifest.read(saved)
    assert set(manifest.files) == {"head.json", WEIGHTS, "golden.safetensors"}
    for name, record in manifest.files.items():
        content = (saved / name).read_bytes()
        assert (record.sha256, record.size) == (sha256_of(content), len(content))
    assert manifest.parameters == {
        "encoder": tuned.encoder.count_params(),
        "head": tuned.head.count_params(),
    }
    assert manifest.spec_sha256 == tiny_spec(network=TINY_CONV).digest
    assert manifest.results == {}


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_another_precision_may_be_asked_for(tuned, saved, images, tmp_path, precision):
    loaded = fmae_zoo.load(saved, precision=precision)
    assert loaded.encoder.layers[1].compute_dtype == precision.removeprefix("mixed_")
    np.testing.assert_allclose(loaded.predict(images), tuned.predict(images), atol=0.1)
    assert not failed_checks(fmae_zoo.save(loaded, tmp_path / "again"))


def test_without_weights_it_is_built_from_the_seed(saved, tuned, images):
    fmae_zoo.register(saved)
    one, same, other = (fmae_zoo.load("tiny-ae", pretrained=False, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.predict(images), same.predict(images))
    assert not np.array_equal(one.predict(images), other.predict(images))
    loaded = fmae_zoo.load("tiny-ae", pretrained=True)
    np.testing.assert_array_equal(loaded.predict(images), tuned.predict(images))


@pytest.mark.parametrize("when", ["made", "saved", "loaded"])
def test_the_users_keras_settings_change_nothing(when, images, tmp_path):
    before = keras.config.dtype_policy(), keras.config.image_data_format()

    def done(what, function):
        if what == when:
            keras.config.set_dtype_policy("mixed_bfloat16")
            keras.config.set_image_data_format("channels_first")
        try:
            return function()
        finally:
            keras.config.set_dtype_policy(before[0])
            keras.config.set_image_data_format(before[1])

    encoder = fmae_zoo.Autoencoder(tiny_spec(network=TINY_CONV), seed=3).encoder
    classifier = done("made", lambda: Classifier(encoder, 10, layer="features"))
    folder = done("saved", lambda: fmae_zoo.save(classifier, tmp_path / "mine"))
    loaded = done("loaded", lambda: fmae_zoo.load(folder))
    np.testing.assert_array_equal(loaded.predict(images), classifier.predict(images))


@pytest.mark.once
@pytest.mark.parametrize("backend", sorted({*BACKENDS} - {keras.backend.backend()}))
def test_every_other_backend_gives_the_probabilities(backend, saved):
    code = (
        "import sys, fmae_zoo\n"
        "wrong = [check for check in fmae_zoo.verify(sys.argv[1]) if check.passed is False]\n"
        "sys.exit(str(wrong) if wrong else 0)\n"
    )
    result = run_python(code, str(saved), backend=backend)
    assert result.returncode == 0, result.stderr


def test_an_encoder_that_was_loaded_alone_has_its_spec(tmp_path, images):
    folder = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=3), tmp_path / "ae")
    classifier = Classifier(fmae_zoo.load(folder, part="encoder"), 3)
    loaded = fmae_zoo.load(fmae_zoo.save(classifier, tmp_path / "mine"))
    np.testing.assert_array_equal(loaded.predict(images), classifier.predict(images))


# What is no classifier of the zoo


def own_encoder():
    image = keras.Input((28, 28, 1), name="image")
    return keras.Model(image, keras.layers.Flatten(name="latent")(image), name="encoder")


def cut_by_hand():
    encoder = fmae_zoo.Autoencoder(tiny_spec()).encoder
    return keras.Model(encoder.input, encoder.get_layer("features").output, name="encoder")


def of_another_spec():
    encoder = fmae_zoo.Autoencoder(tiny_spec()).encoder
    encoder.spec = tiny_spec(network={"type": "dense", "units": [32, 15]})
    return encoder


def with_a_layer_more():
    encoder = fmae_zoo.Autoencoder(tiny_spec()).encoder
    code = keras.layers.Dense(4, name="more")(encoder.output)
    changed = keras.Model(encoder.input, code, name="encoder")
    changed.spec = encoder.spec
    return changed


@pytest.mark.parametrize("make", [own_encoder, cut_by_hand, of_another_spec, with_a_layer_more])
def test_an_encoder_that_no_spec_gives_is_refused(make, tmp_path):
    with pytest.raises(ArgumentError, match=r"spec.*classifier\.save"):
        fmae_zoo.save(Classifier(make(), 10), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


@pytest.mark.once
def test_another_head_is_refused(tmp_path):
    classifier = classifier_of()
    classifier.head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)], name="head")
    with pytest.raises(ArgumentError, match="its layers"):
        fmae_zoo.save(classifier, tmp_path)


@pytest.mark.once
def test_more_classes_than_a_file_may_say_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=f"num_classes.*{MAX_CLASSES}"):
        fmae_zoo.save(classifier_of(num_classes=MAX_CLASSES + 1, hidden=1), tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    classifier = classifier_of()
    classifier.head.layers[-1].bias.assign(np.full(10, np.nan, "float32"))
    with pytest.raises(WeightsError, match=r"head\.probabilities\.bias"):
        fmae_zoo.save(classifier, tmp_path / "mine")
    assert not (tmp_path / "mine" / "manifest.json").exists()


@pytest.mark.once
def test_one_kind_is_not_saved_over_the_other(folder, tuned, tmp_path):
    model = fmae_zoo.Autoencoder(tuned.spec)
    other = fmae_zoo.save(model, tmp_path / "other")
    for act, there in (
        (lambda: fmae_zoo.save(model, folder), "classifier"),
        (lambda: fmae_zoo.save(tuned, other), "autoencoder"),
        (lambda: fmae_zoo.train(tuned.spec, output=folder), "classifier"),
    ):
        with pytest.raises(ArgumentError, match=f"holds an? {there}"):
            act()
    fmae_zoo.save(tuned, folder)
    assert all(fmae_zoo.load(each) for each in (folder, other))


@pytest.mark.once
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_part_of_a_classifier_is_refused(saved, part):
    with pytest.raises(ArgumentError, match=f"classifier on tiny-ae.*not its {part}"):
        fmae_zoo.load(saved, part=part)


# Damage


def pipe(path):
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "altered": lambda path: path.write_bytes(path.read_bytes().replace(b"e", b"f", 1)),
    "lost": lambda path: path.unlink(),
    "pipe": pipe,
}


@pytest.mark.once
@pytest.mark.parametrize("name", ["head.json", WEIGHTS])
@pytest.mark.parametrize("damage", DAMAGES)
def test_files_that_are_not_as_recorded_are_refused(folder, name, damage):
    DAMAGES[damage](folder / name)
    with pytest.raises(WeightsError, match=name):
        fmae_zoo.load(folder)
    assert failed_checks(folder) == [name]


TENSORS = {
    "missing": {"head.hidden.bias": None},
    "left over": {"head.more": np.zeros(2, "float32")},
    "shape": {"head.hidden.bias": np.zeros(3, "float32")},
    "dtype": {"head.hidden.bias": np.zeros(256, "float64")},
    "NaN": {"head.hidden.bias": np.full(256, np.nan, "float32")},
    "encoder": {"encoder.stage1_conv1.kernel": None},
}


@pytest.mark.once
@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_do_not_fit_change_nothing(folder, case):
    change_tensors(folder / WEIGHTS, TENSORS[case])
    classifier = classifier_of(layer="features")
    before = tensors_of(classifier)
    for act in (fmae_zoo.load, lambda folder: load_weights(classifier, folder / WEIGHTS)):
        with pytest.raises(WeightsError, match=next(iter(TENSORS[case]))):
            act(folder)
    for name, tensor in tensors_of(classifier).items():
        np.testing.assert_array_equal(tensor, before[name])


def test_weights_of_another_head_do_not_fit(folder):
    describe(folder, hidden=255)
    with pytest.raises(WeightsError, match="do not fit"):
        fmae_zoo.load(folder)


HEADS = {
    "too few labels": {"labels": ["a", "b"]},
    "labels twice": {"labels": ["a"] * 10},
    "labels of numbers": {"labels": list(range(10))},
    "labels that a terminal obeys": {"labels": ["\x1b[2J", *"abcdefghi"]},
    "classes as text": {"num_classes": "10"},
    "very many classes": {"num_classes": 10**12, "labels": None},
    "no layer": {"layer": ...},
    "an unknown layer": {"layer": "nosuch"},
    "a class to import": {"class_name": "os.system"},
    "a wide layer": {"hidden": 10**9},
    "many weights": {"hidden": 65_536, "num_classes": MAX_PARAMETERS // 65_536, "labels": None},
    "dropout": {"dropout": 1.0},
    "precision": {"precision": "os.system"},
    "trainable": {"trainable": "yes"},
    "nothing": b"",
    "brackets": b"[" * 100_000,
    "no text": b"\xff\xfe",
    "a list": b"[1]",
}


@pytest.mark.once
@pytest.mark.parametrize("case", HEADS)
def test_a_description_that_breaks_a_rule_is_refused_before_anything_is_made(folder, case):
    if isinstance(HEADS[case], dict):
        describe(folder, **HEADS[case])
    else:
        (folder / "head.json").write_bytes(HEADS[case])
        recorded(folder)
    with pytest.raises(SpecError, match=r"head\.json"):
        fmae_zoo.load(folder)
    assert failed_checks(folder)


@pytest.mark.once
@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"probabilities": np.full((8, 10), 0.1, "float32")}, "golden probabilities"),
        ({"probabilities": np.zeros((8, 9), "float32")}, "goldens"),
        ({"probabilities": None}, "goldens"),
        ({"images": np.zeros((0, 28, 28), "uint8")}, "goldens"),
        ({"codes": np.zeros((8, 4), "float32")}, "goldens"),
    ],
)
def test_other_goldens_are_a_failed_check(folder, change, failed):
    change_tensors(folder / "golden.safetensors", change)
    assert failed_checks(folder) == [failed]


@pytest.mark.parametrize("figure", ["frozen_head", "fine_tuned"])
def test_verify_measures_a_classifier_again(folder, tuned, few, figure):
    def published(**changes):
        report = tuned.report(few.test_images, few.test_labels) | changes
        results = {figure: {"features": report} if figure == "frozen_head" else report}
        Manifest.read(folder).model_copy(update={"results": results}).write(folder)
        return {c.name: c.passed for c in fmae_zoo.verify(folder, data=few) if figure in c.name}

    assert published() == {f"{figure} accuracy": True, f"{figure} loss": True}
    assert published(accuracy=0.999) == {f"{figure} accuracy": False, f"{figure} loss": True}


@pytest.mark.once
def test_verify_finds_that_figures_are_of_other_classes(folder, few):
    results = {"fine_tuned": {"accuracy": 0.9}}
    Manifest.read(folder).model_copy(update={"results": results}).write(folder)
    other = replace(few, test_labels=few.test_labels + 5, class_names=None)
    assert failed_checks(folder, data=other) == ["figures"]


@pytest.mark.once
def test_what_measures_autoencoders_refuses_a_classifier(tuned, few):
    for act in (
        lambda: fmae_zoo.evaluate(tuned, data=few),
        lambda: fmae_zoo.fit_samplers(tuned, few),
    ):
        with pytest.raises(FmaeError, match="Autoencoder"):
            act()
