"""Exported models, run by their runtimes: `export` itself compares each with Keras."""

import json

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import fmae_zoo
from fmae_zoo import exporting
from fmae_zoo.cli import cli
from fmae_zoo.errors import ArgumentError, ExportError
from fmae_zoo.exporting import FORMATS
from tests.conftest import TINY_CONV, tiny_spec
from tests.fits import BACKEND

HERE = [name for name, each in FORMATS.items() if BACKEND in each.backends]
ELSEWHERE = [name for name in FORMATS if name not in HERE]


@pytest.fixture(scope="module")
def model():
    return fmae_zoo.Autoencoder(tiny_spec(network=TINY_CONV), seed=3)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    return fmae_zoo.save(model, tmp_path_factory.mktemp("saved") / "model")


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("format", [name for name in HERE if name != "litert"])
def test_a_file_computes_what_keras_does_for_any_batch(
    format, part, model, saved, images, tmp_path
):
    kind = FORMATS[format]
    done = fmae_zoo.export(saved, tmp_path / f"exported{kind.suffix}", format=format, part=part)
    assert (done.path.exists(), done.part, done.format) == (True, part, format)
    assert done.size > 1000
    floats = (images[..., None] / 255.0).astype("float32")
    inputs = floats if part == "encoder" else model.encode(images)
    expected = getattr(model, part).predict(inputs, verbose=0)
    run = kind.runner(done.path)
    np.testing.assert_allclose(run(inputs), expected, atol=1e-4)
    np.testing.assert_allclose(run(inputs[:3]), expected[:3], atol=1e-4)
    assert not list(tmp_path.glob(".saving-*"))


@pytest.mark.skipif("litert" not in HERE, reason="Keras writes LiteRT on TensorFlow")
def test_litert_runs_encoders_and_says_what_it_cannot_run(saved, images, tmp_path):
    done = fmae_zoo.export("conv-vae-bn", tmp_path / "encoder.tflite", format="litert")
    floats = (images[:3, ..., None] / 255.0).astype("float32")
    expected = fmae_zoo.load("conv-vae-bn", pretrained=True).encode(images[:3])
    np.testing.assert_allclose(exporting._litert(done.path)(floats), expected, atol=1e-4)
    with pytest.raises(ExportError, match=r"cannot run decoder\.tflite"):
        fmae_zoo.export(saved, tmp_path / "decoder.tflite", format="litert", part="decoder")
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.tflite"]


@pytest.mark.parametrize("format", [name for name in HERE if name != "litert"])
def test_a_classifier_is_exported_whole(format, images, tmp_path):
    classifier = fmae_zoo.load("conv-ae-bn.fmnist-classifier", pretrained=True)
    path = tmp_path / f"classifier{FORMATS[format].suffix}"
    done = fmae_zoo.export("conv-ae-bn.fmnist-classifier", path, format=format)
    assert done.part == "classifier"
    found = FORMATS[format].runner(path)((images[:4, ..., None] / 255.0).astype("float32"))
    np.testing.assert_allclose(found, classifier.predict(images[:4]), atol=1e-4)


@pytest.mark.skipif("onnx" not in HERE, reason="Keras writes ONNX on PyTorch")
def test_int8_is_smaller_and_near(tmp_path):
    whole = fmae_zoo.export("dense-ae", tmp_path / "whole.onnx")
    small = fmae_zoo.export("dense-ae", tmp_path / "small.onnx", int8=True)
    assert small.size < 0.4 * whole.size
    images = fmae_zoo.datasets.load_sample().test_images
    floats = (images[..., None] / 255.0).astype("float32")
    one, other = (exporting._onnx(each.path)(floats) for each in (whole, small))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99
    with pytest.raises(ArgumentError, match="int8 is for encoders"):
        fmae_zoo.export("dense-ae", tmp_path / "decoder.onnx", part="decoder", int8=True)


@pytest.mark.parametrize("format", ELSEWHERE)
def test_a_backend_that_cannot_write_a_format_names_one_that_can(format, saved, tmp_path):
    with pytest.raises(ArgumentError, match=f"to {format} on {BACKEND}: set KERAS_BACKEND="):
        fmae_zoo.export(saved, tmp_path / "model", format=format)


def test_a_file_that_computes_something_else_is_not_kept(saved, tmp_path, monkeypatch):
    format = HERE[0]
    path = tmp_path / f"wrong{FORMATS[format].suffix}"
    monkeypatch.setattr(keras.Model, "predict", lambda *_, **__: np.full((1, 4), 7.0))
    with pytest.raises(ExportError, match="differs from Keras by"):
        fmae_zoo.export(saved, path, format=format)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "onxx"}, "expected one of onnx, openvino"),
        ({"part": "whole"}, "expected encoder or decoder"),
        ({"path": "model.bin"}, "expected a file"),
        ({"source": "conv-cvae-bn", "part": "decoder"}, "told the class"),
        ({"source": "conv-ae-bn.fmnist-classifier", "part": "encoder"}, "exported whole"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, saved, tmp_path):
    format = next(name for name in HERE if FORMATS[name].suffix) if BACKEND != "jax" else HERE[0]
    if "path" in arguments and not FORMATS[format].suffix:
        pytest.skip("a SavedModel is a folder of any name")
    options = {"source": saved, "format": format, "path": f"model{FORMATS[format].suffix}"}
    options |= arguments
    with pytest.raises(ArgumentError, match=message):
        fmae_zoo.export(options.pop("source"), tmp_path / options.pop("path"), **options)
    assert not list(tmp_path.iterdir())


def test_the_command_exports_and_keeps_what_is_there(saved, tmp_path):
    path = tmp_path / f"model{FORMATS[HERE[0]].suffix}"
    words = ["export", f"local:{saved}", "--format", HERE[0], "-o", str(path)]
    result = CliRunner().invoke(cli, [*words, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["difference"] < 1e-4
    again = CliRunner().invoke(cli, words)
    assert isinstance(again.exception, ArgumentError)
    assert "is there already" in str(again.exception)
