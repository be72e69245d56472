"""The README's examples do what they say."""

import json
import re
import runpy
import shlex

import keras
import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import cli
from fmae_zoo.component import any_of
from fmae_zoo.datasets import loading
from fmae_zoo.latents import LatentComponent
from fmae_zoo.networks import NetworkComponent
from fmae_zoo.objectives import ObjectiveComponent
from tests.conftest import ROOT, tiny_spec

README = (ROOT / "README.md").read_text()
BLOCKS = README.split("```")[1::2]
PYTHON, HUB_PYTHON, KERAS_PYTHON = (
    block.removeprefix("python") for block in BLOCKS if block.startswith("python")
)
COMMAND_LINES = re.findall(r"fmae [a-z]+(?: \S+)*", "\n".join(BLOCKS))


def test_the_python_example_runs(few, monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "find_data", lambda: few)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(PYTHON, "README.md", "exec"), names)
    count = len(few.test_images)
    assert names["z"].shape == (count, 128)
    assert names["x"].shape == (count, 28, 28, 1)
    assert 0.0 <= names["x"].min() <= names["x"].max() <= 1.0
    assert set(names["result"]) == {"reconstruction", "knn"}
    assert np.isfinite(names["result"]["reconstruction"]["mse"])
    assert {path.name for path in (tmp_path / "my-model").iterdir()} >= {"spec.toml"}


def test_every_part_that_a_spec_can_name_is_in_the_readme():
    bases = (NetworkComponent, LatentComponent, ObjectiveComponent)
    for package, base in zip(("networks", "latents", "objectives"), bases):
        for kind in any_of(f"fmae_zoo.{package}", base).__args__[0].__args__:
            assert f"`{kind.model_fields['type'].annotation.__args__[0]}`" in README


def test_the_examples_of_the_hub_run(hub, monkeypatch, images, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    model = fmae_zoo.Autoencoder(tiny_spec(), seed=3)
    names = {"fmae_zoo": fmae_zoo, "keras": keras, "ae": model}
    exec(compile(HUB_PYTHON, "README.md", "exec"), names)
    assert names["url"] == f"{hub.url}/me/conv-ae-bn-mine"
    assert names["ae"] is not model
    codes = names["ae"].encode(images)
    np.testing.assert_array_equal(codes, model.encode(images))
    found = fmae_zoo.search(author="me", tag="deterministic")
    assert [each.source for each in found] == ["hf://me/conv-ae-bn-mine"]
    exec(compile(KERAS_PYTHON, "README.md", "exec"), names)
    floats = images[..., None].astype("float32") / 255.0
    np.testing.assert_allclose(names["encoder"].predict(floats, verbose=0), codes, atol=1e-5)


def test_there_are_command_lines():
    assert {line.split()[1] for line in COMMAND_LINES} == set(cli.COMMANDS)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_line_is_parsed(line):
    _, name, *words = shlex.split(line)
    command = cli.cli.get_command(None, name)
    assert command.make_context(name, words)


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "registry/RESULTS.md"]
)
def test_every_link_to_a_file_leads_to_one(name):
    file = ROOT / name
    links = re.findall(r"\]\(([^)#:]+)\)", file.read_text(encoding="utf-8"))
    assert not [link for link in links if not (file.parent / link).exists()]
    assert links or name != "README.md"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_nothing_is_left_to_be_filled_in(name):
    hub = {"HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET"}
    found = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", (ROOT / name).read_text(encoding="utf-8")))
    assert found <= hub | {"FMAE_PLAIN_KERAS"}


def test_the_figures_of_the_hub_are_those_measured():
    code = runpy.run_path(str(ROOT / "benchmarks" / "hub.py"))
    results = json.loads((ROOT / "benchmarks" / "hub.json").read_text(encoding="utf-8"))
    assert code["table"](results) == (ROOT / "benchmarks" / "hub.md").read_text(encoding="utf-8")
    for row in results["backends"].values():
        assert (row["requests"]["commit"], row["requests"]["bundled"]) == (0, 0)
