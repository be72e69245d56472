import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

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


def failed_checks(source, **options):
    return {c.name: c.detail for c in fmae_zoo.verify(source, **options) if c.passed is False}


def recorded(folder):
    """Give the manifest the digests of the files as they now are."""
    record_files(folder, Manifest.read(folder)).write(folder)


def change_goldens(folder, changes):
    golden = read_tensors(folder / "golden.safetensors") | changes
    save_tensors({k: v for k, v in golden.items() if v is not None}, folder / "golden.safetensors")
    recorded(folder)


def record_file(folder, name):
    content = json.loads((folder / "manifest.json").read_text())
    content["files"][name] = {"sha256": "0" * 64, "size": 0}
    (folder / "manifest.json").write_text(json.dumps(content))


@pytest.mark.parametrize("kind", ["local:{}", "{}", "moved"])
def test_a_saved_model_loads_with_the_same_outputs(folder, images, tmp_path, kind):
    model = fmae_zoo.Autoencoder(tiny_spec(), seed=3)
    if kind == "moved":
        folder = shutil.move(folder, tmp_path / "else where")
    loaded = fmae_zoo.load(folder if kind == "moved" else kind.format(folder))
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
    with pytest.raises(FmaeError, match=r"spec\.toml was edited"):
        read(edited, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_verify_tells_of_an_edited_spec_and_a_new_training_mends_it(edited, few):
    assert failed_checks(edited).keys() == {"spec"}
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


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_part_is_the_part_of_the_whole(folder, part):
    whole = fmae_zoo.load(f"local:{folder}")
    loaded = fmae_zoo.load(f"local:{folder}", part=part)
    for one, other in zip(getattr(whole, part).get_weights(), loaded.get_weights()):
        np.testing.assert_array_equal(one, other)


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
    "content",
    [
        "{",
        "[]",
        '{"name": "tiny-ae", "tag": "fmnist"}',
        '{"name": "other", "tag": "fmnist", "licence": "MIT"}',
    ],
)
def test_a_broken_manifest_is_named(folder, content):
    (folder / "manifest.json").write_text(content)
    with pytest.raises(SpecError, match=r"manifest\.json"):
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


@pytest.mark.full_data
@pytest.mark.parametrize("name", MEASURED)
def test_published_figures_are_found_again(name, full_data, compiled):
    checks = fmae_zoo.verify(name, data=full_data)
    assert [check for check in checks if not check.passed] == []
    expected = {"reconstruction mse", "golden codes"}
    if registry.find_entry(name).is_classifier:
        expected = {"frozen_head accuracy", "golden probabilities"}
    assert expected <= {check.name for check in checks}


@pytest.mark.parametrize("damage", ["altered", "cut", "lost"])
def test_a_damaged_weights_file_is_refused(folder, damage):
    assert not failed_checks(folder)
    path = folder / "decoder.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage != "lost":
        path.write_bytes(content[:-1] + (b"" if damage == "cut" else bytes([content[-1] ^ 1])))
    with pytest.raises(FmaeError, match=r"decoder\.safetensors"):
        fmae_zoo.load(f"local:{folder}")
    assert failed_checks(folder).keys() == {"decoder.safetensors"}


def test_verify_finds_other_figures(folder, sample):
    manifest = Manifest.read(folder)
    results = fmae_zoo.evaluate(fmae_zoo.load(folder), ["reconstruction"], data=sample)
    manifest.model_copy(update={"results": results}).write(folder)
    assert all(check.passed for check in fmae_zoo.verify(folder, data=sample))
    results["reconstruction"] |= {"mse": 1.01 * results["reconstruction"]["mse"], "beauty": 0.5}
    manifest.model_copy(update={"results": results}).write(folder)
    wrong = {"reconstruction mse", "reconstruction beauty"}
    assert failed_checks(folder, data=sample).keys() == wrong


def test_the_users_keras_settings_change_nothing(folder, images):
    expected = fmae_zoo.load(folder).encode(images)
    policy, layout = keras.config.dtype_policy(), keras.config.image_data_format()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        keras.config.set_image_data_format("channels_first")
        np.testing.assert_array_equal(fmae_zoo.load(folder).encode(images), expected)
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(layout)


