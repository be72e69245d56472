import json
import os
import shutil
import threading

import keras
import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import registry
from fmae_zoo.errors import (
    ArgumentError,
    FmaeError,
    NoWeightsError,
    SpecError,
    UnknownModelError,
    WeightsError,
)
from fmae_zoo.files import sha256_of
from fmae_zoo.manifest import Manifest
from fmae_zoo.saving import record_files
from fmae_zoo.weights import read_tensors, save_tensors
from tests.conftest import TINY_CONV, tiny_spec
from tests.entries import MEASURED

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def folder(tmp_path):
    return fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=3), tmp_path / "mine")


def test_a_saved_model_loads_with_the_same_outputs(folder, images):
    model = fmae_zoo.Autoencoder(tiny_spec(), seed=3)
    loaded = fmae_zoo.load(f"local:{folder}")
    assert loaded.spec == model.spec
    np.testing.assert_array_equal(loaded.encode(images), model.encode(images))
    np.testing.assert_array_equal(loaded.reconstruct(images), model.reconstruct(images))


@pytest.fixture
def edited(tmp_path):
    """A trained folder whose spec was edited so that the weights still fit."""
    spec = tiny_spec(network=TINY_CONV)
    folder = fmae_zoo.save(fmae_zoo.Autoencoder(spec), tmp_path / "edited")
    path = folder / "spec.toml"
    path.write_text(path.read_text().replace('pool = "max"', 'pool = "average"'))
    return folder


@pytest.mark.parametrize(
    "read",
    [
        lambda folder, out: fmae_zoo.load(f"local:{folder}"),
        lambda folder, out: fmae_zoo.load(folder, part="encoder"),
        lambda folder, out: fmae_zoo.load(fmae_zoo.register(folder), pretrained=True),
        lambda folder, out: fmae_zoo.pull(folder, out),
        lambda folder, out: fmae_zoo.push(folder, "me/tiny", dry_run=True),
    ],
    ids=["load", "part", "registered", "pull", "push"],
)
def test_a_spec_edited_after_the_training_is_refused(edited, tmp_path, read):
    with pytest.raises(FmaeError, match=r"(?s)spec\.toml was edited.*spec_sha256.*fmae train"):
        read(edited, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_verify_tells_of_an_edited_spec_and_a_new_training_mends_it(edited, few):
    [failed] = [check for check in fmae_zoo.verify(edited) if check.passed is False]
    assert failed.name == "spec"
    assert "spec.toml was edited" in failed.detail
    fmae_zoo.train(edited, data=few, epochs=3, output=edited)
    assert fmae_zoo.load(edited).spec.network.encoder[0].pool == "average"


def test_saving_again_gives_the_same_weights_files(folder, tmp_path):
    again = fmae_zoo.save(fmae_zoo.load(f"local:{folder}"), tmp_path / "again")
    for name, record in Manifest.read(folder).files.items():
        if name != "golden.safetensors":
            assert sha256_of((again / name).read_bytes()) == record.sha256


def test_the_manifest_states_licence_sizes_and_digests(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["licence"] == "Apache-2.0"
    assert manifest["hub"] == {"repo": "", "commit": ""}
    assert manifest["parameters"]["encoder"] == 784 * 32 + 32 + 32 * 16 + 16 + 16 * 4 + 4
    for name, record in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert record == {"sha256": sha256_of(content), "size": len(content)}


def test_a_folder_loads_by_its_path_as_text_too(folder, images):
    expected = fmae_zoo.load(folder).encode(images)
    np.testing.assert_array_equal(fmae_zoo.load(str(folder)).encode(images), expected)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_part_is_the_part_of_the_whole(folder, part):
    whole = fmae_zoo.load(f"local:{folder}")
    loaded = fmae_zoo.load(f"local:{folder}", part=part)
    for one, other in zip(getattr(whole, part).get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_an_altered_weights_file_is_refused(folder):
    path = folder / "encoder.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match="damaged or altered"):
        fmae_zoo.load(f"local:{folder}")


def test_a_model_is_never_silently_random(folder):
    fmae_zoo.register(tiny_spec(name="no-weights"))
    with pytest.raises(NoWeightsError, match=r"fmae train no-weights\.fmnist"):
        fmae_zoo.load("no-weights", pretrained=True)
    (folder / "manifest.json").unlink()
    with pytest.raises(NoWeightsError):
        fmae_zoo.load(f"local:{folder}")
    assert fmae_zoo.load(f"local:{folder}", pretrained=False)


def test_a_manifest_without_the_file_is_no_weights(folder):
    manifest = Manifest.read(folder)
    manifest.model_copy(update={"files": {}}).write(folder)
    with pytest.raises(NoWeightsError, match=r"encoder\.safetensors"):
        fmae_zoo.load(f"local:{folder}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("[]", "an object"),
        ('{"name": "tiny-ae", "tag": "fmnist"}', "licence: Field required"),
        ('{"name": "other", "tag": "fmnist", "licence": "MIT"}', r"expected tiny-ae\.fmnist"),
    ],
)
def test_a_broken_manifest_is_named(folder, content, words):
    (folder / "manifest.json").write_text(content)
    with pytest.raises(SpecError, match=words):
        fmae_zoo.load(f"local:{folder}")


@pytest.mark.parametrize("problem", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_save_that_fails_leaves_the_model_that_was_there(folder, monkeypatch, images, problem):
    from fmae_zoo import saving

    def stop(*given):
        raise problem

    codes = fmae_zoo.load(folder).encode(images)
    monkeypatch.setattr(saving, "golden_of", stop)
    with pytest.raises((KeyboardInterrupt, OSError)):
        fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), folder)
    np.testing.assert_array_equal(fmae_zoo.load(folder).encode(images), codes)
    assert not list(folder.glob(".saving-*"))


def test_saving_over_a_run_does_not_adopt_its_history(folder):
    (folder / "history.csv").write_text("of another model")
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), folder)
    assert "history.csv" not in Manifest.read(folder).files


