import importlib.util
import json
import subprocess
import sys
import time

import pytest

from fmae_zoo import _backend
from fmae_zoo.errors import BackendError
from tests.conftest import ROOT, run_python


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Pretend that only some backends are installed, and no keras.json names one."""

    def pretend(*names):
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: None if name in _backend.BACKENDS and name not in names else find(name),
        )
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    return pretend


def test_no_backend_names_the_extras(installed):
    installed()
    with pytest.raises(BackendError, match=r'pip install "fmae-zoo\[jax\]"'):
        _backend.require_backend()


def test_a_named_backend_that_is_missing_names_its_extra_and_what_is_there(installed, monkeypatch):
    installed("jax")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(BackendError, match=r"fmae-zoo\[torch\].*KERAS_BACKEND=jax"):
        _backend.require_backend()


def test_an_unknown_backend_is_refused(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(BackendError, match="'theano'"):
        _backend.require_backend()


def test_the_one_that_is_installed_is_chosen(installed):
    installed("jax")
    assert _backend.require_backend() == "jax"


def test_keras_own_configuration_is_respected(installed, tmp_path):
    installed("tensorflow", "torch", "jax")
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "torch"}))
    assert _backend.require_backend() == "torch"


def test_keras_own_default_binds_nobody(installed, tmp_path):
    """Keras writes "tensorflow" into keras.json by itself, also where only jax is installed."""
    installed("jax")
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "tensorflow"}))
    assert _backend.require_backend() == "jax"


def test_the_error_reaches_a_user_of_load():
    code = "import fmae_zoo; fmae_zoo.load('dense-ae')"
    result = run_python(code, backend="theano")
    assert "BackendError" in result.stderr


def test_import_is_quick_and_light():
    """At most 100 ms more than an empty Python, by the fastest of alternating runs.

    The fastest, because whatever else the machine does can only add to a run.
    """

    def seconds(code):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
        return time.perf_counter() - began

    runs = [(seconds("pass"), seconds("import fmae_zoo")) for _ in range(7)]
    empty, ours = (min(column) for column in zip(*runs))
    assert ours - empty < 0.1


def test_the_public_names_are_those_of_the_stub_and_each_is_there():
    import fmae_zoo

    assert {"load", "Autoencoder", "HubError"} <= {*fmae_zoo.__all__} <= {*dir(fmae_zoo)}
    assert "__version__" in dir(fmae_zoo)
    for name in fmae_zoo.__all__:
        assert getattr(fmae_zoo, name).__name__ == name
    assert not hasattr(fmae_zoo, "nothing")
