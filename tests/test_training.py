import copy
import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from importlib import metadata

import keras
import numpy as np
import pytest

import fmae_zoo
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, SpecError, TrainingError
from fmae_zoo.evaluation.record import record_results, record_samplers
from fmae_zoo.layout import SAMPLERS_FILE
from fmae_zoo.registry import find_entry
from fmae_zoo.saving import spec_toml
from fmae_zoo.training import checkpoint, loop as training
from fmae_zoo.weights import tensors_of
from tests.conftest import ROOT, TINY_CONV, spec_dict, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

VAE = {
    "latent": {"type": "gaussian", "size": 4},
    "objective": {"type": "elbo", "kl_warmup_steps": 10},
}


def weights(model):
    return {**tensors_of(model.posterior), **tensors_of(model.decoder)}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def test_a_run_leaves_an_entry_that_loads(few, tmp_path, images):
    history = fmae_zoo.train(tiny_spec(), data=few, output=tmp_path / "run")
    assert [row["epoch"] for row in history.rows] == [1, 2, 3]
    assert history.rows[-1]["val_loss"] < history.rows[0]["val_loss"]
    assert {
        "spec.toml", "manifest.json", "encoder.safetensors", "decoder.safetensors",
        "golden.safetensors", "history.csv", "curves.png", "checkpoint.safetensors",
    } <= {path.name for path in (tmp_path / "run").iterdir()}  # fmt: skip
    loaded = fmae_zoo.load(f"local:{tmp_path / 'run'}")
    np.testing.assert_array_equal(loaded.encode(images), history.model.encode(images))
    with (tmp_path / "run" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val_loss"]) == pytest.approx(history.rows[-1]["val_loss"])
    assert all(check.passed is not False for check in fmae_zoo.verify(tmp_path / "run"))


def test_the_same_seed_gives_the_same_weights_and_another_does_not(few):
    first = fmae_zoo.train(tiny_spec(), data=few, seed=3, epochs=1)
    again = fmae_zoo.train(tiny_spec(), data=few, seed=3, epochs=1)
    other = fmae_zoo.train(tiny_spec(), data=few, seed=4, epochs=1)
    assert_same_bits(weights(first.model), weights(again.model))
    assert not np.array_equal(
        weights(first.model)["latent.kernel"], weights(other.model)["latent.kernel"]
    )


NORMALISED = {"type": "dense", "units": [8], "batch_norm": True}
RESUMED = {
    "dense": {},
    "clusters": {
        "objective": {
            "type": "clustered_squared_error",
            "clusters": 4,
            "final_weight": 0.1,
            "final_after_steps": 12,
        },
        "recipe": spec_dict()["recipe"] | {"restart": {"epoch": 2, "learning_rate": 1e-4}},
    },
    "conv": {"network": TINY_CONV},
    "vae": VAE,
    "bfloat16": {
        "network": NORMALISED,
        "recipe": spec_dict()["recipe"] | {"precision": "mixed_bfloat16"},
    },
    "float16": {
        "network": NORMALISED,
        "recipe": spec_dict()["recipe"] | {"precision": "mixed_float16"},
    },
}


@pytest.mark.parametrize("kind", RESUMED)
def test_stopped_after_an_epoch_and_resumed_is_bit_for_bit_the_same(
    few, tmp_path, monkeypatch, kind, request
):
    if kind in ("conv", "vae"):
        request.getfixturevalue("compiled")  # By TensorFlow, and by XLA.
    spec = tiny_spec(**RESUMED[kind])
    whole = fmae_zoo.train(spec, data=few, output=tmp_path / "whole")
    assert whole.rows[-1]["loss"] < whole.rows[0]["loss"]
    write = training.write_checkpoint

    def write_then_stop(folder, model, progress):
        write(folder, model, progress)
        if progress.epoch == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "write_checkpoint", write_then_stop)
    with pytest.raises(KeyboardInterrupt):
        fmae_zoo.train(spec, data=few, output=tmp_path / "stopped")
    monkeypatch.undo()
    resumed = fmae_zoo.train(spec, data=few, output=tmp_path / "stopped", resume=True)
    assert_same_bits(weights(whole.model), weights(resumed.model))
    assert len(resumed.rows) == 3