def test_a_moved_folder_still_loads(folder, tmp_path, images):
    codes = fmae_zoo.load(f"local:{folder}").encode(images)
    moved = shutil.move(folder, tmp_path / "else where")
    np.testing.assert_array_equal(fmae_zoo.load(moved).encode(images), codes)


@pytest.mark.full_data
@pytest.mark.parametrize("name", MEASURED)
def test_published_figures_are_found_again(name, full_data, compiled):
    checks = fmae_zoo.verify(name, data=full_data)
    assert [check for check in checks if not check.passed] == []
    expected = {"reconstruction mse", "golden codes"}
    if registry.find_entry(name).is_classifier:
        expected = {"frozen_head accuracy", "golden probabilities"}
    assert expected <= {check.name for check in checks}


def test_verify_finds_damage(folder):
    assert {check.passed for check in fmae_zoo.verify(folder)} == {True, None}
    (folder / "decoder.safetensors").write_bytes(b"damage")
    failed = [check for check in fmae_zoo.verify(folder) if check.passed is False]
    assert [check.name for check in failed] == ["decoder.safetensors"]
    (folder / "decoder.safetensors").unlink()
    assert not all(check.passed for check in fmae_zoo.verify(folder))


def test_verify_finds_other_outputs_and_other_figures(folder, sample):
    from fmae_zoo.saving import record_files
    from fmae_zoo.weights import read_tensors, save_tensors

    manifest = Manifest.read(folder)
    results = fmae_zoo.evaluate(fmae_zoo.load(folder), ["reconstruction"], data=sample)
    manifest.model_copy(update={"results": results}).write(folder)
    assert all(check.passed for check in fmae_zoo.verify(folder, data=sample))
    results["reconstruction"]["mse"] *= 1.01
    manifest.model_copy(update={"results": results}).write(folder)
    failed = [check.name for check in fmae_zoo.verify(folder, data=sample) if not check.passed]
    assert failed == ["reconstruction mse"]

    golden = read_tensors(folder / "golden.safetensors")
    golden["codes"] = golden["codes"] + 0.01 * golden["codes"].std()
    save_tensors(golden, folder / "golden.safetensors")
    record_files(folder, manifest).write(folder)
    failed = [check.name for check in fmae_zoo.verify(folder, data=sample) if not check.passed]
    assert "golden codes" in failed


def test_the_users_keras_settings_change_nothing(folder, images):
    expected = fmae_zoo.load(folder).encode(images)
    policy, layout = keras.config.dtype_policy(), keras.config.image_data_format()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        keras.config.set_image_data_format("channels_first")
        np.testing.assert_array_equal(fmae_zoo.load(folder).encode(images), expected)
        fmae_zoo.Autoencoder(tiny_spec(network=TINY_CONV)).encode(images)
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(layout)


