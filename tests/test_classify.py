"""`classify`: a head on a pretrained encoder, then both, and what is left in a folder."""

import json
from dataclasses import replace

import numpy as np
import pytest

import fmae_zoo
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError
from tests.conftest import tiny_spec

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def data(few):
    return replace(few, is_sample=False)


@pytest.fixture
def saved(tmp_path):
    return fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=1), tmp_path / "model")


def test_both_stages_are_trained_told_of_and_saved(saved, data, tmp_path):
    said = []
    # Integers of NumPy, as loops over arrays give them.
    done = fmae_zoo.classify(
        saved,
        fine_tune=True,
        epochs=np.int64(1),
        tune_epochs=np.int64(1),
        seed=np.int64(3),
        data=data,
        output=tmp_path / "out",
        stage=lambda name: said.append(f"begin {name}"),
        progress=lambda epoch, logs: said.append((epoch, sorted(logs))),
        done=lambda name, report: said.append((f"end {name}", report["accuracy"])),
    )
    epoch = (0, ["accuracy", "loss", "val_accuracy", "val_loss"])
    reports = done.reports
    assert said == [
        "begin frozen",
        epoch,
        ("end frozen", reports["frozen"]["accuracy"]),
        "begin fine_tuned",
        epoch,
        ("end fine_tuned", reports["fine_tuned"]["accuracy"]),
    ]
    assert done.classifier.encoder.trainable
    same = fmae_zoo.load(f"local:{tmp_path / 'out'}")
    np.testing.assert_array_equal(
        same.predict(data.test_images), done.classifier.predict(data.test_images)
    )
    manifest = Entry.read(tmp_path / "out").manifest
    assert manifest.results["fine_tuned"]["accuracy"] == reports["fine_tuned"]["accuracy"]
    assert manifest.evaluations["fine_tuned"].seed == 3
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["frozen"]["accuracy"] == reports["frozen"]["accuracy"]


def test_without_an_output_nothing_is_written_and_it_can_be_saved_later(saved, data, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = fmae_zoo.classify(saved, epochs=1, data=data)
    assert sorted(tmp_path.rglob("*")) == before
    assert list(done.reports) == ["frozen"]
    assert not done.classifier.encoder.trainable
    folder = done.save(tmp_path / "later")
    assert (folder / "confusion-frozen.png").is_file()
    assert "frozen_head" in Entry.read(folder).manifest.results


def test_a_full_disk_comes_after_the_report(saved, data, tmp_path, monkeypatch):
    from fmae_zoo.evaluation import classify

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(classify, "save", full)
    told = []
    with pytest.raises(OSError, match="No space"):
        fmae_zoo.classify(
            saved, epochs=1, data=data, output=tmp_path / "out", done=lambda *one: told.append(one)
        )
    assert [name for name, _ in told] == ["frozen"]


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"seed": -1}, {"tune_epochs": 1.5}, {"output": ""}]
)
def test_wrong_arguments_are_refused_before_the_training(saved, data, wrong):
    with pytest.raises(ArgumentError):
        fmae_zoo.classify(saved, data=data, progress=pytest.fail, **wrong)