KILLED = """
import os, signal, sys, threading, time
import fmae_zoo
from fmae_zoo.spec import ModelSpec

begun = []

def progress(epoch, *_):
    if epoch == 1 and not begun:
        kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
        begun.append(threading.Timer(float(sys.argv[4]), kill).start())
    if epoch == 5:
        time.sleep(60)  # It is killed before the last epoch ends, however fast it is.

fmae_zoo.train(
    ModelSpec.from_toml(sys.argv[1]), data=fmae_zoo.load_data(sys.argv[2]), output=sys.argv[3],
    progress=progress,
)
"""


@pytest.mark.parametrize("delay", [0.01, 0.2])
def test_killed_and_resumed_is_bit_for_bit_the_same(idx, tmp_path, compiled, delay):
    recipe = {"epochs": 6, "batch_size": 8, "augment": True}
    spec, data = tiny_spec(network=TINY_CONV, recipe=recipe), fmae_zoo.load_data(idx)
    (tmp_path / "spec.toml").write_text(spec_toml(spec))
    arguments = [tmp_path / "spec.toml", idx, tmp_path / "killed", str(delay)]
    run = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert run.returncode == -signal.SIGKILL
    whole = fmae_zoo.train(spec, data=data, output=tmp_path / "whole")
    resumed = fmae_zoo.train(spec, data=data, output=tmp_path / "killed", resume=True)
    assert_same_bits(weights(whole.model), weights(resumed.model))
    for part in ("encoder", "decoder"):
        one, other = (tmp_path / run / f"{part}.safetensors" for run in ("whole", "killed"))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("last", [1, 3])
def test_resumed_before_its_history_was_written_has_every_row(few, tmp_path, monkeypatch, last):
    write = training.write_text

    def stopped(path, text):
        if path.name == training.HISTORY_FILE and text.count("\n") == 1 + last:
            raise KeyboardInterrupt
        write(path, text)

    monkeypatch.setattr(training, "write_text", stopped)
    with pytest.raises(KeyboardInterrupt):
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path)
    monkeypatch.undo()
    history = fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, resume=True)
    assert (tmp_path / "history.csv").read_bytes().decode() == training.history_csv(history.rows)
    assert len(history.rows) == 3


def test_resuming_another_run_is_refused(few, tmp_path):
    fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, epochs=1)
    with pytest.raises(TrainingError, match="seed: the checkpoint has 0, this run 1"):
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, epochs=1, seed=1, resume=True)
    with pytest.raises(TrainingError, match=r"recipe\.epochs: the checkpoint has 1, this run 2"):
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, epochs=2, resume=True)
    with pytest.raises(TrainingError, match="there is a checkpoint"):
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, epochs=1)


def test_resuming_from_nothing_or_from_half_a_checkpoint_is_refused(few, tmp_path):
    with pytest.raises(TrainingError, match="no such folder"):
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path / "none", resume=True)
    fmae_zoo.train(tiny_spec(), data=few, output=tmp_path / "run", epochs=1)
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="not a whole checkpoint"):
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path / "run", epochs=1, resume=True)


def test_validation_is_of_draws_from_the_posterior(few):
    """At posterior means the sum of reconstruction and KL is no bound."""
    history = fmae_zoo.train(tiny_spec(**VAE), data=few, epochs=1)
    row, model = history.rows[-1], history.model
    model.compile()
    images = few.train_images[few.split[1]][..., None] / np.float32(255)
    at_means = model.evaluate(images, verbose=0, return_dict=True)
    assert row["val_kl"] == pytest.approx(at_means["kl"], rel=1e-3)
    assert row["val_reconstruction"] != pytest.approx(at_means["reconstruction"], rel=1e-6)
    assert row["val_reconstruction"] == pytest.approx(at_means["reconstruction"], rel=0.01)


