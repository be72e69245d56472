"""Training on two devices is training on one: the same losses, weights and figures."""

import json
import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import ArgumentError
from fmae_zoo.errors import TrainingError
from fmae_zoo.saving import spec_toml
from tests.conftest import TINY_CONV, run_python, tiny_spec

BACKEND = keras.backend.backend()

SGD = {
    "optimizer": "sgd",
    "learning_rate": 1e-5,
    "schedule": "constant",
    "precision": "float32",
}
"""Adam turns the rounding of gradients that should be zero into steps; SGD does not."""

SPECS = {
    "dense-ae": {"recipe": {"epochs": 2, "batch_size": 32, **SGD}},
    "conv-vae-bn": {
        "network": TINY_CONV,
        "latent": {"type": "gaussian", "size": 4},
        "objective": {"type": "elbo"},
        "recipe": {"epochs": 2, "batch_size": 32, **SGD},
    },
}

COMMON = """
import json, sys
import keras
from dataclasses import replace
import numpy as np
from fmae_zoo.datasets import load_sample
from fmae_zoo.weights import tensors_of
from tests.conftest import tiny_spec
sample = load_sample()
images, labels = sample.train_images[:230], sample.train_labels[:230]
data = replace(sample, train_images=images, train_labels=labels)
specs = {name: tiny_spec(**changes) for name, changes in json.loads(sys.argv[1]).items()}

def slower():
    # In the second epoch the learning rate is a tenth.
    return keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.1**epoch)

def told(history):
    weights = {key: each.ravel().tolist() for key, each in tensors_of(history.model).items()}
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]
    return {"rows": rows, "weights": weights}
"""

IN_ONE_PROCESS = """
import fmae_zoo, keras

class Copies(keras.callbacks.Callback):
    # The values that a variable has on each device, at the end of the training.
    def on_train_end(self, logs=None):
        backend = keras.backend.backend()
        self.devices, self.differ = 0, []
        for variable in self.model.variables:
            if backend == "jax":
                copies = [shard.data for shard in variable.value.addressable_shards]
            else:
                import tensorflow as tf
                copies = tf.distribute.get_strategy().experimental_local_results(variable.value)
            self.devices = len(copies)
            if not all(np.array_equal(copies[0], copy) for copy in copies):
                self.differ.append(variable.path)

class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True

results = {}
for name, spec in specs.items():
    copies = Copies()
    listeners = [] if keras.backend.backend() == "torch" else [copies]
    callbacks = [*listeners, slower()] if name == "dense-ae" else listeners
    results[name] = told(fmae_zoo.train(spec, data=data, devices=2, callbacks=callbacks))
    if listeners:
        results[name] |= {"devices": copies.devices, "differ": copies.differ}
name, folder = "conv-vae-bn", sys.argv[2]
stopped = fmae_zoo.train(specs[name], data=data, devices=2, output=folder, callbacks=[Stop()])
results["stopped after"] = len(stopped.rows)
resumed = fmae_zoo.train(specs[name], data=data, devices=2, output=folder, resume=True)
results["resumed"] = told(resumed)
results["environment"] = resumed.record.environment
try:
    fmae_zoo.train(specs[name], data=data, output=folder, resume=True)
except fmae_zoo.FmaeError as error:
    results["resumed on one"] = str(error)
print("RESULT" + json.dumps(results))
"""

IN_TWO_PROCESSES = {
    "torch": """
from pathlib import Path
from fmae_zoo.training.loop import Run
from fmae_zoo.training.replicas import Replicas
devices = Replicas(2, int(sys.argv[3]), 2, Path(sys.argv[2]))
run = Run(specs["conv-vae-bn"], 0, data, None, None, devices=devices)
print("RESULT" + json.dumps(told(run(resume=False))))
""",
    "jax": """
import fmae_zoo
history = fmae_zoo.train(specs["conv-vae-bn"], data=data, devices=2, output=sys.argv[2])
print("RESULT" + json.dumps(told(history) | {"folder": str(history.folder)}))
try:
    fmae_zoo.train(specs["conv-vae-bn"], data=data, devices=2, output=sys.argv[2], resume=True)
except fmae_zoo.ArgumentError as error:
    assert "cannot be resumed" in str(error)
else:
    raise AssertionError
""",
}


