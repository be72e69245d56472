"""Trainings and encodings on a cluster of several Ray nodes, of which one is killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import fmae_zoo
from fmae_zoo import registry
from fmae_zoo.cluster import embedding, jobs as on_ray
from fmae_zoo.cluster.joining import joined, places
from fmae_zoo.errors import ArgumentError
from fmae_zoo.images import ImageFiles
from fmae_zoo.saving import spec_toml
from fmae_zoo.training.many import jobs_of, train_all
from tests.conftest import run_python, tiny_spec
from tests.nodes import ancestors, programs, raylet, wait_for

pytest.importorskip("ray")
once = pytest.mark.once
EPOCHS = 40


@pytest.fixture(scope="module")
def cluster():
    """A head that computes nothing, and two nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    # That a node is gone is noticed within two seconds, by default within twenty.
    checks = {
        "health_check_initial_delay_ms": 0,
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 4,
    }
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": checks}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def kill(cluster):
    """Kill a node as a power cut does; after the test there is a new one."""
    killed = []

    def kill_node(process=None):
        """Kill the node that a process runs on, or else any."""
        nodes = list(cluster.worker_nodes)
        if process is not None:
            above = ancestors(process)
            nodes = [each for each in nodes if str(raylet(each)) in above]
        cluster.remove_node(nodes[0], allow_graceful=False)
        killed.append(nodes[0])

    yield kill_node
    for _ in killed:
        cluster.add_node(num_cpus=1)


@pytest.fixture
def ray(cluster):
    with joined(cluster.address) as ray:
        yield ray


def spec_in(folder, **changes):
    folder.mkdir(parents=True)
    content = {"name": folder.name, "recipe": {"epochs": 2, "batch_size": 64}} | changes
    (folder / "spec.toml").write_text(spec_toml(tiny_spec(**content)))
    return str(folder)


def rows_of(job, *without):
    with (job.folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: row[key] for key in row if key not in without} for row in rows]


@once
def test_a_killed_node_loses_no_training_and_changes_no_result(
    ray, kill, idx, tmp_path, monkeypatch
):
    recipe = {"epochs": EPOCHS, "batch_size": 64, "patience": 9771}
    names = [spec_in(tmp_path / "an-ae", recipe=recipe)]
    data = fmae_zoo.load_data(idx)
    words = ["--patience", "9771", "--data", str(idx)]
    before = {}

    def report(jobs):
        for job in jobs:
            if not before and 0 < job.epochs < EPOCHS:
                [process] = programs("--seed", str(job.seed), "--resume", "--patience", "9771")
                before[job.seed] = rows_of(job)
                kill(process)
                wait_for(lambda gone=Path("/proc", process): not gone.exists())

    jobs = jobs_of(names, [0, 1], tmp_path / "ray", data=data)
    launch = on_ray.RayJobs(ray, every=0.1)
    assert launch.at_once == 2
    train_all(jobs, launch.at_once, words, report, launch)
    assert [job.state for job in jobs] == ["done", "done"], [job.last_words() for job in jobs]
    [(seed, rows)] = before.items()
    logs = [(job.folder / "training.log").read_text() for job in jobs]
    again = ["started again from the last checkpoint" in log for log in logs]
    assert again == [seed == 0, seed == 1]
    job = jobs[seed]
    assert rows_of(job)[: len(rows)] == rows, "it began anew"
    assert [float(row["epoch"]) for row in rows_of(job)] == list(range(1, EPOCHS + 1))

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    [whole] = jobs_of(names, [seed], tmp_path / "whole", data=data)
    train_all([whole], words=words)
    assert rows_of(job, "seconds") == rows_of(whole, "seconds")
    for name in ("encoder.safetensors", "decoder.safetensors", "golden.safetensors"):
        assert (job.folder / name).read_bytes() == (whole.folder / name).read_bytes()