def test_a_model_that_always_draws_does_so_outside_training():
    model = fmae_zoo.Autoencoder(tiny_spec(**VAE), seed=1)
    images = np.zeros((500, 28, 28, 1), "float32")

    def codes():
        return keras.ops.convert_to_numpy(model(images)["code"])

    np.testing.assert_array_equal(codes(), codes())
    mean = codes()[0]
    model.latent.always_draws = True
    one, other = codes(), codes()
    assert not np.allclose(one, other, atol=0.01)
    posterior = model.posterior.predict(images[:1], verbose=0)
    np.testing.assert_allclose(one.mean(axis=0), mean, atol=0.3)
    expected = np.exp(0.5 * posterior["log_variance"][0])
    np.testing.assert_allclose(one.std(axis=0), expected, rtol=0.15)


def test_a_finished_run_resumes_to_itself_and_what_killed_writers_left_is_removed(few, tmp_path):
    done = fmae_zoo.train(tiny_spec(), data=few, output=tmp_path)
    files = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / ".checkpoint.safetensors.abcd1234").write_bytes(b"half")
    source, figures = f"local:{tmp_path}", {"reconstruction": {"mse": 0.5}}
    record_results(source, figures, replace(few, is_sample=False))
    fmae_zoo.fit_samplers(done.model, few, names="gmm")
    record_samplers(source, done.model)
    files = sorted([*files, SAMPLERS_FILE])
    again = fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, resume=True)
    assert_same_bits(weights(done.model), weights(again.model))
    assert sorted(path.name for path in tmp_path.iterdir()) == files
    assert Entry.read(tmp_path).manifest.results == figures
    assert fmae_zoo.load(source).samplers == ("gmm",)


def test_a_loss_that_is_not_finite_stops_names_the_step_and_keeps_the_checkpoint(
    few, tmp_path, monkeypatch
):
    images = training.epoch_of

    def poisoned(*arguments):
        inputs, targets, mask = images(*arguments)
        poisoned.epochs += 1
        if poisoned.epochs == 2:
            targets = targets.copy()
            targets[2 * 32] = np.nan
        return inputs, targets, mask

    poisoned.epochs = 0
    monkeypatch.setattr(training, "epoch_of", poisoned)
    steps = -(-len(few.split[0]) // 32)
    with pytest.raises(TrainingError) as error:
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path)
    message = str(error.value)
    assert f"at step {steps + 2} (epoch 2)" in message
    assert "learning rate of 0.001" in message
    assert "checkpoint of epoch 1 is kept" in message
    monkeypatch.undo()
    resumed = fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, resume=True)
    assert len(resumed.rows) == 3


def test_the_rate_of_a_restart_can_be_the_cause(few):
    restart = {"epoch": 1, "learning_rate": 1e30}
    with pytest.raises(TrainingError, match=r"\(epoch [23]\).*rate of 1e\+30"):
        fmae_zoo.train(tiny_spec(**VAE), data=few, restart=restart)


def test_a_seed_of_numpys_is_one(few):
    one = fmae_zoo.train(tiny_spec(), data=few, epochs=1, seed=np.int64(3))
    other = fmae_zoo.train(tiny_spec(), data=few, epochs=1, seed=3)
    assert_same_bits(weights(one.model), weights(other.model))


def test_a_learning_rate_that_is_too_high_is_the_likely_cause(few):
    with pytest.raises(TrainingError, match=r"infinite at step \d+ .*rate of 1e\+20"):
        fmae_zoo.train(
            tiny_spec(**VAE), data=few, learning_rate=1e20, schedule="constant", epochs=3
        )


@pytest.mark.parametrize("file", ["checkpoint.safetensors", "best.safetensors"])
def test_a_full_disk_is_an_error_that_keeps_the_last_checkpoint(few, tmp_path, monkeypatch, file):
    save = checkpoint.save_tensors
    writes = []

    def full(tensors, path, metadata=None):
        writes.append(path.name)
        if writes.count(file) == (3 if file == "checkpoint.safetensors" else 2):
            raise OSError(28, "No space left on device")
        return save(tensors, path, metadata)

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    with pytest.raises(TrainingError, match=r"No space left.*epoch 1 is intact"):
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path)
    monkeypatch.undo()
    resumed = fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, resume=True)
    whole = fmae_zoo.train(tiny_spec(), data=few)
    assert_same_bits(weights(whole.model), weights(resumed.model))


def test_a_folder_that_cannot_be_made_is_an_error(few, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot be written"):
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path / "file" / "run")