def test_models_built_in_threads_have_the_weights_of_their_seed():
    built = []
    threads = [
        threading.Thread(target=lambda: built.append(fmae_zoo.Autoencoder(tiny_spec(), seed=3)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = fmae_zoo.Autoencoder(tiny_spec(), seed=3).get_weights()
    for model in built:
        for one, other in zip(expected, model.get_weights()):
            np.testing.assert_array_equal(one, other)


def test_a_load_draws_no_weights_and_leaves_those_of_others_as_they_were(folder, monkeypatch):
    drawn = keras.initializers.VarianceScaling.__call__
    others = []

    def build_elsewhere(spec, *arguments, **options):
        def build():
            layer = keras.layers.Dense(4)
            layer.build((None, 4))
            others.append(np.abs(keras.ops.convert_to_numpy(layer.kernel)).max())

        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
        model = original(spec, *arguments, **options)
        kernels = [each for each in model.trainable_variables if each.name == "kernel"]
        others.extend(np.abs(keras.ops.convert_to_numpy(each)).max() for each in kernels)
        return model

    original = fmae_zoo.autoencoder.Autoencoder
    monkeypatch.setattr("fmae_zoo.autoencoder.Autoencoder", build_elsewhere)
    fmae_zoo.load(f"local:{folder}")
    in_the_thread, *in_the_model = others
    assert in_the_thread > 0.0
    assert in_the_model
    assert not any(in_the_model)
    assert keras.initializers.VarianceScaling.__call__ is drawn


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = fmae_zoo.Autoencoder(tiny_spec())
    model.encoder.get_layer("latent").bias.assign(np.full(4, np.nan))
    with pytest.raises(WeightsError, match=r"latent\.bias holds NaN"):
        fmae_zoo.save(model, tmp_path / "bad")
    assert not (tmp_path / "bad" / "manifest.json").exists()


def test_verify_of_odd_entries_is_a_failed_check(folder, sample):
    manifest = Manifest.read(folder)
    changed = manifest.model_copy(update={"results": {"reconstruction": {"beauty": 0.5}}})
    changed.write(folder)
    checks = {check.name: check for check in fmae_zoo.verify(folder, data=sample)}
    assert checks["reconstruction beauty"].passed is False
    save_tensors({"images": np.zeros((1, 28, 28), np.uint8)}, folder / "golden.safetensors")
    record_files(folder, manifest).write(folder)
    checks = {check.name: check for check in fmae_zoo.verify(folder, data=sample)}
    assert checks["goldens"].passed is False


@pytest.mark.parametrize(
    "change",
    [
        {"reconstructions": np.zeros((3, 28, 28, 1), "float32")},
        {"codes": np.zeros((8, 5), "float32")},
        {"images": np.zeros((0, 28, 28), "uint8")},
        {"images": None},
    ],
)
def test_goldens_of_other_shapes_are_a_failed_check(folder, sample, change):
    entry = registry.find_entry(folder)
    golden = read_tensors(folder / "golden.safetensors") | change
    save_tensors({k: v for k, v in golden.items() if v is not None}, folder / "golden.safetensors")
    record_files(folder, entry.manifest).write(folder)
    failed = [check for check in fmae_zoo.verify(folder, data=sample) if check.passed is False]
    assert [check.name for check in failed] == ["goldens"]
    assert "shapes" in failed[0].detail


def test_verify_finds_a_spec_that_was_changed_after_the_training(folder, sample):
    spec = folder / "spec.toml"
    text = spec.read_text()
    spec.write_text("# only a comment\n" + text)
    assert not [c for c in fmae_zoo.verify(folder, data=sample) if c.passed is False]
    spec.write_text(text.replace("epochs = 3", "epochs = 999").replace("Apache-2.0", "MIT"))
    failed = {c.name for c in fmae_zoo.verify(folder, data=sample) if c.passed is False}
    assert failed == {"spec", "licence"}


@pytest.mark.parametrize("name", ["/etc/hostname", "../other/encoder.safetensors", ".hidden"])
def test_a_manifest_records_files_of_its_own_folder_only(folder, name):
    content = json.loads((folder / "manifest.json").read_text())
    content["files"][name] = {"sha256": "0" * 64, "size": 0}
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(SpecError, match="files"):
        fmae_zoo.load(folder)


def test_a_pipe_in_the_place_of_a_file_hangs_nothing(folder, sample):
    (folder / "history.csv").unlink(missing_ok=True)
    os.mkfifo(folder / "history.csv")
    content = json.loads((folder / "manifest.json").read_text())
    content["files"]["history.csv"] = {"sha256": "0" * 64, "size": 0}
    (folder / "manifest.json").write_text(json.dumps(content))
    failed = [c.name for c in fmae_zoo.verify(folder, data=sample) if c.passed is False]
    assert failed == ["history.csv"]


def test_what_cannot_be_saved_is_refused(tmp_path):
    model = fmae_zoo.Autoencoder(tiny_spec())
    for wrong in ("dense-ae", model.encoder):
        with pytest.raises(ArgumentError, match="Autoencoder"):
            fmae_zoo.save(wrong, tmp_path / "model")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="a file is there"):
        fmae_zoo.save(model, tmp_path / "file")


def test_arguments_of_models_are_checked(folder):
    model = fmae_zoo.load(folder)
    with pytest.raises(ArgumentError, match="seed"):
        fmae_zoo.load(folder, seed="a")
    for codes in ("x", [[np.nan] * 4], np.zeros((2, 3))):
        with pytest.raises(ArgumentError, match="codes"):
            model.decode(codes)
    for count in (2.5, -1, "2"):
        with pytest.raises(ArgumentError, match="count"):
            model.generate(count)
    with pytest.raises(ArgumentError, match="figures"):
        fmae_zoo.evaluate(model, 5)


def test_odd_folders_and_batch_sizes_are_refused(folder, tmp_path, images):
    model = fmae_zoo.load(folder)
    for wrong in (5, None, ""):
        with pytest.raises(ArgumentError, match="folder"):
            fmae_zoo.save(model, wrong)
    for size in (2.5, 0, "x"):
        with pytest.raises(ArgumentError, match="batch_size"):
            model.encode(images, batch_size=size)
    assert model.encode(images).shape == (len(images), model.spec.latent.size)
    with pytest.raises(UnknownModelError, match="figure"):
        fmae_zoo.evaluate(model, [[1]])
