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
from fmae_zoo.head import MAX_CLASSES, checked_labels
from fmae_zoo.manifest import Manifest
from fmae_zoo.registry import find_entry
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
    "plain": {},
    "tuned": {"trainable": True},
    "features": {"layer": "features", "hidden": 8, "dropout": 0.1, "seed": 5},
    "labels": {"labels": CLASS_NAMES},
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


def describe(folder, **changes):
    """Change the description of the head; the manifest agrees with it."""
    content = json.loads((folder / "head.json").read_text()) | changes
    content = {key: value for key, value in content.items() if value is not ...}
    (folder / "head.json").write_text(json.dumps(content))
    recorded(folder)


# What comes back


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("setting", SETTINGS)
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
def test_another_precision_may_be_asked_for(tuned, saved, images, precision):
    loaded = fmae_zoo.load(saved, precision=precision)
    assert loaded.encoder.layers[1].compute_dtype == precision.removeprefix("mixed_")
    np.testing.assert_allclose(loaded.predict(images), tuned.predict(images), atol=0.1)


def test_without_weights_it_is_built_from_the_seed(saved, images):
    one, same, other = (fmae_zoo.load(saved, pretrained=False, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.predict(images), same.predict(images))
    assert not np.array_equal(one.predict(images), other.predict(images))


@pytest.mark.parametrize("when", ["made", "saved", "loaded"])
def test_the_users_keras_settings_change_nothing(when, images, tmp_path):
    def with_others(function):
        before = keras.config.dtype_policy(), keras.config.image_data_format()
        keras.config.set_dtype_policy("mixed_bfloat16")
        keras.config.set_image_data_format("channels_first")
        try:
            return function()
        finally:
            keras.config.set_dtype_policy(before[0])
            keras.config.set_image_data_format(before[1])

    def done(what, function):
        return with_others(function) if when == what else function()

    encoder = fmae_zoo.Autoencoder(tiny_spec(network=TINY_CONV), seed=3).encoder
    classifier = done("made", lambda: Classifier(encoder, 10, layer="features"))
    folder = done("saved", lambda: fmae_zoo.save(classifier, tmp_path / "mine"))
    loaded = done("loaded", lambda: fmae_zoo.load(folder))
    np.testing.assert_array_equal(loaded.predict(images), classifier.predict(images))
    again = fmae_zoo.save(loaded, tmp_path / "again")
    assert (again / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()


def test_numbers_of_numpy_are_numbers(images, tmp_path):
    settings = {"hidden": np.int32(8), "dropout": np.float32(0.1), "trainable": np.True_}
    classifier = classifier_of(num_classes=np.int64(3), seed=np.int16(4), **settings)
    loaded = fmae_zoo.load(fmae_zoo.save(classifier, tmp_path))
    np.testing.assert_array_equal(loaded.predict(images), classifier.predict(images))
    assert settings_of(loaded) == settings_of(classifier)
    assert fmae_zoo.load(fmae_zoo.save(classifier_of(dropout=0), tmp_path / "none"))


def test_a_registered_classifier_loads_by_its_name(saved, tuned, images):
    assert fmae_zoo.register(saved) == "tiny-ae.fmnist"
    assert "tiny-ae" in fmae_zoo.list_models(pretrained=True)
    loaded = fmae_zoo.load("tiny-ae", pretrained=True)
    np.testing.assert_array_equal(loaded.predict(images), tuned.predict(images))


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_gives_the_probabilities(backend, saved):
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
    classifier = Classifier(make(), 10)
    with pytest.raises(ArgumentError, match=r'spec.*classifier\.save\("NAME\.keras"\)'):
        fmae_zoo.save(classifier, tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_another_head_is_refused(tmp_path):
    classifier = classifier_of()
    classifier.head = keras.Sequential([keras.Input((4,)), keras.layers.Dense(10)], name="head")
    with pytest.raises(ArgumentError, match="its layers are not those"):
        fmae_zoo.save(classifier, tmp_path)


def test_more_classes_than_a_file_may_say_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=f"num_classes.*{MAX_CLASSES}"):
        fmae_zoo.save(classifier_of(num_classes=MAX_CLASSES + 1, hidden=1), tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    classifier = classifier_of()
    classifier.head.layers[-1].bias.assign(np.full(10, np.nan, "float32"))
    with pytest.raises(WeightsError, match=r"head\.probabilities\.bias holds NaN"):
        fmae_zoo.save(classifier, tmp_path / "mine")
    assert not (tmp_path / "mine" / "manifest.json").exists()


def test_one_kind_is_not_saved_over_the_other(folder, tuned, tmp_path):
    model = fmae_zoo.Autoencoder(tuned.spec)
    with pytest.raises(ArgumentError, match="holds a classifier, and an autoencoder"):
        fmae_zoo.save(model, folder)
    other = fmae_zoo.save(model, tmp_path / "other")
    with pytest.raises(ArgumentError, match="holds an autoencoder, and a classifier"):
        fmae_zoo.save(tuned, other)
    with pytest.raises(ArgumentError, match="holds a classifier"):
        fmae_zoo.train(tuned.spec, output=folder)
    fmae_zoo.save(tuned, folder)
    assert all(fmae_zoo.load(each) for each in (folder, other))


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_part_of_a_classifier_is_refused(saved, part):
    with pytest.raises(ArgumentError, match=f"classifier on tiny-ae.*not its {part}"):
        fmae_zoo.load(saved, part=part)


# Damage


def cut_weights(folder):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def flip_a_bit(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(content))


def edit_the_head(folder):
    path = folder / "head.json"
    path.write_text(path.read_text().replace("Sandal", "Sandwich"))


def lose_the_head(folder):
    (folder / "head.json").unlink()


def put_a_pipe_for_the_head(folder):
    (folder / "head.json").unlink()
    os.mkfifo(folder / "head.json")


def lose_the_weights(folder):
    (folder / WEIGHTS).unlink()


@pytest.mark.parametrize(
    "spoil",
    [
        cut_weights,
        flip_a_bit,
        edit_the_head,
        lose_the_head,
        put_a_pipe_for_the_head,
        lose_the_weights,
    ],
)
def test_files_that_are_not_as_recorded_are_refused(folder, spoil):
    spoil(folder)
    with pytest.raises(WeightsError, match=r"damaged or altered|cannot be read"):
        fmae_zoo.load(folder)
    failed = [check.name for check in fmae_zoo.verify(folder) if check.passed is False]
    assert failed == ["head.json" if "head" in spoil.__name__ else WEIGHTS]


TENSORS = {
    "missing": ({"head.hidden.bias": None}, r"missing tensor head\.hidden\.bias"),
    "left over": ({"head.more": np.zeros(2, "float32")}, r"unexpected tensor head\.more"),
    "shape": ({"head.hidden.bias": np.zeros(3, "float32")}, r"expected shape \(256,\)"),
    "dtype": ({"head.hidden.bias": np.zeros(256, "float64")}, "expected float32"),
    "NaN": ({"head.hidden.bias": np.full(256, np.nan, "float32")}, "holds NaN"),
    "encoder": ({"encoder.stage1_conv1.kernel": None}, r"missing tensor encoder\.stage1"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_do_not_fit_change_nothing(folder, tuned, case):
    changes, words = TENSORS[case]
    tensors = read_tensors(folder / WEIGHTS) | changes
    save_tensors({k: v for k, v in tensors.items() if v is not None}, folder / WEIGHTS)
    recorded(folder)
    with pytest.raises(WeightsError, match=words):
        fmae_zoo.load(folder)
    classifier = classifier_of(layer="features")
    before = tensors_of(classifier)
    with pytest.raises(WeightsError, match=words):
        load_weights(classifier, folder / WEIGHTS)
    for name, tensor in tensors_of(classifier).items():
        np.testing.assert_array_equal(tensor, before[name])


HEADS = {
    "too few labels": {"labels": ["a", "b"]},
    "labels twice": {"labels": ["a"] * 10},
    "labels of numbers": {"labels": list(range(10))},
    "labels that a terminal obeys": {"labels": ["\x1b[2J", *"abcdefghi"]},
    "classes as text": {"num_classes": "10"},
    "one class": {"num_classes": 1, "labels": None},
    "very many classes": {"num_classes": 10**12, "labels": None},
    "no layer": {"layer": ...},
    "an unknown layer": {"layer": "nosuch"},
    "a class to import": {"class_name": "os.system"},
    "a wide layer": {"hidden": 10**9},
    "many weights": {"hidden": 65_536, "layer": "image"},
    "dropout": {"dropout": 1.0},
    "precision": {"precision": "os.system"},
    "trainable": {"trainable": "yes"},
}


@pytest.mark.parametrize("case", HEADS)
def test_a_description_that_breaks_a_rule_is_refused_before_anything_is_made(folder, case):
    describe(folder, **HEADS[case])
    if case == "many weights":
        describe(folder, num_classes=MAX_PARAMETERS // 65_536, labels=None)
    with pytest.raises(SpecError, match=r"head\.json: "):
        fmae_zoo.load(folder)
    checks = fmae_zoo.verify(folder)
    assert [check.name for check in checks if check.passed is False] == ["goldens"]


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff\xfe", b"null", b"[1]", b"{}"])
def test_a_description_that_is_none(folder, content):
    (folder / "head.json").write_bytes(content)
    recorded(folder)
    with pytest.raises(SpecError, match=r"head\.json"):
        fmae_zoo.load(folder)


def test_another_head_than_that_of_the_weights_does_not_fit(folder):
    describe(folder, hidden=255)
    with pytest.raises(WeightsError, match="do not fit"):
        fmae_zoo.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"probabilities": np.zeros((8, 9), "float32")},
        {"probabilities": None},
        {"images": np.zeros((0, 28, 28), "uint8")},
        {"codes": np.zeros((8, 4), "float32")},
    ],
)
def test_goldens_of_other_shapes_are_a_failed_check(folder, change):
    golden = read_tensors(folder / "golden.safetensors") | change
    save_tensors({k: v for k, v in golden.items() if v is not None}, folder / "golden.safetensors")
    recorded(folder)
    failed = [check for check in fmae_zoo.verify(folder) if check.passed is False]
    assert [check.name for check in failed] == ["goldens"]


def test_verify_finds_other_probabilities(folder):
    golden = read_tensors(folder / "golden.safetensors")
    golden["probabilities"] += 0.001
    save_tensors(golden, folder / "golden.safetensors")
    recorded(folder)
    failed = [check.name for check in fmae_zoo.verify(folder) if check.passed is False]
    assert failed == ["golden probabilities"]


def test_the_goldens_of_a_low_precision_are_float32s(tmp_path):
    classifier = classifier_of(precision="mixed_bfloat16", layer="features")
    folder = fmae_zoo.save(classifier, tmp_path)
    assert {check.passed for check in fmae_zoo.verify(folder)} == {True, None}


@pytest.mark.parametrize("figure", ["frozen_head", "fine_tuned"])
def test_verify_measures_a_classifier_again(folder, tuned, few, figure):
    def published(**changes):
        report = tuned.report(few.test_images, few.test_labels) | changes
        results = {figure: {"features": report} if figure == "frozen_head" else report}
        Manifest.read(folder).model_copy(update={"results": results}).write(folder)
        return {c.name: c.passed for c in fmae_zoo.verify(folder, data=few) if figure in c.name}

    assert published() == {f"{figure} accuracy": True, f"{figure} loss": True}
    assert published(accuracy=0.999) == {f"{figure} accuracy": False, f"{figure} loss": True}


def test_verify_finds_that_figures_are_of_other_classes(folder, few):
    results = {"fine_tuned": {"accuracy": 0.9}}
    Manifest.read(folder).model_copy(update={"results": results}).write(folder)
    other = replace(few, test_labels=few.test_labels + 5, class_names=None)
    checks = {check.name: check for check in fmae_zoo.verify(folder, data=other)}
    assert checks["figures"].passed is False
    assert "labels" in checks["figures"].detail


def test_figures_of_an_autoencoder_in_its_manifest_are_not_computed(folder):
    manifest = Manifest.read(folder)
    manifest.model_copy(update={"results": {"reconstruction": {"mse": 0.1}}}).write(folder)
    checks = {check.name: check.passed for check in fmae_zoo.verify(folder)}
    assert checks["figures"] is None


def test_an_entry_says_what_it_is(saved, tmp_path):
    entry = find_entry(saved)
    assert (entry.is_classifier, entry.title) == (True, "a classifier on tiny-ae.fmnist")
    assert entry.head.labels == CLASS_NAMES
    other = find_entry(fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path / "ae"))
    assert (other.is_classifier, other.title, other.head) == (False, "tiny-ae.fmnist", None)


@pytest.mark.parametrize("labels", [None, CLASS_NAMES, ["Überzieher", "靴"]])
def test_labels_of_any_language_are_taken(labels, tmp_path):
    count = 10 if labels is None else len(labels)
    assert checked_labels(labels, count) == (None if labels is None else tuple(labels))
    folder = fmae_zoo.save(classifier_of(num_classes=count, labels=labels), tmp_path)
    assert fmae_zoo.load(folder).labels == (None if labels is None else tuple(labels))


def test_what_measures_autoencoders_refuses_a_classifier(tuned, few):
    for act in (
        lambda: fmae_zoo.evaluate(tuned, data=few),
        lambda: fmae_zoo.fit_samplers(tuned, few),
    ):
        with pytest.raises(FmaeError, match="Autoencoder"):
            act()
