from pathlib import Path

import pytest

from fmae_zoo import demo
from fmae_zoo.datasets import loading

pytestmark = pytest.mark.usefixtures("eager")

PICTURES = {"confusion.png", "curves.png", "latent-map.png", "reconstructions.png"}


def test_without_any_source_the_demo_runs_on_the_sample_and_says_so(
    tmp_path, monkeypatch, capsys, caplog, few
):
    monkeypatch.setattr(loading, "find_data", lambda: None)
    monkeypatch.setattr(loading, "load_sample", lambda: few)
    for name, value in {"HEAD_EPOCHS": 1, "SCRATCH_EPOCHS": 1, "MAP_IMAGES": 40}.items():
        monkeypatch.setattr(demo, name, value)
    demo.main(tmp_path)
    captured = capsys.readouterr()
    assert "Figures are of the sample" in caplog.text
    assert "of the sample" in captured.out
    assert {path.name for path in Path(tmp_path).iterdir()} == PICTURES