def result_of(done):
    assert done.returncode == 0, done.stderr[-3000:]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    return json.loads(line.removeprefix("RESULT"))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What is trained on two devices."""
    folder = tmp_path_factory.mktemp("two")
    return result_of(run_python(COMMON + IN_ONE_PROCESS, json.dumps(SPECS), str(folder)))


@pytest.fixture(scope="module")
def one(sample):
    """The same on one device."""
    from dataclasses import replace

    from fmae_zoo.weights import tensors_of

    images, labels = sample.train_images[:230], sample.train_labels[:230]
    data = replace(sample, train_images=images, train_labels=labels)
    results = {}
    for name, changes in SPECS.items():
        slower = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.1**epoch)
        callbacks = [slower] if name == "dense-ae" else []
        history = fmae_zoo.train(tiny_spec(**changes), data=data, callbacks=callbacks)
        results[name] = history.rows, tensors_of(history.model)
    return results


def assert_as_on_one(result, one):
    rows, weights = one
    for row, expected in zip(result["rows"], rows, strict=True):
        assert row.keys() == expected.keys() - {"seconds"}
        for name, value in row.items():
            assert value == pytest.approx(expected[name], rel=1e-4), name
    for name, value in weights.items():
        np.testing.assert_allclose(result["weights"][name], value.ravel(), atol=1e-4, err_msg=name)


@pytest.mark.parametrize("name", SPECS)
def test_two_devices_have_the_losses_and_weights_of_one(name, two, one):
    assert_as_on_one(two[name], one[name])


@pytest.mark.skipif(BACKEND == "torch", reason="the replicas are in two processes")
@pytest.mark.parametrize("name", SPECS)
def test_every_variable_has_the_same_value_on_both_devices(name, two):
    assert (two[name]["devices"], two[name]["differ"]) == (2, [])


def test_a_run_on_two_devices_resumes_exactly_and_only_on_two(two):
    assert two["stopped after"] == 1
    assert two["resumed"] == {key: two["conv-vae-bn"][key] for key in ("rows", "weights")}
    assert two["environment"]["devices"] == "2"
    assert "devices: the checkpoint has 2, this run None" in two["resumed on one"]


@pytest.mark.skipif(BACKEND == "tensorflow", reason="one process")
def test_two_processes_have_the_same_weights_and_those_of_one(one, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def process(rank):
        environment = {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
            "KERAS_DISTRIBUTION_PROCESS_ID": str(rank),
        }
        code = COMMON + IN_TWO_PROCESSES[BACKEND]
        return run_python(code, json.dumps(SPECS), str(tmp_path), str(rank), **environment)

    with ThreadPoolExecutor() as pool:
        first, second = map(result_of, pool.map(process, range(2)))
    folders = first.pop("folder", None), second.pop("folder", None)
    assert first == second
    assert_as_on_one(first, one["conv-vae-bn"])
    if BACKEND == "jax":
        assert folders == (str(tmp_path), "None")


def test_devices_that_do_not_divide_the_images_are_an_error(few):
    with pytest.raises(ArgumentError, match=r"batch size \(33\).*training images \(192\)") as error:
        fmae_zoo.train(tiny_spec(), data=few, devices=5, batch_size=33)
    assert "validation images (38)" in str(error.value)


@pytest.mark.parametrize("devices", [0, -1, 1.5, True, "2"])
def test_devices_are_a_positive_integer(devices, few):
    with pytest.raises(ArgumentError, match="devices is"):
        fmae_zoo.train(tiny_spec(), data=few, devices=devices)


def test_fewer_devices_than_asked_for_are_an_error(few, monkeypatch):
    keras.ops.ones(1) + 1  # From now on JAX and TensorFlow have the one device of this process.
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with pytest.raises(ArgumentError, match=f"devices is 2; {BACKEND} has 1 here"):
        fmae_zoo.train(tiny_spec(), data=few, devices=2)


def test_a_model_without_gradient_steps_is_an_error(few):
    with pytest.raises(ArgumentError, match="principal_components takes no gradient steps"):
        fmae_zoo.train("pca", data=few, devices=2)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX divides any batch")
@pytest.mark.parametrize(
    ("name", "part"), [("conv-wae-mmd-bn", "mmd"), ("conv-vq-vae-bn", "vector_quantized")]
)
def test_what_is_computed_from_a_whole_batch_is_an_error(name, part, few):
    with pytest.raises(ArgumentError, match=f"{part} is computed from a whole batch"):
        fmae_zoo.train(name, data=few, devices=2, batch_size=32)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others clip the sum of the gradients")
def test_clipped_gradients_are_an_error_on_tensorflow(few):
    with pytest.raises(ArgumentError, match="clip_norm is"):
        fmae_zoo.train(tiny_spec(), data=few, devices=2, clip_norm=0.5)


@pytest.mark.skipif(BACKEND != "torch", reason="processes of torch.distributed")
def test_the_reason_of_a_process_that_cannot_begin_is_told(few, monkeypatch, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho first\necho out of memory\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(TrainingError, match="Process 1 of the training failed: out of memory"):
        fmae_zoo.train(tiny_spec(), data=few, devices=2)


def test_the_command_refuses_devices_for_many_trainings(fmae):
    code, _, error = fmae("train", "--all", "--devices", 2)
    assert code == 2
    assert "--devices is for one training" in error


@pytest.mark.skipif(BACKEND != "torch", reason="the note is the same")
def test_the_command_trains_on_two_parts_of_the_cpu_and_says_so(idx, tmp_path):
    (tmp_path / "tiny-ae").mkdir()
    (tmp_path / "tiny-ae" / "spec.toml").write_text(spec_toml(tiny_spec()))
    code = "import sys; from fmae_zoo.cli import main; sys.argv[0] = 'fmae'; main()"
    words = ("--devices", "2", "--data", str(idx), "--epochs", "1", "-o", str(tmp_path / "run"))
    done = run_python(code, "train", str(tmp_path / "tiny-ae"), *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 parts of the CPU were the devices" in done.stderr
    assert fmae_zoo.load(f"local:{tmp_path / 'run'}").spec.name == "tiny-ae"