@once
def test_a_killed_node_loses_no_code_and_doubles_none(ray, kill, few, tmp_path):
    fmae_zoo.save(fmae_zoo.Autoencoder(tiny_spec(), seed=1), tmp_path / "model")
    name = f"local:{tmp_path / 'model'}"
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(8):
        images = np.roll(few.train_images, number, axis=0)
        np.save(photos / f"{number}.npy", np.concatenate([images] * 2))
    (photos / "bad.png").write_bytes(b"no picture")
    encoder = fmae_zoo.load(name, pretrained=True, part="encoder")
    from fmae_zoo.embedding import embed_files

    shape = encoder.spec.shape
    embed_files(encoder, ImageFiles([photos], shape, 1), tmp_path / "whole.parquet")
    weights = embedding.weights_of(name)
    output = tmp_path / "codes.parquet"
    how = embedding.Encoding(
        name, weights, "float32", 1, os.environ["KERAS_BACKEND"], str(tmp_path), str(output)
    )
    steps = []

    def advance(done, count):
        steps.append((done, count))
        if len(steps) == 2:
            kill()

    source = ImageFiles([photos], shape)
    count = embedding.embed_on_ray(ray, how, source, part=1, advance=advance)
    assert steps[0] == (0, 9)
    assert steps[-1] == (9, 9)
    assert count == 8 * 2 * 230
    assert list(source.unreadable) == [str(photos / "bad.png")]
    found, expected = pq.read_table(output), pq.read_table(tmp_path / "whole.parquet")
    assert found.schema.equals(expected.schema)
    assert found["name"].to_pylist() == expected["name"].to_pylist()
    codes = (np.stack(table["code"].to_pylist()) for table in (found, expected))
    np.testing.assert_allclose(*codes, rtol=1e-5, atol=1e-6)

    lost = output / "part-000003.parquet"
    lost.unlink()
    kept = (output / "part-000002.parquet").stat().st_mtime_ns
    assert embedding.embed_on_ray(ray, how, ImageFiles([photos], shape), part=1) == count
    assert lost.exists()
    assert (output / "part-000002.parquet").stat().st_mtime_ns == kept
    (photos / "more.npy").write_bytes((photos / "1.npy").read_bytes())
    with pytest.raises(ArgumentError, match="codes here with another files"):
        embedding.embed_on_ray(ray, how, ImageFiles([photos], shape), part=1)


def test_each_is_trained_and_a_failure_ends_no_other(cluster, idx, tmp_path, fmae, monkeypatch):
    good = spec_in(tmp_path / "good-ae")
    wrong = {"epochs": 1, "batch_size": 64, "learning_rate": 1e30}
    bad = spec_in(tmp_path / "bad-ae", recipe=wrong)
    monkeypatch.setattr(registry, "list_models", lambda: [good, bad])
    words = ("train", "--all", "--data", idx, "-o", tmp_path / "runs", "--json")
    code, out, err = fmae(*words, "--engine", "ray", "--address", cluster.address)
    assert code == 1
    states = {each["name"]: each["state"] for each in json.loads(out)}
    assert states == {good: "done", bad: "failed"}, err
    assert "learning rate" in " ".join(err.split())
    log = (tmp_path / "runs" / "bad-ae-seed0" / "training.log").read_text()
    assert log.count("learning rate of") == 1, "it was tried again"
    model = fmae_zoo.load(f"local:{tmp_path / 'runs' / 'good-ae-seed0'}", pretrained=True)
    record = registry.find_entry(f"local:{tmp_path / 'runs' / 'good-ae-seed0'}").manifest.training
    assert record.environment["backend"] == os.environ["KERAS_BACKEND"]
    assert record.data_source == "data"
    assert model.encode(np.zeros((1, 28, 28), np.uint8)).shape == (1, 4)


@once
def test_stopped_it_leaves_no_process_and_keeps_what_came(ray, idx, tmp_path):
    recipe = {"epochs": 50_000, "batch_size": 32, "patience": 9772}
    name = spec_in(tmp_path / "long-ae", recipe=recipe)
    [job] = jobs_of([name], [0], tmp_path / "runs", data=fmae_zoo.load_data(idx))

    def stop(jobs):
        if jobs[0].epochs:
            raise KeyboardInterrupt

    launch = on_ray.RayJobs(ray, every=0.1)
    words = ["--patience", "9772", "--data", str(idx)]
    with pytest.raises(KeyboardInterrupt):
        train_all([job], 1, words, stop, launch)
    assert job.state == "waiting"
    epochs = job.epochs
    wait_for(lambda: not programs("9772"))
    assert job.epochs == epochs >= 1
    other = launch(job, ["--resume", *words])
    [again] = jobs_of([name], [0], tmp_path / "runs", data=fmae_zoo.load_data(idx))
    train_all([again], 1, words, launch=launch)
    assert again.state == "failed"
    assert "another process is training here" in again.last_words()
    other.terminate()


