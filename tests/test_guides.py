"""The examples of README and guides do what they say, and the site can be built from them."""

import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

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

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
GUIDES = ROOT / "docs" / "guides"


def blocks(path: Path, language: str) -> list[str]:
    """Return the code blocks of a page that are of a language; "" for those without one."""
    found = re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)
    return [text for of, text in found if of == language]


def run(path: Path, **names) -> dict:
    """Run the Python blocks of a page one after another; return the names that they define."""
    for block in blocks(path, "python"):
        exec(compile(block, path.name, "exec"), names)
    return names


@pytest.fixture
def at_home(few, monkeypatch, tmp_path):
    """An empty folder to work in, and a few images in place of the whole data set."""
    monkeypatch.setattr(loading, "find_data", lambda: few)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_of_the_readme_runs(at_home, few):
    names = run(ROOT / "README.md")
    assert names["z"].shape == (len(few.test_images), 128)
    assert names["x"].shape == (len(few.test_images), 28, 28, 1)


def test_the_ten_minutes_run(at_home, few):
    names = run(GUIDES / "ten-minutes.md")
    count = len(few.test_images)
    assert names["z"].shape == (count, 128)
    assert names["x"].shape == (count, 28, 28, 1)
    assert 0.0 <= names["x"].min() <= names["x"].max() <= 1.0
    assert names["new"].shape == (64, 28, 28, 1)
    assert set(names["result"]) == {"reconstruction", "knn"}
    assert np.isfinite(names["result"]["reconstruction"]["mse"])
    assert {path.name for path in (at_home / "my-model").iterdir()} >= {"spec.toml"}


def test_other_data_run(at_home):
    names = run(GUIDES / "own-data.md")
    assert names["history"].model.spec.shape == (16, 24, 3)
    assert fmae_zoo.load("local:my-stripes").spec.shape == (16, 24, 3)


def test_classifiers_run(at_home, few):
    names = run(GUIDES / "classifier.md")
    assert names["tuned"].encoder.trainable
    assert 0.0 < names["report"]["accuracy"] <= 1.0  # The images are too few to ask for more.
    assert np.sum(names["report"]["confusion"]) == len(few.test_images)
    assert names["pipeline"].score(few.test_images, few.test_labels) > 0.3


@pytest.mark.once
def test_unusual_images_run(at_home, few):
    names = run(GUIDES / "exploring.md")
    assert names["scores"].both.shape == (len(few.test_images),)


@pytest.mark.once
def test_a_spec_runs(at_home):
    names = run(GUIDES / "adding-a-model.md")
    assert names["history"].model.spec == names["spec"]


def test_the_examples_of_the_hub_run(hub, monkeypatch, images, at_home):
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    model = fmae_zoo.Autoencoder(tiny_spec(), seed=3)
    names = run(GUIDES / "publishing.md", fmae_zoo=fmae_zoo, keras=keras, ae=model)
    assert names["url"] == f"{hub.url}/me/conv-ae-bn-mine"
    assert names["ae"] is not model
    codes = names["ae"].encode(images)
    np.testing.assert_array_equal(codes, model.encode(images))
    found = fmae_zoo.search(author="me", tag="deterministic")
    assert [each.source for each in found] == ["hf://me/conv-ae-bn-mine"]
    floats = images[..., None].astype("float32") / 255.0
    np.testing.assert_allclose(names["encoder"].predict(floats, verbose=0), codes, atol=1e-5)


COMMAND_LINES = [
    line
    for page in PAGES
    for block in blocks(page, "")
    for line in re.findall(r"fmae [a-z]+(?: [^\s&]+)*", block)
]


@pytest.mark.once
def test_every_command_is_shown():
    assert {line.split()[1] for line in COMMAND_LINES} == set(cli.COMMANDS)


@pytest.mark.once
@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_line_is_parsed(line):
    _, name, *words = shlex.split(line)
    command = cli.cli.get_command(None, name)
    assert command.make_context(name, words)


@pytest.mark.once
def test_every_part_that_a_spec_can_name_is_in_a_guide():
    guide = (GUIDES / "adding-a-model.md").read_text(encoding="utf-8")
    bases = (NetworkComponent, LatentComponent, ObjectiveComponent)
    for package, base in zip(("networks", "latents", "objectives"), bases):
        for kind in any_of(f"fmae_zoo.{package}", base).__args__[0].__args__:
            assert f"`{kind.model_fields['type'].annotation.__args__[0]}`" in guide


@pytest.mark.once
def test_every_entry_is_among_the_methods():
    methods = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    names = set(fmae_zoo.list_models(pretrained=True)) - {"conv-ae-bn.fmnist-classifier"}
    assert not {name for name in names if f"`{name}`" not in methods}


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for key, value in attributes if key in ("href", "src") and value]


@pytest.mark.once
def test_the_site_is_built_and_its_links_lead_somewhere(tmp_path, monkeypatch, few):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import make_site

    for name in ("docs", "registry", "benchmarks", "CONTRIBUTING.md", "fmae_zoo"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    monkeypatch.setattr(make_site, "ROOT", tmp_path)
    monkeypatch.setattr(make_site, "SITE", tmp_path / "build" / "docs")
    monkeypatch.setattr(make_site, "draw", lambda *_: ROOT / "docs" / "results.png")
    make_site.main()
    command = [Path(sys.executable).parent / "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "build" / "site"
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 50
    lost = []
    for page in pages:
        parser = _Links()
        parser.feed(page.read_text(encoding="utf-8"))
        for link in parser.found:
            address = urlsplit(link)
            if address.scheme or address.netloc or not address.path or page.name == "404.html":
                continue
            if not (page.parent / unquote(address.path)).exists():
                lost.append(f"{page.relative_to(site)}: {link}")
    assert not lost
    text = (site / "methods.html").read_text(encoding="utf-8")
    assert "<math" in text
    assert "$$" not in text
