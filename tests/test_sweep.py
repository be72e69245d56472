"""Sweeps: the space, the trials, stopping and going on, and what is chosen by what."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import plots
from fmae_zoo.errors import ArgumentError, DataError, SpecError, TrainingError
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.saving import spec_toml
from fmae_zoo.sweeping import running, sweep as sweeping
from fmae_zoo.sweeping.criterion import CRITERIA
from fmae_zoo.sweeping.space import Axis, Space
from fmae_zoo.sweeping.sweep import sweep
from fmae_zoo.training.checkpoint import alone_in, history_csv, read_progress
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

SPEC = tiny_spec(
    network={"type": "dense", "units": [8]}, recipe={"epochs": 1, "batch_size": 64}, name="tiny-ae"
)


@pytest.fixture
def swept(few, tmp_path, monkeypatch):
    """Sweep the small spec in this process; the folder is that of the test."""
    monkeypatch.setattr(plots, "plot_curves", lambda *args, **options: None)

    def run(space, **options):
        settings = {"output": tmp_path / "sweep", "objective": "loss", "jobs": 0, "data": few}
        return sweep(SPEC, space, **settings | options)

    return run


class Stop:
    """Interrupts at a given call."""

    def __init__(self, at):
        self.left = at

    def __call__(self, *_):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.once
@pytest.mark.parametrize(
    ("values", "axis"),
    [
        (np.array([16, 32]), {"choices": (16, 32)}),
        ([np.float32(0.5), None], {"choices": (0.5, None)}),
        ("16,32", {"choices": (16, 32)}),
        ("adam, sgd,", {"choices": ("adam", "sgd", None)}),
        ("[8,4],[6]", {"choices": ([8, 4], [6])}),
        ("true,false", {"choices": (True, False)}),
        ([16, None], {"choices": (16, None)}),
        ("0.5:1", {"low": 0.5, "high": 1.0}),
        ("log:1e-4:1e-2", {"low": 1e-4, "high": 1e-2, "log": True}),
        ("int:8:64", {"low": 8, "high": 64, "whole": True}),
        ("log:int:8:64", {"low": 8, "high": 64, "log": True, "whole": True}),
    ],
)
def test_values_as_text(values, axis):
    assert Axis.parse("key", values) == Axis("key", **axis)


@pytest.mark.once
@pytest.mark.parametrize("values", ["", "2:1", "log:0:1", "int:1:2.5", "a:b", "1,1", 3, "1:inf"])
def test_text_that_gives_no_values_is_refused(values):
    with pytest.raises(ArgumentError, match=r"^some\.key: "):
        Axis.parse("some.key", values)


@pytest.mark.once
@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"latent.sise": "8,16"}, "latent.sise: no such key (did you mean 'size'?)"),
        ({"latnt.size": "8,16"}, "latnt: no such key (did you mean 'latent'?)"),
        ({"recipe.epochs.of": "8"}, "recipe.epochs is no table"),
        ({"latent.size": "8,0"}, "tiny-ae with latent.size = 0: latent.size: Input should be"),
        ({"latent.size": "8:16"}, "latent.size: Input should be a valid integer"),
        ({"recipe.optimizer": "adam,adom"}, "recipe.optimizer: Input should be 'adam'"),
    ],
)
def test_a_key_or_value_that_the_spec_refuses_is_named(space, words):
    with pytest.raises(SpecError) as error:
        Space.parse(SPEC, space)
    assert words in str(error.value)


@pytest.mark.once
def test_a_value_that_fits_only_with_others_is_taken():
    space = {"recipe.momentum": "0.0,0.9", "recipe.optimizer": "sgd,adam"}
    assert Space.parse(SPEC, space).axes[0].choices == (0.0, 0.9)
    assert Space.parse(SPEC, {"network.units": "[8,4],[6]"}).axes[0].choices == ([8, 4], [6])
    with pytest.raises(ArgumentError, match="name: a sweep does not change this"):
        Space.parse(SPEC, {"name": "other"})


def test_a_grid_is_covered_and_what_does_not_fit_together_fails(swept, tmp_path):
    rows = []
    space = {"recipe.momentum": "0.0,0.9", "recipe.optimizer": "sgd,adam"}
    found = swept(space, sampler="grid", progress=rows.append)
    pairs = {(row["recipe.momentum"], row["recipe.optimizer"]): row for row in found.trials}
    assert len(found.trials) == len(pairs) == 4
    assert rows == found.trials
    refused = pairs[0.9, "adam"]
    assert refused["state"] == "fail"
    assert "adam has none" in refused["message"]
    values = [row["value"] for row in found.trials if row["state"] == "complete"]
    assert len(values) == 3
    assert found.best_value == min(values)
    with (tmp_path / "sweep" / "trials.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["state"] for row in table] == [row["state"] for row in found.trials]
    names = [path.name for path in found.plots]
    assert names == ["parallel.png", "importance.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in found.plots)


def test_the_best_folder_trains_with_its_own_epochs_and_is_registered(swept, few, tmp_path):
    spec = tiny_spec(recipe={"epochs": 2, "batch_size": 64})
    found = sweep(
        spec,
        {"network.units": [[8, 4], [6]], "recipe.learning_rate": "log:1e-3:1e-2"},
        output=tmp_path / "sweep",
        objective="mse",
        trials=2,
        sampler="random",
        epochs=1,
        jobs=0,
        data=few,
        name="tiny-swept",
    )
    assert [row["epochs"] for row in found.trials] == [1, 1]
    assert all(1e-3 <= row["recipe.learning_rate"] <= 1e-2 for row in found.trials)
    assert fmae_zoo.register(found.best_folder) == "tiny-swept.fmnist"
    best = fmae_zoo.ModelSpec.from_toml(found.best_folder)
    assert best.recipe.learning_rate == found.best["recipe.learning_rate"]
    assert json.dumps(list(best.network.units)) == found.best["network.units"]
    assert fmae_zoo.train(found.best_folder, data=few).record.epochs == 2
    model = fmae_zoo.load(f"local:{found.best_run}", pretrained=True)
    images = few.train_images[few.split[1]]
    errors = model.reconstruct(images) - images[..., None] / 255.0
    assert np.mean(errors**2) == pytest.approx(found.best_value, rel=1e-4)


@pytest.mark.once
def test_stopped_it_goes_on_and_counts_each_trial_once(swept, tmp_path, monkeypatch):
    from fmae_zoo.training import loop

    space = {"latent.size": "int:2:16", "recipe.learning_rate": "log:1e-4:1e-2"}
    whole = swept(space, trials=2, epochs=2, output=tmp_path / "whole")
    stop, write = Stop(at=5), loop.write_checkpoint

    def write_then_stop(folder, model, progress):
        write(folder, model, progress)
        stop()  # A trial writes three; the second one has then finished its first epoch.

    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_checkpoint", write_then_stop)
        with pytest.raises(KeyboardInterrupt):
            swept(space, trials=2, epochs=2)
    begun = tmp_path / "sweep" / "trials" / "0001"
    progress = read_progress(begun)
    assert progress.epoch == 1
    found = swept(space, trials=2, epochs=2)
    rows = (begun / "history.csv").read_text().splitlines()
    assert rows[:2] == history_csv(progress.rows).splitlines()
    assert len(rows) == 3
    times = {"seconds": 0.0}
    assert [row | times for row in found.trials] == [row | times for row in whole.trials]
    assert [row["trial"] for row in swept(space, trials=3, epochs=2).trials] == [0, 1, 2]
    with pytest.raises(ArgumentError, match="a sweep here with another spec, seed"):
        swept(space, trials=3, epochs=1, seed=1)


@pytest.mark.once
def test_a_trial_that_another_process_trains_is_waited_for(swept, tmp_path, monkeypatch):
    stop = Stop(at=1)
    with monkeypatch.context() as patch:
        patch.setattr("fmae_zoo.sweeping.trial.run", stop)
        with pytest.raises(KeyboardInterrupt):
            swept({"latent.size": "2,3"}, trials=2)
    with (
        alone_in(tmp_path / "sweep" / "trials" / "0000", resume=False),
        pytest.raises(TrainingError, match="another process is training here"),
    ):
        swept({"latent.size": "2,3"}, trials=2)
    found = swept({"latent.size": "2,3"}, trials=2)
    assert [row["state"] for row in found.trials] == ["complete", "complete"]


@pytest.mark.once
def test_the_process_of_a_trial_ends_with_its_sweep(tmp_path):
    words = ["-m", "fmae_zoo.sweeping", str(tmp_path), "--seed", "0", "-o", str(tmp_path / "run")]
    words += ["--data", str(tmp_path / "none"), "--objective", "loss", "--parent", "1"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "The sweep has ended" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.once
def test_the_crash_of_a_trial_ends_no_other(swept, monkeypatch):
    from fmae_zoo.sweeping import trial

    train = trial.train

    def crash(source, **options):
        if fmae_zoo.ModelSpec.from_toml(source).latent.size == 3:
            raise ZeroDivisionError("by zero")
        return train(source, **options)

    monkeypatch.setattr(trial, "train", crash)
    found = swept({"latent.size": "2,3"}, sampler="grid")
    states = {row["latent.size"]: (row["state"], row["message"]) for row in found.trials}
    assert states == {2: ("complete", ""), 3: ("fail", "ZeroDivisionError: by zero")}
    again = swept({"latent.size": "2,3"}, sampler="grid")
    assert [row["state"] for row in again.trials] == [row["state"] for row in found.trials]


@pytest.mark.once
def test_if_all_fail_the_last_message_is_raised(swept):
    with pytest.raises(TrainingError, match=r"no trial has finished.*learning rate"):
        swept({"recipe.learning_rate": [1e30]}, trials=1)


@pytest.mark.once
@pytest.mark.parametrize("objective", ["loss", "knn"])
def test_a_bad_trial_is_pruned_whatever_the_direction(swept, monkeypatch, objective):
    monkeypatch.setattr(sweeping, "UNPRUNED", 1)
    rates = [1e-2, 1e-7]
    monkeypatch.setattr(running.random.Random, "shuffle", lambda self, grid: None)
    found = swept({"recipe.learning_rate": rates}, sampler="grid", epochs=3, objective=objective)
    assert [row["state"] for row in found.trials] == ["complete", "pruned"]
    assert found.trials[1]["value"] is None
    assert 1 <= found.trials[1]["epochs"] < 3


@pytest.mark.once
def test_losses_of_other_objectives_are_not_compared(few, tmp_path):
    spec = tiny_spec(latent={"type": "gaussian", "size": 4}, objective={"type": "elbo"})
    with pytest.raises(ArgumentError, match="changes what the loss is"):
        sweep(spec, {"objective.beta": "1.0,4.0"}, output=tmp_path, objective="loss", data=few)


@pytest.mark.once
def test_test_images_decide_nothing(swept, few, tmp_path):
    rng = np.random.default_rng(0)
    garbage = replace(
        few,
        test_images=rng.integers(0, 255, few.test_images.shape, dtype=np.uint8),
        test_labels=np.zeros_like(few.test_labels),
    )
    options = {"sampler": "grid", "objective": "linear_probe"}
    real, other = (
        swept({"latent.size": "2,6"}, data=data, output=tmp_path / name, **options)
        for name, data in (("real", few), ("garbage", garbage))
    )
    assert [row["value"] for row in real.trials] == [row["value"] for row in other.trials]
    assert real.best_value == max(row["value"] for row in real.trials)
    assert real.best["trial"] == other.best["trial"]
    model = fmae_zoo.load(f"local:{real.best_run}", pretrained=True)
    for name in ("knn", "mse"):
        measure = CRITERIA[name].measure
        assert measure(None, Subject(model, few)) == measure(None, Subject(model, garbage))
    evaluated = fmae_zoo.evaluate(model, ["linear_probe"], data=few)["linear_probe"]
    assert evaluated["validation_accuracy"] == pytest.approx(real.best_value, abs=0.03)


@pytest.mark.once
def test_wrong_arguments_are_told_before_anything_is_written(swept, few, tmp_path):
    space = {"latent.size": "2,4"}
    for wrong, words in (
        ({"objective": "frechet"}, "expected one of linear_probe, knn, mse, loss"),
        ({"sampler": "annealing"}, "expected one of tpe, random, grid"),
        ({"trials": 0}, "trials is 0"),
        ({"jobs": -1}, "jobs is -1"),
    ):
        with pytest.raises(ArgumentError, match=words):
            swept(space, **wrong)
    for given, words in (
        ({3: "2,4"}, "expected a key of the spec"),
        ({"latent.size": 4}, "expected a list of values"),
    ):
        with pytest.raises(ArgumentError, match=words):
            swept(given)
    with pytest.raises(SpecError, match=r"Integers: int:2:64"):
        swept({"latent.size": "2:64"})
    with pytest.raises(ArgumentError, match="choose another objective"):
        swept({"objective": [{"type": "squared_error"}, {"type": "contractive"}]})
    with pytest.raises(ArgumentError, match="a grid needs values"):
        swept({"latent.size": "int:2:4"}, sampler="grid")
    unlabelled = replace(few, train_labels=None, test_labels=None)
    with pytest.raises(DataError, match="has no labels"):
        swept(space, objective="knn", data=unlabelled)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.once
def test_without_optuna_the_extra_is_named(swept, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ArgumentError, match=r'pip install "fmae-zoo\[sweep\]"'):
        swept({"latent.size": "2,4"})


@pytest.fixture
def command(fmae, monkeypatch):
    return lambda *words: fmae("sweep", *words)


def test_the_command_trains_in_a_process_and_tells_what_was_found(command, idx, tmp_path):
    spec = tmp_path / "mine" / "spec.toml"
    spec.parent.mkdir()
    spec.write_text(spec_toml(SPEC))
    words = (spec.parent, "--set", "latent.size=int:2:6", "--trials", 1)
    words += ("--objective", "knn", "--data", idx, "-o", tmp_path / "sweep")
    code, out, err = command(*words, "--json")
    assert code == 0, err
    assert "trial 0: 0." in err
    content = json.loads(out)
    assert content["best"] == content["trials"][0] | {
        "spec": str(tmp_path / "sweep" / "best"),
        "run": str(tmp_path / "sweep" / "trials" / "0000"),
    }
    assert fmae_zoo.load(f"local:{content['best']['run']}", pretrained=True)
    code, out, _ = command(*words)
    assert code == 0
    assert "latent.size" in out
    assert f"{content['best']['value']:.4f}" in out


@pytest.mark.once
def test_wrong_usage_of_the_command_is_told(command):
    assert command("dense-ae")[0] == 2
    code, _, err = command("dense-ae", "--set", "latent.size")
    assert code == 2
    assert "expected KEY=VALUES" in " ".join(err.split())
    code, _, err = command("dense-ae", "--set", "latent.sise=2")
    assert code == 1
    assert "did you mean 'size'" in " ".join(err.split())
