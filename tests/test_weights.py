import json
import os
import resource
import struct

import keras
import numpy as np
import pytest
import safetensors.numpy

from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.errors import WeightsError
from fmae_zoo.weights import (
    halved,
    load_weights,
    named_variables,
    read_tensors,
    save_tensors,
    save_weights,
    tensors_of,
)
from tests.conftest import TINY_CONV, tiny_spec


@pytest.fixture(scope="module")
def model():
    return Autoencoder(tiny_spec(network=TINY_CONV)).posterior


@pytest.fixture
def file(model, tmp_path):
    path = tmp_path / "encoder.safetensors"
    return path, save_weights(model, path)


@pytest.fixture
def refused(model):
    """Load a file that must be refused, and check that the model did not change."""

    def load(path, digest=None, match=None):
        before = tensors_of(model)
        with pytest.raises(WeightsError, match=match) as error:
            load_weights(model, path, digest)
        after = tensors_of(model)
        assert all(np.array_equal(before[key], after[key]) for key in before)
        return str(error.value)

    return load


def test_keys_are_the_networks_own_names(model):
    keys = set(named_variables(model))
    assert {"stage1_conv1.kernel", "stage1_conv1_bn.moving_variance", "latent.bias"} <= keys


def test_saving_the_same_weights_gives_the_same_bytes(model, file, tmp_path):
    assert save_weights(model, tmp_path / "again.safetensors") == file[1]


def test_nothing_is_left_beside_the_file(file):
    assert [path.name for path in file[0].parent.iterdir()] == [file[0].name]


def test_a_file_truncated_anywhere_is_refused(file, refused):
    path, digest = file
    content = path.read_bytes()
    offsets = {0, 1, 7, 8, 9, 50, len(content) // 2, len(content) - 1}
    offsets |= set(np.random.default_rng(0).integers(0, len(content), 40).tolist())
    for offset in sorted(offsets):
        path.write_bytes(content[:offset])
        refused(path)
        refused(path, digest, match="SHA-256 expected")


def test_any_flipped_bit_is_refused_by_the_digest(file, refused):
    path, digest = file
    content = path.read_bytes()
    for position in np.random.default_rng(1).integers(0, 8 * len(content), 60):
        altered = bytearray(content)
        altered[position // 8] ^= 1 << (position % 8)
        path.write_bytes(bytes(altered))
        message = refused(path, digest)
        assert digest in message
        assert path.name in message


def test_flipped_bits_without_a_digest_never_crash_or_half_load(model, file):
    """Without a digest a flipped bit of a value cannot be seen; the rest is a typed error."""
    path, _ = file
    content = path.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    kept = tensors_of(model)
    for position in range(0, 8 * header, 97):
        altered = bytearray(content)
        altered[position // 8] ^= 1 << (position % 8)
        path.write_bytes(bytes(altered))
        try:
            load_weights(model, path)
        except WeightsError:
            assert all(np.array_equal(kept[k], v) for k, v in tensors_of(model).items())
    path.write_bytes(content)
    load_weights(model, path)


@pytest.mark.parametrize(
    "length", [2**63 - 1, 2**40, 100_000_000, 10**6], ids=["exa", "tera", "100 MB", "1 MB"]
)
def test_a_header_that_claims_more_than_there_is_is_refused(file, refused, length):
    path, _ = file
    path.write_bytes(struct.pack("<Q", length) + path.read_bytes()[8:])
    refused(path)


def test_tensors_that_claim_terabytes_are_refused(tmp_path, refused):
    header = json.dumps(
        {"latent.kernel": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ).encode()
    path = tmp_path / "bomb.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    refused(path)


def test_a_file_larger_than_the_model_is_refused_unread(model, tmp_path, refused):
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: it takes no room
    refused(path, match="needs at most")


def test_refusing_does_not_grow_memory(tmp_path):
    path = tmp_path / "truncated.safetensors"
    tensors = {"ballast": np.zeros(1 << 20, "float32")}
    path.write_bytes(safetensors.numpy.save(tensors)[:-1])
    peaks = []
    for _ in range(3):
        for _ in range(20):
            # Without the digest, so that the parser and not the digest refuses it.
            with pytest.raises(WeightsError, match="not a whole safetensors file"):
                read_tensors(path)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert peaks[-1] - peaks[0] < 20 * 1024  # KiB; twenty leaked files would be 80 MiB


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("latent.bias"), "missing tensor latent.bias"),
        (lambda t: t.update(extra=np.zeros(1, "float32")), "unexpected tensor extra"),
        (
            lambda t: t.update({"latent.bias": np.zeros(3, "float32")}),
            r"latent.bias: expected shape \(4,\), received \(3,\)",
        ),
        (
            lambda t: t.update({"latent.bias": np.zeros(4, "float64")}),
            "latent.bias: expected float32, received float64",
        ),
        (
            lambda t: t.update({"latent.bias": np.full(4, np.nan, "float32")}),
            "latent.bias: holds NaN",
        ),
    ],
)
def test_what_does_not_fit_is_named(model, tmp_path, refused, change, words):
    tensors = tensors_of(model)
    change(tensors)
    save_tensors(tensors, tmp_path / "wrong.safetensors")
    refused(tmp_path / "wrong.safetensors", match=words)


def test_kernels_in_float16_come_back_rounded(model, tmp_path):
    stored = halved(tensors_of(model))
    assert stored["stage1_conv1.kernel"].dtype == "float16"
    assert stored["stage1_conv1_bn.moving_variance"].dtype == "float32"
    save_tensors(stored, tmp_path / "half.safetensors")
    load_weights(model, tmp_path / "half.safetensors")
    loaded = tensors_of(model)
    assert all(loaded[key].dtype == "float32" for key in stored)
    assert all(np.array_equal(loaded[key], stored[key]) for key in stored)


def test_a_missing_file_and_a_folder_are_refused(tmp_path, refused):
    refused(tmp_path / "none.safetensors", match="cannot be read")
    refused(tmp_path, match=str(tmp_path))


def test_a_pickle_is_not_opened(tmp_path, refused):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    (tmp_path / "bomb.safetensors").write_bytes(pickle.dumps(Bomb()))
    refused(tmp_path / "bomb.safetensors")
    assert not (tmp_path / "opened").exists()


def test_a_failed_write_leaves_the_old_file(model, file, monkeypatch):

    path, digest = file

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_tensors({"a": np.zeros(3)}, path)
    monkeypatch.undo()
    read_tensors(path, digest)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_loading_is_exact(file):
    path, digest = file
    other = Autoencoder(tiny_spec(network=TINY_CONV), seed=9).posterior
    load_weights(other, path, digest)
    for key, tensor in safetensors.numpy.load_file(path).items():
        value = keras.ops.convert_to_numpy(named_variables(other)[key].value)
        np.testing.assert_array_equal(value, tensor)
