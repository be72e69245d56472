"""Many trainings by one command."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import registry
from fmae_zoo.entry import Entry
from fmae_zoo.saving import spec_toml
from fmae_zoo.training.many import jobs_of, train_all
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")

SHORT = {"epochs": 2, "batch_size": 64}


@pytest.fixture
def specs(tmp_path):
    """Folders of two specs: the second one's training fails."""
    folders = []
    for name, recipe in (("good-ae", SHORT), ("bad-ae", SHORT | {"learning_rate": 1e30})):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "spec.toml").write_text(spec_toml(tiny_spec(name=name, recipe=recipe)))
        folders.append(str(folder))
    return folders


def test_each_is_trained_and_a_failure_ends_no_other(specs, idx, tmp_path, fmae, monkeypatch):
    monkeypatch.setattr(registry, "list_models", lambda: specs)
    words = ("train", "--all", "--data", idx, "-o", tmp_path / "runs", "--json")
    code, out, err = fmae(*words)
    assert code == 1
    good, bad = specs
    states = {each["name"]: each["state"] for each in json.loads(out)}
    assert states == {good: "done", bad: "failed"}
    assert "learning rate" in " ".join(err.split())
    trained = Entry.read(tmp_path / "runs" / "good-ae-seed0")
    assert trained.manifest.training.epochs == 2
    manifest = (tmp_path / "runs" / "good-ae-seed0" / "manifest.json").stat()
    monkeypatch.setattr(registry, "list_models", lambda: [good])
    code, out, _ = fmae(*words)
    assert (code, json.loads(out)[0]["state"]) == (0, "done")
    assert (trained.folder / "manifest.json").stat().st_mtime_ns == manifest.st_mtime_ns


@pytest.mark.once
def test_missing_leaves_out_what_has_weights(specs, tmp_path, few):
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(name="good-ae", recipe=SHORT)), specs[0])
    missing = jobs_of(specs, [0], tmp_path, missing=True, data=few)
    assert [job.name for job in missing] == [specs[1]]
    names = [job.name for job in jobs_of(specs, [0, 1], tmp_path, data=few)]
    assert names == [specs[1], specs[0]] * 2


@pytest.mark.once
def test_a_run_of_another_spec_seed_or_data_is_not_taken_for_done(specs, few, tmp_path):
    runs = tmp_path / "runs"
    [job] = jobs_of(specs[:1], [0], runs, data=few)
    fmae_zoo.train(specs[0], data=few, output=job.folder)
    assert job.is_done
    assert job.epochs == 2
    for changes in (
        {"spec": tiny_spec(name="good-ae", recipe=SHORT | {"epochs": 3})},
        {"spec": tiny_spec(name="good-ae", recipe=SHORT, network={"type": "dense", "units": [7]})},
        {"seed": 1},
        {"data_digest": "0" * 64},
    ):
        assert not replace(job, **changes).is_done
    [job] = jobs_of(specs[:1], [1], runs, recipe={"epochs": 1}, data=few)
    fmae_zoo.train(specs[0], data=few, output=job.folder, seed=1, epochs=1)
    assert job.is_done


@pytest.mark.once
def test_a_training_that_cannot_begin_ends_no_other(specs, idx, few, tmp_path):
    jobs = jobs_of([specs[0]], [0, 1], tmp_path / "runs", data=few)
    jobs[0].folder.parent.mkdir()
    jobs[0].folder.write_text("a file")
    train_all(jobs, words=["--data", str(idx)])
    assert [job.state for job in jobs] == ["failed", "done"]
    assert "cannot be written" in jobs[0].last_words()


@pytest.mark.once
def test_stopped_it_goes_on_where_it_was(specs, idx, tmp_path):
    long = tmp_path / "good-ae" / "spec.toml"
    spec = tiny_spec(name="good-ae", recipe=SHORT | {"epochs": 50_000})
    long.write_text(spec_toml(spec))
    [job] = jobs_of(specs[:1], [0], tmp_path / "runs", data=fmae_zoo.load_data(idx))
    words = ["--data", str(idx)]

    def stop(jobs):
        if jobs[0].epochs >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_all([job], words=words, report=stop)
    stopped = job.epochs
    assert 2 <= stopped < 50_000
    time.sleep(0.5)
    assert job.epochs == stopped, "the training went on"
    rows = (job.folder / "history.csv").read_bytes().split(b"\n")[: stopped + 1]
    seen = []

    def report(jobs):
        seen.append(jobs[0].epochs)
        if seen[-1] > stopped:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_all([job], words=words, report=report)
    assert (job.folder / "history.csv").read_bytes().split(b"\n")[: stopped + 1] == rows
    assert np.all(np.diff(seen) >= 0)


@pytest.mark.once
def test_wrong_usage_is_told(fmae):
    assert fmae("train")[0] == 2
    assert fmae("train", "dense-ae", "--all")[0] == 2
    code, _, err = fmae("train", "dense-ae", "--missing")
    assert code == 2
    assert "for --all" in err
