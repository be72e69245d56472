import json
import subprocess

import keras
import pytest

import fmae_zoo
from fmae_zoo import benchmarking
from fmae_zoo.benchmarking import Benchmark, Row
from fmae_zoo.errors import ArgumentError, BackendError, UnknownModelError

pytestmark = pytest.mark.once


@pytest.fixture
def this_backend_alone(monkeypatch):
    here = keras.backend.backend()
    monkeypatch.setattr(benchmarking, "is_installed", lambda backend: backend == here)
    monkeypatch.setattr(benchmarking, "PRECISIONS", ("float32",))
    return here


def test_the_command_measures_and_recommends(this_backend_alone, fmae):
    code, out, _ = fmae("benchmark", "dense-ae", "--seconds", "0.01", "--json")
    assert code == 0
    content = json.loads(out)
    [row] = content["rows"]
    assert (row["backend"], row["precision"]) == (this_backend_alone, "float32")
    assert row["error"] == ""
    assert min(row["train"], row["encode"], row["first_step"], row["peak_memory"]) > 0
    assert content["fastest"]["train"] == {"backend": this_backend_alone, "precision": "float32"}


def test_a_backend_that_fails_is_named_and_the_others_are_measured(monkeypatch, fmae):
    def run(command, env, **_):
        if env["KERAS_BACKEND"] == "torch":
            raise subprocess.CalledProcessError(1, command, stderr="Traceback\nOSError: broken")
        figures = {"train": 5.0, "encode": 7.0, "first_step": 1.0, "peak_memory": 9}
        return subprocess.CompletedProcess(command, 0, "noise\n" + json.dumps(figures), "")

    monkeypatch.setattr(benchmarking, "is_installed", lambda _: True)
    monkeypatch.setattr(benchmarking.subprocess, "run", run)
    code, out, _ = fmae("benchmark", "dense-ae")
    assert code == 0
    assert "OSError: broken" in out
    assert "Fastest to train: KERAS_BACKEND=tensorflow, precision float32." in out


def test_no_figures_at_all_are_an_error(monkeypatch):
    def run(command, **_):
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(benchmarking, "is_installed", lambda backend: backend == "jax")
    monkeypatch.setattr(benchmarking.subprocess, "run", run)
    with pytest.raises(BackendError, match="not finished"):
        fmae_zoo.benchmark("dense-ae")


def test_without_a_backend_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(benchmarking, "is_installed", lambda _: False)
    with pytest.raises(BackendError, match="pip install"):
        fmae_zoo.benchmark()


@pytest.mark.parametrize("options", [{"seconds": 0}, {"seconds": "1"}, {"batch_size": 0}])
def test_wrong_numbers_are_refused(options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        fmae_zoo.benchmark("dense-ae", **options)


def test_a_wrong_name_is_refused():
    with pytest.raises(UnknownModelError, match="dense-ae"):
        fmae_zoo.benchmark("dense-aee")


def test_each_task_has_its_own_fastest():
    rows = [
        Row(backend="jax", precision="float32", train=3.0, encode=1.0),
        Row(backend="torch", precision="float32", train=2.0, encode=4.0),
    ]
    measured = Benchmark(model="dense-ae", rows=rows)
    assert measured.fastest("train").backend == "jax"
    assert measured.fastest("encode").backend == "torch"