def test_early_stopping_keeps_the_best_epoch(few):
    history = fmae_zoo.train(
        tiny_spec(), data=few, epochs=40, patience=2, learning_rate=0.3, schedule="constant"
    )
    losses = [row["val_loss"] for row in history.rows]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 2 or len(losses) == 40
    assert history.record.best_epoch == best + 1
    inputs = few.train_images[few.split[1]][..., None].astype("float32") / 255
    error = np.square(history.model.reconstruct(inputs) - inputs).sum(axis=(1, 2, 3)).mean()
    assert error == pytest.approx(losses[best], rel=1e-3)


def test_recipe_changes_are_validated(few):
    with pytest.raises(SpecError, match="did you mean 'epochs'"):
        fmae_zoo.train(tiny_spec(), data=few, epoch=3)
    with pytest.raises(SpecError, match="greater than 0"):
        fmae_zoo.train(tiny_spec(), data=few, epochs=0)


def test_none_takes_an_optional_field_away(few):
    spec = tiny_spec(recipe={"epochs": 1, "patience": 2, "clip_norm": 1.0})
    history = fmae_zoo.train(spec, data=few, patience=None, clip_norm=None)
    assert history.model.spec.recipe.patience is None
    assert history.model.spec.recipe.clip_norm is None


def test_a_recipe_change_does_not_touch_the_registered_spec(few):
    fmae_zoo.register(tiny_spec())
    history = fmae_zoo.train("tiny-ae", data=few, epochs=1)
    assert history.model.spec.recipe.epochs == 1
    assert fmae_zoo.load("tiny-ae").spec.recipe.epochs == 3


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd", "muon"])
def test_every_optimizer_trains(few, optimizer):
    rate = 1e-4 if optimizer == "sgd" else 1e-3
    history = fmae_zoo.train(
        tiny_spec(), data=few, epochs=2, optimizer=optimizer, learning_rate=rate, clip_norm=1.0
    )
    assert history.rows[1]["loss"] < history.rows[0]["loss"]


def test_the_users_own_data_trains(few):
    small = replace(few, train_images=few.train_images[:60], train_labels=few.train_labels[:60])
    history = fmae_zoo.train(tiny_spec(), data=small, epochs=1)
    assert history.record.data_digest == small.digest


def test_kl_warms_up(few):
    history = fmae_zoo.train(tiny_spec(**VAE), data=few, epochs=3)
    first = history.rows[0]
    assert {"reconstruction", "kl", "val_kl"} <= first.keys()
    assert first["loss"] < first["reconstruction"] + first["kl"]


def test_validation_is_by_the_objective_without_its_warm_up(few):
    spec = tiny_spec(**{**VAE, "objective": {"type": "elbo", "kl_warmup_steps": 10**6}})
    row = fmae_zoo.train(spec, data=few, epochs=1).rows[0]
    assert row["val_loss"] == pytest.approx(row["val_reconstruction"] + row["val_kl"], rel=1e-5)
    assert row["loss"] < row["reconstruction"] + 0.01 * row["kl"]


def test_a_run_that_broke_in_its_first_epoch_can_be_begun_again(few, tmp_path):
    with pytest.raises(TrainingError, match="No epoch had been finished"):
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, learning_rate=1e30)
    fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, epochs=1)


def test_there_must_be_something_to_resume(few, tmp_path):
    with pytest.raises(ArgumentError, match="output folder"):
        fmae_zoo.train(tiny_spec(), data=few, resume=True)
    fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, epochs=1)
    (tmp_path / "best.safetensors").unlink()
    with pytest.raises(TrainingError, match="best epoch"):
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, epochs=1, resume=True)


@pytest.mark.parametrize("seed", [-1, 2**31, "1", 1.5])
def test_a_seed_out_of_range_is_refused(few, seed):
    with pytest.raises(ArgumentError, match="seed"):
        fmae_zoo.train(tiny_spec(), data=few, seed=seed)


def test_an_output_without_a_name_is_refused(few):
    for output in ("", 5):
        with pytest.raises(ArgumentError, match="path of a folder"):
            fmae_zoo.train(tiny_spec(), data=few, output=output)


