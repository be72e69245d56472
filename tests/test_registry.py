import os
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import registry
from fmae_zoo.errors import ArgumentError, DuplicateModelError, SpecError, UnknownModelError
from fmae_zoo.saving import spec_toml
from tests.conftest import ROOT, run_python, tiny_spec

pytestmark = pytest.mark.usefixtures("eager")


def test_wildcards_exclusions_and_keywords():
    for name in ("zz-one-ae", "zz-one-vae", "zz-two-ae"):
        fmae_zoo.register(tiny_spec(name=name, keywords=["zz"] if "one" in name else []))
    assert registry.list_models("zz-*", exclude="*-vae") == ["zz-one-ae", "zz-two-ae"]
    assert registry.list_models(["zz-two-ae", "zz-*vae*"], exclude=["*one-ae"]) == [
        "zz-one-vae",
        "zz-two-ae",
    ]
    assert registry.list_models(keyword="zz") == ["zz-one-ae", "zz-one-vae"]
    classifiers = "*.fmnist-classifier"
    assert registry.list_models("*.fmnist") == registry.list_models(exclude=classifiers)
    assert registry.list_models(classifiers) == ["conv-ae-bn.fmnist-classifier"]
    assert {"conv-vae-bn", "dense-vae"} <= set(registry.list_models(keyword="variational"))
    assert registry.list_models("nothing-*") == []
    for wrong in (5, None, [5]):
        with pytest.raises(ArgumentError, match="wildcards"):
            registry.list_models(wrong)


def test_a_name_with_and_without_its_tag_is_one_entry():
    assert registry.find_entry("conv-ae-bn") is registry.find_entry("conv-ae-bn.fmnist")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("conv-ae-bm", ["Did you mean", "conv-ae-bn"]),
        ("Dense-AE", ["Did you mean", "dense-ae"]),
        ("conv-ae-bn.mnist", ["conv-ae-bn has no tag 'mnist'", "fmnist"]),
        ("zzz", ["dense-ae", "local:FOLDER"]),
        ("local:nowhere", ["nowhere", "spec.toml"]),
        ("", ["There is no model ''"]),
    ],
)
def test_a_wrong_name_is_explained(name, words):
    with pytest.raises(UnknownModelError) as error:
        fmae_zoo.load(name)
    for word in words:
        assert word in str(error.value)


def test_a_part_that_does_not_exist_is_explained():
    with pytest.raises(UnknownModelError, match="encoder, decoder"):
        fmae_zoo.load("dense-ae", part="middle")


def test_registering_a_spec_makes_it_loadable_until_unregistered():
    assert fmae_zoo.register(tiny_spec()) == "tiny-ae.fmnist"
    assert fmae_zoo.load("tiny-ae").spec.name == "tiny-ae"
    registry.unregister("tiny-ae")
    with pytest.raises(UnknownModelError):
        fmae_zoo.load("tiny-ae")


def test_a_name_can_have_several_tags():
    fmae_zoo.register(tiny_spec())
    fmae_zoo.register(tiny_spec(tag="mnist"))
    assert registry.list_models("tiny*") == ["tiny-ae", "tiny-ae.mnist"]
    assert fmae_zoo.load("tiny-ae.mnist").spec.tag == "mnist"


def test_duplicate_registration_is_an_error_and_adds_nothing(tmp_path):
    for name in ("another-ae", "dense-ae"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.toml").write_text(spec_toml(tiny_spec(name=name)))
    with pytest.raises(DuplicateModelError, match=r"dense-ae\.fmnist is registered already"):
        fmae_zoo.register(tmp_path)
    assert "another-ae" not in registry.list_models()


def test_a_folder_of_entries_is_registered_at_once(tmp_path):
    for name in ("one-ae", "two-ae"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.toml").write_text(spec_toml(tiny_spec(name=name)))
    assert fmae_zoo.register(tmp_path) == "one-ae.fmnist, two-ae.fmnist"
    with pytest.raises(SpecError, match="neither"):
        fmae_zoo.register(tmp_path / "one-ae" / "nothing")


def test_a_folder_works_where_a_name_does(tmp_path):
    (tmp_path / "spec.toml").write_text(spec_toml(tiny_spec()))
    for source in (tmp_path, str(tmp_path), f"local:{tmp_path}"):
        assert registry.find_entry(source).spec.name == "tiny-ae"


def test_a_third_party_package_adds_its_models(tmp_path):
    """A real package with an entry point, installed by pip into an environment of its own."""
    package = tmp_path / "package"
    (package / "their_zoo" / "their-ae").mkdir(parents=True)
    (package / "their_zoo" / "their-ae" / "spec.toml").write_text(
        spec_toml(tiny_spec(name="their-ae"))
    )
    (package / "their_zoo" / "__init__.py").write_text(
        "from pathlib import Path\n\ndef folder():\n    return Path(__file__).parent\n"
    )
    (package / "pyproject.toml").write_text(
        textwrap.dedent(
            """
            [build-system]
            requires = ["hatchling"]
            build-backend = "hatchling.build"
            [project]
            name = "their-zoo"
            version = "1"
            [project.entry-points."fmae_zoo.registries"]
            theirs = "their_zoo:folder"
            """
        )
    )
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    paths = [sysconfig.get_path("purelib"), str(ROOT)]
    site = next((environment / "lib").glob("python*/site-packages"))
    (site / "parent.pth").write_text("\n".join(paths))
    python = environment / "bin" / "python"
    install = [python, "-m", "pip", "install", "--no-deps", "--no-build-isolation", str(package)]
    subprocess.run(install, check=True, capture_output=True)
    code = "from fmae_zoo import *; print(list_models('their*'), load('their-ae').spec.name)"
    environment_variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, env=environment_variables
    )
    assert result.stdout.strip() == "['their-ae'] their-ae", result.stderr


@pytest.mark.parametrize("given", [None, [5], "/no/such/folder", "duplicate", "module"])
def test_a_broken_entry_point_is_named_and_the_others_stay(monkeypatch, caplog, given):
    from importlib.metadata import EntryPoint

    point = EntryPoint("bad", "no_such_module:thing", registry.ENTRY_POINT_GROUP)
    if given != "module":
        thing = tiny_spec(name="dense-ae") if given == "duplicate" else given
        monkeypatch.setattr(EntryPoint, "load", lambda self: thing)
    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [point])
    names = registry._built_table.__wrapped__().keys()
    assert "dense-ae.fmnist" in names
    assert "'bad'" in caplog.text
    assert "no_such_module" in caplog.text


