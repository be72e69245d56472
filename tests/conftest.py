"""Fixtures of the whole suite. It runs on the backend that KERAS_BACKEND names."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread each: workers that compute with all cores at once wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    # And XLA compiles for longer than its code for a few images then runs.
    os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
        " --xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0"
        " --xla_llvm_disable_expensive_passes=true"
    )
# What one test has had compiled, others need too, as do later runs.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".pytest_cache", "jax")),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fmae_zoo import cli, registry
from fmae_zoo.datasets import Dataset, find_data, load_sample
from fmae_zoo.datasets.idx import write_idx
from fmae_zoo.spec import ModelSpec
from tests.hub import LocalHub
from tests.hub.running import HUB

BACKENDS = ("tensorflow", "torch", "jax")
FAST_TO_COMPILE = ("--xla_backend_optimization_level", "--xla_llvm_disable_expensive_passes")
ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(items):
    """Skip the tests marked `once` on all backends but one, the quickest."""
    if os.environ["KERAS_BACKEND"] != "torch":
        for item in items:
            if item.get_closest_marker("once"):
                item.add_marker(pytest.mark.skip(reason="no backend in it: runs with PyTorch"))


@pytest.fixture(scope="session")
def sample() -> Dataset:
    """The 1,200 training and 400 test images that ship with the package."""
    return load_sample()


@pytest.fixture(scope="session")
def few(sample: Dataset) -> Dataset:
    """A few dozen images of each kind: enough to run, not to learn.

    192 are trained on, in whole batches of 32 or less: JAX compiles each size of a batch.
    """
    order = np.random.default_rng(0).permutation(len(sample.train_images))[:230]
    return replace(
        sample,
        train_images=sample.train_images[order],
        train_labels=sample.train_labels[order],
        test_images=sample.test_images[::8],
        test_labels=sample.test_labels[::8],
    )


@pytest.fixture(scope="session")
def full_data() -> Dataset:
    """The real 70,000 images.

    Only the tests of the marker `full_data` ask for it.
    """
    data = find_data()
    if data is None:
        if os.environ.get("FMAE_REQUIRE_DATA"):
            pytest.fail("no source has Fashion-MNIST")
        # The rest of the suite needs neither network nor data set, and must run without them.
        # CI sets FMAE_REQUIRE_DATA, so there nothing is skipped.
        pytest.skip("no source has Fashion-MNIST")
    return data


@pytest.fixture
def hub(tmp_path, monkeypatch) -> LocalHub:
    """An empty Hub on this machine, that the client asks; and an empty cache."""
    from huggingface_hub import constants

    from fmae_zoo.hub import client

    HUB.reset()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(client, "FIRST_WAIT", 0.01)
    return HUB


@pytest.fixture(scope="session")
def repo_files(tmp_path_factory) -> dict[str, bytes]:
    """The files that `push` writes for the small model of seed 3."""
    from fmae_zoo import Autoencoder
    from fmae_zoo.hub.contents import contents_of, stage

    entry = stage(Autoencoder(tiny_spec(), seed=3), tmp_path_factory.mktemp("staged"))
    return contents_of(entry, "me/tiny")


@pytest.fixture
def images(sample: Dataset) -> np.ndarray:
    return sample.test_images[:16]


@pytest.fixture
def fmae(monkeypatch, capsys):
    """Run the command line in this process; return exit code, stdout and stderr."""

    # Else an interrupt ended this process.
    monkeypatch.setattr(cli, "_leave", sys.exit)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fmae", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


@pytest.fixture
def idx(few, tmp_path):
    """A folder with a data set of a few images."""
    folder = tmp_path / "data"
    arrays = {
        "train-images-idx3-ubyte": few.train_images,
        "train-labels-idx1-ubyte": few.train_labels,
        "t10k-images-idx3-ubyte": few.test_images,
        "t10k-labels-idx1-ubyte": few.test_labels,
    }
    for name, array in arrays.items():
        write_idx(folder / name, array)
    return folder


@pytest.fixture
def eager():
    """On TensorFlow functions run as they are: to compile them takes longer than a few steps do.

    For tests of what is computed; that it compiles, test_stability.py says of each component.
    """
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def compiled(eager):
    """As users have it, in a file whose other tests are eager."""
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        tf.config.run_functions_eagerly(False)


@pytest.fixture
def tensorflow_log(caplog, capfd):
    """Return what TensorFlow has logged, and what is on stderr."""
    import tensorflow as tf

    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    yield lambda: caplog.text + capfd.readouterr().err
    logger.removeHandler(caplog.handler)


@pytest.fixture(autouse=True)
def _registry_as_it_was():
    table = registry._table()
    before = dict(table)
    yield
    table.clear()
    table.update(before)


def spec_dict(**changes) -> dict:
    """A small, valid spec."""
    content = {
        "name": "tiny-ae",
        "summary": "A model for the tests.",
        "network": {"type": "dense", "units": [32, 16]},
        "latent": {"type": "deterministic", "size": 4},
        "objective": {"type": "squared_error"},
        "recipe": {"epochs": 3, "batch_size": 32},
    }
    content.update(changes)
    return content


def tiny_spec(**changes) -> ModelSpec:
    return ModelSpec.from_dict(spec_dict(**changes))


TINY_CONV = {
    "type": "conv",
    "base": [7, 7, 4],
    "shortcut": True,
    "encoder": [{"filters": [4], "pool": "max"}, {"filters": [4], "pool": "average"}],
    "decoder": [
        {"filters": [4], "upsample": True},
        {"filters": [], "upsample": True},
    ],
}


def run_python(code: str, *args: str, backend: str | None = None, **environment: str):
    """Run Python code in a process of its own."""
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    # Compiled as for users: among what runs so are the comparisons between backends.
    flags = env.get("XLA_FLAGS", "").split()
    env["XLA_FLAGS"] = " ".join(each for each in flags if not each.startswith(FAST_TO_COMPILE))
    if backend is not None:
        env["KERAS_BACKEND"] = backend
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", code, *args], env=env, capture_output=True, text=True, timeout=600
    )
