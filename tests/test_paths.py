"""Paths that a user gives: none does harm, `~` is the home folder, and no read waits for ever."""

import os
import re
import threading
from concurrent.futures import Future
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import datasets, plots
from fmae_zoo.errors import ArgumentError, FmaeError
from fmae_zoo.hub.options import HubOptions, read_token
from fmae_zoo.manifest import Manifest
from fmae_zoo.saving import spec_toml
from fmae_zoo.training.checkpoint import read_progress
from fmae_zoo.weights import read_tensors
from tests.conftest import run_python, tiny_spec


class Odd:
    """A path to Python, but of bytes."""

    def __fspath__(self):
        return b"bytes"


NO_PATHS = {
    "nul": "a\0b",
    "a path of nul": Path("a\0b"),
    "long": "x" * 300,
    "long in no folder": "missing/" + "x" * 300,
    "deep": "x/" * 3000,
    "surrogate": "a\ud800",
    "not utf-8": "a\udcff",
    "empty": "",
    "nobody's home": "~no-such-user/a",
    "number": 5,
    "object": object(),
    "list": [1],
    "bytes": b"a",
    "odd": Odd(),
}
TAKES_A_PATH = {
    "cache_dir": lambda given: HubOptions(cache_dir=given),
    "folder of save": lambda given: fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), given),
    "folder of pull": lambda given: fmae_zoo.pull("dense-ae", given),
    "name_or_path": lambda given: fmae_zoo.load_data(given),
    "output": lambda given: fmae_zoo.train(tiny_spec(), output=given, data=datasets.load_sample()),
    "path": fmae_zoo.ModelSpec.from_toml,
    "path of a plot": lambda given: plots.plot_grid(np.zeros((1, 28, 28)), given),
    "path of idx": datasets.read_idx,
    "source|folder of register": fmae_zoo.register,
    "token file": read_token,
}


@pytest.mark.once
@pytest.mark.parametrize(
    ("taker", "kind"),
    # A picture may have a name that is not UTF-8.
    [each for each in product(TAKES_A_PATH, NO_PATHS) if each != ("path of a plot", "not utf-8")],
)
def test_what_is_no_path_is_refused_by_name(taker, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match=taker.split(" of ")[0]) as caught:
        TAKES_A_PATH[taker](NO_PATHS[kind])
    message = str(caught.value)
    assert len(message) < 400
    message.encode()


@pytest.mark.once
@pytest.mark.parametrize("call", [fmae_zoo.load, fmae_zoo.verify, fmae_zoo.pull, fmae_zoo.train])
def test_a_source_that_is_no_path_is_an_error_of_the_zoo(call):
    texts = [given for given in NO_PATHS.values() if isinstance(given, str)]
    for source in (*NO_PATHS.values(), *(f"local:{text}" for text in texts)):
        with pytest.raises(FmaeError) as caught:
            call(source)
        str(caught.value).encode()


@pytest.mark.once
@pytest.mark.parametrize("given", [None, 5, object(), [1], "images", {"image": 1}])
def test_what_is_no_array_of_images_is_refused(given):
    with pytest.raises(FmaeError, match=r"[Ee]xpected"):
        fmae_zoo.Autoencoder(tiny_spec()).encode(given)
    with pytest.raises(ArgumentError, match="expected an Autoencoder"):
        fmae_zoo.fit_samplers(given)


@pytest.mark.once
def test_a_path_need_not_be_of_pathlib(tmp_path):
    class Own:
        def __fspath__(self):
            return str(tmp_path / "mine")

    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), Own())
    assert fmae_zoo.load(Own())
    assert fmae_zoo.register(Own()) == "tiny-ae.fmnist"


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    yield tmp_path / "home"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_tilde_is_the_home_folder_to_every_function(home, few, idx, tmp_path):
    idx.rename(home.parent / "data")
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), "~/saved")
    assert fmae_zoo.load("local:~/saved")
    assert fmae_zoo.load("~/saved")
    assert fmae_zoo.load(Path("~/saved"))
    assert fmae_zoo.ModelSpec.from_toml("~/saved/spec.toml") == tiny_spec()
    assert fmae_zoo.load_data("~/../data").digest == few.digest
    assert fmae_zoo.pull("local:~/saved", "~/pulled") == home / "pulled"
    fmae_zoo.train(tiny_spec(), data=few, epochs=1, output="~/run")
    assert (home / "run" / "manifest.json").is_file()
    assert plots.plot_grid(few.test_images[:1], "~/grid.png") == home / "grid.png"
    (home / "token").write_text("hf_x")
    assert read_token("~/token") == "hf_x"
    assert HubOptions(cache_dir="~/cache").cache == home / "cache"
    assert fmae_zoo.register("~/saved") == "tiny-ae.fmnist"