def test_models_built_in_threads_have_the_weights_of_their_seed():
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: fmae_zoo.Autoencoder(tiny_spec(), seed=3), range(4)))
    expected = fmae_zoo.Autoencoder(tiny_spec(), seed=3).get_weights()
    for model in built:
        for one, other in zip(expected, model.get_weights()):
            np.testing.assert_array_equal(one, other)


def test_a_load_leaves_the_weights_that_others_draw_meanwhile_as_they_were(folder, monkeypatch):
    drawn = []

    def build_elsewhere():
        layer = keras.layers.Dense(4)
        layer.build((None, 4))
        drawn.append(np.abs(keras.ops.convert_to_numpy(layer.kernel)).max())

    def build(*arguments, **options):
        thread = threading.Thread(target=build_elsewhere)
        thread.start()
        thread.join()
        return original(*arguments, **options)

    original = fmae_zoo.autoencoder.Autoencoder
    monkeypatch.setattr("fmae_zoo.autoencoder.Autoencoder", build)
    fmae_zoo.load(f"local:{folder}")
    build_elsewhere()
    assert len(drawn) == 2
    assert min(drawn) > 0.0


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = fmae_zoo.Autoencoder(tiny_spec())
    model.encoder.get_layer("latent").bias.assign(np.full(4, np.nan))
    with pytest.raises(WeightsError, match=r"latent\.bias"):
        fmae_zoo.save(model, tmp_path / "bad")
    assert not (tmp_path / "bad" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({"codes": np.zeros((8, 4), "float32")}, "golden codes"),
        ({"reconstructions": np.zeros((3, 28, 28, 1), "float32")}, "goldens"),
        ({"codes": np.zeros((8, 5), "float32")}, "goldens"),
        ({"images": np.zeros((0, 28, 28), "uint8")}, "goldens"),
        ({"images": None}, "goldens"),
    ],
)
def test_other_goldens_are_a_failed_check(folder, change, failed):
    change_goldens(folder, change)
    assert failed in failed_checks(folder)


def test_verify_finds_a_spec_that_was_changed_after_the_training(folder):
    spec = folder / "spec.toml"
    text = spec.read_text()
    spec.write_text("# only a comment\n" + text)
    assert not failed_checks(folder)
    spec.write_text(text.replace("epochs = 3", "epochs = 999").replace("Apache-2.0", "MIT"))
    assert failed_checks(folder).keys() == {"spec", "licence"}


@pytest.mark.parametrize("name", ["/etc/hostname", "../other/encoder.safetensors", ".hidden"])
def test_a_manifest_records_files_of_its_own_folder_only(folder, name):
    record_file(folder, name)
    with pytest.raises(SpecError, match="files"):
        fmae_zoo.load(folder)


def test_a_pipe_in_the_place_of_a_file_hangs_nothing(folder):
    os.mkfifo(folder / "history.csv")
    record_file(folder, "history.csv")
    assert failed_checks(folder).keys() == {"history.csv"}


def test_what_cannot_be_saved_is_refused(tmp_path):
    model = fmae_zoo.Autoencoder(tiny_spec())
    for wrong in ("dense-ae", model.encoder):
        with pytest.raises(ArgumentError, match="Autoencoder"):
            fmae_zoo.save(wrong, tmp_path / "model")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="a file is there"):
        fmae_zoo.save(model, tmp_path / "file")


def test_arguments_of_models_are_checked(folder, images):
    model = fmae_zoo.load(folder)
    for name, act in (
        ("seed", lambda: fmae_zoo.load(folder, seed="a")),
        *(("codes", partial(model.decode, each)) for each in ("x", [[np.nan] * 4], [[0] * 3])),
        *(("count", partial(model.generate, each)) for each in (2.5, -1, "2")),
        *(("folder", partial(fmae_zoo.save, model, each)) for each in (5, None, "")),
        *(("batch_size", partial(model.encode, images, batch_size=n)) for n in (2.5, 0, "x")),
        ("figures", lambda: fmae_zoo.evaluate(model, 5)),
    ):
        with pytest.raises(ArgumentError, match=name):
            act()
    with pytest.raises(UnknownModelError, match="figure"):
        fmae_zoo.evaluate(model, [[1]])
