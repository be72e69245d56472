"""Callbacks of Keras in `train`, and the trackers that `--log` names."""

import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import fmae_zoo
from fmae_zoo.cli import cli
from fmae_zoo.errors import ArgumentError, TrainingError
from fmae_zoo.saving import spec_toml
from fmae_zoo.training.tracking import tracker
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")


class Recorder(keras.callbacks.Callback):
    def __init__(self, stop_after=None):
        super().__init__()
        self.seen, self.logs, self.stop_after = [], [], stop_after

    def on_train_begin(self, logs=None):
        self.seen.append("begin")

    def on_train_end(self, logs=None):
        self.seen.append("end")

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append("batch")

    def on_test_begin(self, logs=None):
        self.seen.append("test")

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(logs)
        self.model.stop_training = epoch == self.stop_after


def losses(row):
    return {name: value for name, value in row.items() if name != "epoch"}


def test_a_callback_sees_one_training(few):
    recorder = Recorder()
    plain = fmae_zoo.train(tiny_spec(), data=few, batch_size=96)
    history = fmae_zoo.train(tiny_spec(), data=few, batch_size=96, callbacks=[recorder])
    epoch = ["batch", "batch", "test"]
    assert recorder.seen == ["begin", 0, *epoch, 1, *epoch, 2, *epoch, "end"]
    assert recorder.logs == list(map(losses, history.rows))
    for one, other in zip(plain.model.weights, history.model.weights):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)))


@pytest.mark.once
def test_a_callback_ends_the_training_and_the_run_can_go_on(few, tmp_path):
    folder, recorder = tmp_path / "run", Recorder(stop_after=0)
    history = fmae_zoo.train(tiny_spec(), data=few, output=folder, callbacks=[recorder])
    assert len(history.rows) == 1
    assert recorder.seen[-1] == "end"
    again = Recorder()
    whole = fmae_zoo.train(tiny_spec(), data=few, output=folder, resume=True, callbacks=[again])
    assert [row["epoch"] for row in whole.rows] == [1, 2, 3]
    assert [each for each in again.seen if isinstance(each, int)] == [1, 2]


def test_callbacks_of_keras_work(few, tmp_path):
    callbacks = [
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.01 / (epoch + 1)),
        keras.callbacks.EarlyStopping("val_loss", min_delta=1e9),
        keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"), save_best_only=True),
    ]
    constant = {"schedule": "constant", "warmup_epochs": 0}
    history = fmae_zoo.train(tiny_spec(), data=few, callbacks=callbacks, **constant)
    # Keras compares the second epoch with the first.
    assert [row["learning_rate"] for row in history.rows] == pytest.approx([0.01, 0.005])
    assert (tmp_path / "1.keras").is_file()
    titles, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert titles.split(",").count("epoch") == 1
    found = [float(dict(zip(titles.split(","), row.split(",")))["val_loss"]) for row in rows]
    assert found == pytest.approx([row["val_loss"] for row in history.rows])


@pytest.mark.once
def test_what_is_no_callback_is_refused(few):
    with pytest.raises(ArgumentError, match="expected Keras' callbacks; received <function"):
        fmae_zoo.train(tiny_spec(), data=few, callbacks=[lambda: None])
    with pytest.raises(ArgumentError, match="expected a list of callbacks"):
        fmae_zoo.train(tiny_spec(), data=few, callbacks=Recorder())
    backup = keras.callbacks.BackupAndRestore("folder")
    with pytest.raises(ArgumentError, match="resume=True"):
        fmae_zoo.train(tiny_spec(), data=few, callbacks=[backup])


@pytest.mark.once
def test_a_callback_is_told_of_the_end_of_a_training_that_fails(few):
    recorder = Recorder()
    with pytest.raises(TrainingError, match="NaN or infinite"):
        fmae_zoo.train(tiny_spec(), data=few, learning_rate=1e30, callbacks=[recorder])
    assert recorder.seen[-1] == "end"


@pytest.mark.once
def test_tensorboard_has_the_losses(few, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    spec = tiny_spec()
    callback = tracker("tensorboard", spec, tmp_path)
    history = fmae_zoo.train(spec, data=few, callbacks=[callback])
    events = EventAccumulator(str(tmp_path / "logs" / "train"), {"tensors": 0})
    events.Reload()
    found = [
        float(np.frombuffer(each.tensor_proto.tensor_content, np.float32)[0])
        if each.tensor_proto.tensor_content
        else each.tensor_proto.float_val[0]
        for each in events.Tensors("epoch_loss")
    ]
    assert found == pytest.approx([row["loss"] for row in history.rows])


class Tracker(SimpleNamespace):
    """Takes calls as the modules of wandb, trackio and MLflow do, and keeps them."""

    def __init__(self):
        super().__init__(calls=[])

    def __getattr__(self, name):
        return lambda *args, **named: self.calls.append((name, args, named))


@pytest.mark.once
@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_wandb_and_trackio_get_a_run(name, few, tmp_path, monkeypatch):
    module, spec = Tracker(), tiny_spec()
    monkeypatch.setitem(sys.modules, name, module)
    history = fmae_zoo.train(spec, data=few, callbacks=[tracker(name, spec, tmp_path, seed=3)])
    (first, _, run), *epochs, (last, _, _) = module.calls
    assert (first, last) == ("init", "finish")
    assert run["name"] == f"{spec.full_name}-seed3"
    assert run["config"]["recipe"]["epochs"] == 3
    assert epochs == [
        ("log", (losses(row),), {"step": step}) for step, row in enumerate(history.rows, 1)
    ]


@pytest.mark.once
def test_mlflow_gets_a_run(few, tmp_path, monkeypatch):
    module, spec = Tracker(), tiny_spec()
    monkeypatch.setitem(sys.modules, "mlflow", module)
    history = fmae_zoo.train(spec, data=few, callbacks=[tracker("mlflow", spec, tmp_path)])
    names = [name for name, _, _ in module.calls]
    assert names == ["set_experiment", "start_run", "log_params", *["log_metrics"] * 3, "end_run"]
    assert module.calls[3][1:] == ((losses(history.rows[0]),), {"step": 1})


@pytest.mark.once
def test_a_tracker_that_is_not_installed_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ArgumentError, match=r'pip install "fmae-zoo\[wandb\]"'):
        tracker("wandb", tiny_spec(), tmp_path)
    with pytest.raises(ArgumentError, match="expected one of tensorboard"):
        tracker("tensorbord", tiny_spec(), tmp_path)


@pytest.mark.once
def test_the_command_logs(few, tmp_path, monkeypatch):
    module = Tracker()
    monkeypatch.setitem(sys.modules, "trackio", module)
    monkeypatch.setattr("fmae_zoo.datasets.load_named", lambda name: few)
    source = tmp_path / "spec"
    source.mkdir()
    (source / "spec.toml").write_text(spec_toml(tiny_spec()))
    words = ["train", str(source), "-o", str(tmp_path / "run"), "--log", "trackio"]
    words += ["--learning-rate", "0.005"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert [name for name, _, _ in module.calls] == ["init", "log", "log", "log", "finish"]
    assert module.calls[0][2]["config"]["recipe"]["learning_rate"] == 0.005
    (tmp_path / "run" / "logs").mkdir()  # Of TensorBoard.
    assert fmae_zoo.push(tmp_path / "run", "me/tiny", dry_run=True).changed is False
    refused = CliRunner().invoke(cli, ["train", "--all", "--log", "trackio"])
    assert refused.exit_code == 2
