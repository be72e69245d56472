from pathlib import Path

import pytest

from fmae_zoo import datasets, demo
from fmae_zoo.errors import FmaeError

pytestmark = pytest.mark.usefixtures("eager")

PICTURES = {"confusion.png", "curves.png", "latent-map.png", "reconstructions.png"}


def test_without_any_source_the_demo_runs_on_the_sample_and_says_so(
    tmp_path, monkeypatch, capsys, few
):
    monkeypatch.setattr(demo, "find_data", lambda report: None)
    monkeypatch.setattr(demo, "load_sample", lambda: few)
    for name, value in {"HEAD_EPOCHS": 1, "SCRATCH_EPOCHS": 1, "MAP_IMAGES": 40}.items():
        monkeypatch.setattr(demo, name, value)
    demo.main(tmp_path)
    captured = capsys.readouterr()
    assert "all figures below are of the sample" in " ".join(captured.err.split())
    assert "of the sample" in captured.out
    assert {path.name for path in Path(tmp_path).iterdir()} == PICTURES


def test_a_failing_source_is_shown(monkeypatch, capsys):
    def find(report):
        report("Keras download", FmaeError("no network"))

    monkeypatch.setattr(demo, "find_data", find)
    assert demo._find_data().is_sample
    assert "Keras download: no network" in capsys.readouterr().err
    assert datasets.load_sample().is_sample