def test_a_second_run_is_kept_out_of_the_folder_while_one_is_training(few, tmp_path):
    refused = []

    def second(*_):
        if not refused:
            with pytest.raises(TrainingError, match="another process is training") as error:
                fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, seed=1)
            refused.append(error)

    fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, progress=second)
    assert refused
    assert fmae_zoo.load(tmp_path).spec == tiny_spec()
    assert find_entry(tmp_path).manifest.training.seed == 0


@pytest.mark.parametrize("what", ["other", "broken"])
def test_a_spec_that_a_person_wrote_is_not_overwritten(few, tmp_path, what):
    text = spec_toml(tiny_spec(name="other")) if what == "other" else "nonsense ["
    (tmp_path / "spec.toml").write_text(text)
    with pytest.raises(ArgumentError, match="another spec"):
        fmae_zoo.train(tiny_spec(), data=few, output=tmp_path)
    with pytest.raises(ArgumentError, match="another spec"):
        fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} - {".lock"} == {"spec.toml"}
    assert (tmp_path / "spec.toml").read_text() == text


def test_a_spec_can_be_trained_where_it_lies_and_keeps_its_comments(few, tmp_path):
    text = "# mine\n" + spec_toml(tiny_spec())
    (tmp_path / "spec.toml").write_text(text)
    fmae_zoo.train(tmp_path, data=few, output=tmp_path)
    assert (tmp_path / "spec.toml").read_text() == text
    checks = {check.name: check.passed for check in fmae_zoo.verify(tmp_path, data=few)}
    assert checks["spec"] is checks["licence"] is True


def test_a_package_under_another_name_does_not_lose_the_training(few, tmp_path, monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    history = fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, epochs=1)
    assert history.record.environment["keras"] == keras.__version__
    assert history.record.environment["scikit-learn"] == "unknown"


def test_images_of_bytes_train_as_those_in_the_unit_range(few):
    losses = []
    for images in (few.train_images[..., None], few.train_images[..., None] / np.float32(255)):
        model = fmae_zoo.Autoencoder(tiny_spec(), seed=1)
        model.compile("adam")
        losses.append(model.fit(images, shuffle=False, verbose=0).history["loss"][-1])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_checkpoint_that_was_altered_or_makes_no_sense_is_not_resumed(few, tmp_path):
    def refused(words):
        with pytest.raises(TrainingError, match=words):
            fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, epochs=2, resume=True)

    fmae_zoo.train(tiny_spec(), data=few, output=tmp_path, epochs=2)
    for name in ("checkpoint.safetensors", "best.safetensors"):
        whole = (tmp_path / name).read_bytes()
        flipped = bytearray(whole)
        flipped[-100] ^= 0x20
        (tmp_path / name).write_bytes(flipped)
        refused("damaged or altered")
        (tmp_path / name).write_bytes(whole)

    path = tmp_path / "checkpoint.safetensors"
    tensors = checkpoint._read(path)
    progress = json.loads(checkpoint._metadata(path)["progress"])
    for change in (
        {"epoch": "2"},
        {"epoch": -2},
        {"epoch": 99},
        {"rows": 5},
        {"best_epoch": 3},
        {"more": 1},
    ):
        checkpoint._write(tensors, path, json.dumps({**progress, **change}))
        refused("not a whole checkpoint")


def test_a_run_of_before_a_key_was_there_is_resumed(few, tmp_path, monkeypatch):
    """A key that came into specs later has its default in a checkpoint that lacks it."""
    spec = tiny_spec()
    kept = training.write_checkpoint

    def of_before(folder, model, progress):
        old = copy.deepcopy(progress.fingerprint)
        del old["spec"]["network"]["gated"]
        kept(folder, model, replace(progress, fingerprint=old))
        if progress.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "write_checkpoint", of_before)
    with pytest.raises(KeyboardInterrupt):
        fmae_zoo.train(spec, data=few, output=tmp_path, epochs=2)
    monkeypatch.setattr(training, "write_checkpoint", kept)
    history = fmae_zoo.train(spec, data=few, output=tmp_path, epochs=2, resume=True)
    assert len(history.rows) == 2