def test_entry_points_may_give_specs(monkeypatch):
    class Point:
        name, value = "specs", "their_zoo:specs"

        def load(self):
            return [tiny_spec(name="a-ae"), tiny_spec(name="b-ae")]

    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [Point()])
    assert {"a-ae.fmnist", "b-ae.fmnist"} <= registry._built_table.__wrapped__().keys()


def test_an_entry_point_may_register_by_itself(monkeypatch):
    class Point:
        name, value = "own", "package:register"

        def load(self):
            fmae_zoo.register(tiny_spec(name="own-ae"))
            return []

    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [Point()])
    assert {"own-ae.fmnist", "dense-ae.fmnist"} <= registry._built_table.__wrapped__().keys()


def test_listing_imports_no_backend():
    code = (
        "import sys, fmae_zoo; fmae_zoo.list_models();"
        "print([m for m in ('keras', 'tensorflow', 'torch', 'jax') if m in sys.modules])"
    )
    result = run_python(code)
    assert result.stdout.strip() == "[]", result.stderr


def test_a_path_is_a_folder_even_where_a_name_is_the_same(tmp_path, monkeypatch, images):
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=5), tmp_path / "tiny-ae")
    fmae_zoo.register(tiny_spec())
    monkeypatch.chdir(tmp_path)
    expected = fmae_zoo.load(tmp_path / "tiny-ae").encode(images)
    np.testing.assert_array_equal(fmae_zoo.load(Path("tiny-ae")).encode(images), expected)


@pytest.mark.parametrize("wrong", [None, 3, {"name": "x"}])
def test_what_is_no_name_is_refused(wrong):
    for act in (fmae_zoo.load, fmae_zoo.register):
        with pytest.raises(ArgumentError, match=f"received {type(wrong).__name__}"):
            act(wrong)


def test_a_very_long_name_is_unknown():
    with pytest.raises(UnknownModelError):
        fmae_zoo.load("x" * 5000)


def test_unregister_takes_names_only(tmp_path):
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path)
    fmae_zoo.register(tiny_spec())
    with pytest.raises(UnknownModelError):
        registry.unregister(f"local:{tmp_path}")
    registry.unregister("tiny-ae")
    assert "tiny-ae" not in fmae_zoo.list_models()


def test_what_another_package_prints_or_gets_wrong_stays_apart(
    monkeypatch, tmp_path, capsys, caplog
):
    for name, text in (("good-ae", spec_toml(tiny_spec(name="good-ae"))), ("bad-ae", "nonsense")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.toml").write_text(text)

    class Point:
        name, value = "loud", "their_zoo:folder"

        def load(self):
            print("loading their zoo")
            return tmp_path

    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [Point()])
    names = registry._built_table.__wrapped__().keys()
    assert {"good-ae.fmnist", "dense-ae.fmnist"} <= names
    assert "bad-ae.fmnist" not in names
    assert "bad-ae" in caplog.text
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "loading their zoo" in printed.err


@pytest.mark.parametrize("name", ["me/model", "me/conv-ae-bn", "me/conv-ae-bn@v1"])
def test_a_repo_without_hf_is_answered_with_it(name):
    with pytest.raises(UnknownModelError, match=f"hf://{name}"):
        fmae_zoo.load(name, local_files_only=True)