@pytest.mark.once
def test_a_tilde_is_the_home_folder_to_every_command(home, fmae, idx, few):
    home.mkdir()
    parts = {"latent": {"type": "gaussian", "size": 4}, "objective": {"type": "elbo"}}
    (home / "spec.toml").write_text(spec_toml(tiny_spec(**parts)))
    np.save(home / "images.npy", few.test_images[:20])
    quick = ("--data=~/../data", "--epochs", 1)
    for made, output, *words in (
        ("run/manifest.json", "run", "train", "local:~", *quick),
        ("codes.npz", "codes.npz", "embed", "local:~/run", "~/images.npy"),
        ("pairs.png", "pairs.png", "reconstruct", "local:~/run", "~/images.npy"),
        ("new.png", "new.png", "generate", "local:~/run", "-n", 4),
        ("copy/spec.toml", "copy", "pull", "local:~/run"),
        ("report/report.json", "report", "classify", "local:~/run", *quick),
    ):
        code, _, err = fmae(*words, "-o", f"~/{output}")
        assert code == 0, err
        assert (home / made).is_file(), made


READERS = {
    "spec.toml": fmae_zoo.ModelSpec.from_toml,
    "a/manifest.json": lambda path: Manifest.read(path.parent),
    "encoder.safetensors": read_tensors,
    "b/checkpoint.safetensors": lambda path: read_progress(path.parent),
    "images-idx3-ubyte": datasets.read_idx,
    "token": read_token,
}


MADE = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.once
@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, name, kind):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    MADE[kind](path)
    with pytest.raises(FmaeError, match=name):
        at_once(READERS[name], path)


@pytest.mark.once
@pytest.mark.parametrize("name", ["spec.toml", "manifest.json", "encoder.safetensors", "README.md"])
@pytest.mark.parametrize("call", [fmae_zoo.load, fmae_zoo.verify, fmae_zoo.pull])
def test_a_pipe_in_an_entry_is_not_waited_for(tmp_path, name, call):
    folder = fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec()), tmp_path / "mine")
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    if name == "README.md":
        assert at_once(call, folder)
    elif call is fmae_zoo.verify and name == "encoder.safetensors":
        assert [check for check in at_once(call, folder) if check.passed is False]
    else:
        with pytest.raises(FmaeError):
            at_once(call, folder)


@pytest.mark.once
@pytest.mark.parametrize("name", ["spec.toml", "checkpoint.safetensors", "best.safetensors"])
def test_a_pipe_in_the_folder_of_a_run_is_not_waited_for(tmp_path, few, name):
    fmae_zoo.train(tiny_spec(), data=few, epochs=1, output=tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)

    def resume():
        fmae_zoo.train(tiny_spec(), data=few, epochs=1, output=tmp_path, resume=True)

    with pytest.raises(FmaeError):
        at_once(resume)


@pytest.mark.once
def test_a_pipe_among_pictures_is_left_out(tmp_path, fmae, few):
    np.save(tmp_path / "good.npy", few.test_images[:2])
    for name in ("pipe.png", "pipe.npy", "pipe-idx3-ubyte", "pipe"):
        os.mkfifo(tmp_path / name)
    words = ["embed", "dense-ae", tmp_path, tmp_path / "pipe", "-o", tmp_path / "codes.npz"]
    code, _, err = at_once(fmae, *words)
    assert code == 0, err
    assert "neither a file nor a folder" in err


def at_once(function, *args):
    """Return what a function returns, or fail where it waits."""
    done: Future = Future()

    def run():
        try:
            done.set_result(function(*args))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result(60)


HOMELESS = """
import os, pwd, sys

def getpwuid(uid):
    raise KeyError(uid)

if sys.argv[1] == "none":
    del os.environ["HOME"]
    pwd.getpwuid = getpwuid
for name in ("KERAS_HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
    os.environ.pop(name, None)
import fmae_zoo
from fmae_zoo.datasets import cache_folder
assert cache_folder().is_absolute()
assert fmae_zoo.load("dense-ae", pretrained=True)
try:
    fmae_zoo.load("hf://me/tiny", token=False)
except fmae_zoo.FmaeError as error:
    print(type(error).__name__, error)
sys.argv = ["fmae", "info", "dense-ae"]
from fmae_zoo.cli import main
main()
"""


@pytest.mark.once
@pytest.mark.failure
@pytest.mark.parametrize(
    ("home", "error"), [("none", "ArgumentError HF_HUB_CACHE is"), ("a file", "CacheError .*cache")]
)
def test_without_a_home_folder(hub, repo_files, tmp_path, home, error):
    hub.seed("me/tiny", repo_files)
    (tmp_path / "a file").write_text("no folder can be made below it")
    (tmp_path / "working").mkdir()
    code = f"import os; os.chdir({str(tmp_path / 'working')!r})\n{HOMELESS}"
    result = run_python(code, home, HOME=str(tmp_path / "a file"), HF_ENDPOINT=hub.url)
    assert result.returncode == 0, result.stderr
    assert re.search(error, result.stdout)
    assert "dense-ae.fmnist" in result.stdout
    assert not list((tmp_path / "working").iterdir())
