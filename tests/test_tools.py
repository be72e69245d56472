import importlib
import sys
from dataclasses import replace

import pytest

import fmae_zoo
from fmae_zoo import registry
from fmae_zoo.errors import NoWeightsError
from fmae_zoo.saving import spec_toml
from tests.conftest import ROOT, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    yield importlib.import_module
    for name in ("add_run", "add_seed", "make_readme"):
        sys.modules.pop(name, None)


@pytest.fixture
def spec_folder(tmp_path):
    """A registry entry as a contributor begins it: a spec and nothing else."""
    folder = tmp_path / "registry" / "tiny-ae"
    folder.mkdir(parents=True)
    (folder / "spec.toml").write_text(spec_toml(tiny_spec()), encoding="utf-8")
    return folder


def test_a_run_is_published_beside_its_spec(tool, few, tmp_path, spec_folder, monkeypatch):
    add_run, run = tool("add_run"), tmp_path / "run"
    monkeypatch.setattr(add_run, "FASHION_MNIST_DIGEST", few.digest)
    fmae_zoo.register(spec_folder)
    with pytest.raises(NoWeightsError):
        fmae_zoo.load(spec_folder, pretrained=True)
    history = fmae_zoo.train(tiny_spec(), data=few, output=run)
    assert add_run.add_run(run) == spec_folder
    published = fmae_zoo.load(spec_folder, pretrained=True)
    for one, other in zip(published.get_weights(), history.model.get_weights()):
        assert (one == (other.astype("float16") if other.ndim > 1 else other)).all()
    sizes = [(folder / "encoder.safetensors").stat().st_size for folder in (spec_folder, run)]
    assert sizes[0] < 0.7 * sizes[1]
    checks = fmae_zoo.verify(f"local:{spec_folder}", data=few)
    assert len(checks) > 4
    assert [check for check in checks if check.passed is False] == []
    assert not (spec_folder / "checkpoint.safetensors").exists()


def test_a_run_by_another_spec_is_not_published(tool, few, tmp_path, spec_folder, monkeypatch):
    add_run = tool("add_run")
    monkeypatch.setattr(add_run, "FASHION_MNIST_DIGEST", few.digest)
    fmae_zoo.register(spec_folder)
    fmae_zoo.train(tiny_spec(), data=few, output=tmp_path / "run", epochs=1)
    with pytest.raises(SystemExit, match="another spec"):
        add_run.add_run(tmp_path / "run")
    assert [path.name for path in spec_folder.iterdir()] == ["spec.toml"]


def test_a_run_on_other_data_is_not_published(tool, few, tmp_path, spec_folder):
    fmae_zoo.register(spec_folder)
    fmae_zoo.train(tiny_spec(), data=few, output=tmp_path / "run")
    with pytest.raises(SystemExit, match="not trained on the whole of Fashion-MNIST"):
        tool("add_run").add_run(tmp_path / "run")
    assert [path.name for path in spec_folder.iterdir()] == ["spec.toml"]


def test_other_seeds_are_measured_into_the_manifest(tool, few, tmp_path, spec_folder, monkeypatch):
    add_run, add_seed = tool("add_run"), tool("add_seed")
    monkeypatch.setattr(add_run, "FASHION_MNIST_DIGEST", few.digest)
    monkeypatch.setattr(fmae_zoo, "load_data", lambda name: replace(few, is_sample=False))
    fmae_zoo.train(tiny_spec(), data=few, output=tmp_path / "run")
    fmae_zoo.register(spec_folder)
    add_run.add_run(tmp_path / "run")
    fmae_zoo.train(tiny_spec(), data=few, output=tmp_path / "other", seed=1)
    with pytest.raises(SystemExit, match="another seed"):
        add_seed.add_seed(tmp_path / "run")
    add_seed.add_seed(tmp_path / "other")
    record = registry.find_entry("tiny-ae").manifest.seeds["1"]
    assert record.results["reconstruction"]["mse"] > 0.0
    assert 0.0 <= record.results["knn"]["accuracy"] <= 1.0
    assert record.training.seed == 1
    assert {how.data_digest for how in record.evaluations.values()} == {few.digest}


def test_the_readme_holds_the_figures_of_the_manifests(tool):
    make_readme = tool("make_readme")
    text = make_readme.README.read_text(encoding="utf-8")
    assert make_readme.with_tables(make_readme.README, {"models": make_readme.table()}) == text
    manifest = registry.find_entry("dense-ae").manifest
    row = next(line for line in text.splitlines() if line.startswith("| `dense-ae` | 32 |"))
    assert f"{manifest.results['reconstruction']['mse']:.5f}" in row


def test_a_readme_with_other_figures_is_told_apart(tool, tmp_path, monkeypatch):
    make_readme = tool("make_readme")
    text = make_readme.README.read_text(encoding="utf-8").replace("| `conv-ae-bn` | 128 |", "| x |")
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    monkeypatch.setattr(make_readme, "README", tmp_path / "README.md")
    monkeypatch.setattr(sys, "argv", ["make_readme.py", "--check"])
    with pytest.raises(SystemExit, match="make readme"):
        make_readme.main()
