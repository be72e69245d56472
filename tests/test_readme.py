"""The documents beside the guides: links, and figures that are those measured."""

import json
import re
import runpy

import pytest

from tests.conftest import ROOT


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
    hub = {"HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET", "KERAS_BACKEND"}
    found = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", (ROOT / name).read_text(encoding="utf-8")))
    assert found <= hub | {"FMAE_PLAIN_KERAS"}


def test_the_figures_of_the_hub_are_those_measured():
    code = runpy.run_path(str(ROOT / "benchmarks" / "hub.py"))
    results = json.loads((ROOT / "benchmarks" / "hub.json").read_text(encoding="utf-8"))
    assert code["table"](results) == (ROOT / "benchmarks" / "hub.md").read_text(encoding="utf-8")
    for row in results["backends"].values():
        assert (row["requests"]["commit"], row["requests"]["bundled"]) == (0, 0)