@once
def test_a_sweep_finds_what_it_finds_here(cluster, few, idx, tmp_path, fmae):
    from fmae_zoo.sweeping.sweep import sweep

    source = spec_in(tmp_path / "mine-ae")
    words = ("sweep", source, "--set", "latent.size=2,3", "--sampler", "grid", "--epochs", 1)
    words += ("--objective", "mse", "--data", idx, "-o", tmp_path / "sweep", "--json")
    code, out, err = fmae(*words, "--engine", "ray", "--address", cluster.address)
    assert code == 0, err
    here = sweep(
        source,
        {"latent.size": "2,3"},
        output=tmp_path / "here",
        objective="mse",
        sampler="grid",
        epochs=1,
        jobs=0,
        data=fmae_zoo.load_data(idx),
    )
    values = [
        {row["latent.size"]: row["value"] for row in rows}
        for rows in (json.loads(out)["trials"], here.trials)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-4)


@once
def test_the_training_of_a_killed_worker_ends_with_it(tmp_path):
    (tmp_path / "endless.py").write_text("import time\nwhile True:\n    time.sleep(0.1)\n")
    code = (
        "import subprocess, sys\n"
        "words = [sys.executable, '-m', 'fmae_zoo.cluster.program', 'endless', '9773']\n"
        "subprocess.Popen(words, stdin=subprocess.PIPE).wait()\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    wait_for(lambda: programs("9773"))
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    wait_for(lambda: not programs("9773"))


@once
def test_a_job_that_is_lost_too_often_has_failed(idx, tmp_path, monkeypatch):
    from ray import exceptions

    class Lost:
        """Ray, each of whose tasks is lost."""

        def __init__(self):
            self.exceptions, self.begun = exceptions, 0

        def remote(self, *_):
            self.begun += 1
            return iter(["a result"])

        def options(self, **_):
            return self

        def get(self, result):
            raise exceptions.WorkerCrashedError

        def wait(self, results, timeout):
            return results, []

        def cancel(self, results):
            pass

        def nodes(self):
            return [{"Alive": True, "Resources": {"CPU": 1.0}}]

    ray = Lost()
    ray_remote, ray.remote = ray.remote, lambda function: type("", (), {"options": ray.options})
    launch = on_ray.RayJobs(ray)
    launch._task = type("Task", (), {"remote": staticmethod(ray_remote)})
    [job] = jobs_of(
        [spec_in(tmp_path / "an-ae")], [0], tmp_path / "runs", data=fmae_zoo.load_data(idx)
    )
    train_all([job], launch=launch)
    assert job.state == "failed"
    assert ray.begun == on_ray.RETRIES + 1
    assert "lost 4 times, the last time by WorkerCrashedError" in job.last_words()


@once
def test_a_cluster_that_cannot_be_joined_is_told_soon(fmae, tmp_path, cluster, ray):
    ray.shutdown()
    words = ("train", "dense-ae", "--engine", "ray", "-o", tmp_path / "runs")
    began = time.monotonic()
    for address, reason in (
        ("127.0.0.1:9", "Nothing answers at the address 127.0.0.1:9"),
        ("nonsense", "expected host:port, or auto"),
        ("ray://127.0.0.1:10001", "on a machine of the cluster"),
    ):
        code, _, err = fmae(*words, "--address", address)
        assert code == 1
        assert reason in " ".join(err.split())
    assert time.monotonic() - began < 15
    assert fmae("train", "dense-ae", "--address", "auto")[0] == 2
    assert fmae("embed", "dense-ae", tmp_path, "-o", tmp_path / "a.npz", "--engine", "ray")[0] == 2
    with joined(cluster.address) as ray:
        assert places(ray, 1, 0) == 2
        with pytest.raises(ArgumentError, match="at most 1 CPUs and 0 GPUs in one"):
            places(ray, 2, 0)
        with pytest.raises(ArgumentError, match="1 CPUs and 1 GPUs"):
            places(ray, 1, 1)


@once
def test_nothing_else_imports_ray():
    code = (
        "import sys, fmae_zoo\n"
        "from fmae_zoo.cli import COMMANDS, cli\n"
        "[cli.get_command(None, name) for name in COMMANDS]\n"
        "from fmae_zoo.training import many\n"
        "assert 'ray' not in sys.modules\n"
    )
    done = run_python(code)
    assert done.returncode == 0, done.stderr


@once
def test_without_ray_the_extra_is_named(monkeypatch, fmae):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, err = fmae("train", "dense-ae", "--engine", "ray")
    assert code == 1
    assert 'pip install "fmae-zoo[ray]"' in " ".join(err.split())
