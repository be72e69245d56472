from types import SimpleNamespace

import keras
import numpy as np
import pytest

import fmae_zoo
from fmae_zoo import precision
from fmae_zoo.errors import ArgumentError
from fmae_zoo.precision import cpu_features, resolve

ON_CPU = {"tensorflow": "mixed_bfloat16", "torch": "mixed_bfloat16", "jax": "float32"}


@pytest.fixture(autouse=True)
def _asked_anew():
    precision._has_bfloat16.cache_clear()
    yield
    precision._has_bfloat16.cache_clear()


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_policy_stays_itself(policy):
    assert resolve(policy) == policy


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(precision, "Path", lambda _: file)

    def write(vendor, flags):
        file.write_text(f"processor : 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\nbugs : none\n")
        return file

    return write


@pytest.mark.parametrize(
    ("vendor", "flags"),
    [
        ("GenuineIntel", "fpu avx2 avx512_bf16 amx_bf16"),
        ("AuthenticAMD", "fpu avx2 avx512_bf16"),
    ],
)
def test_auto_is_bfloat16_where_cpu_and_backend_are_faster_in_it(cpuinfo, vendor, flags):
    cpuinfo(vendor, flags)
    assert resolve("auto") == ON_CPU[keras.backend.backend()]


@pytest.mark.parametrize(
    ("vendor", "flags"), [("AuthenticAMD", "fpu avx2"), ("GenuineIntel", "fpu avx2 avx512_bf16")]
)
def test_auto_is_float32_on_other_cpus(cpuinfo, vendor, flags):
    cpuinfo(vendor, flags)
    assert resolve("auto") == "float32"


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="how JAX describes a GPU")
@pytest.mark.parametrize(
    ("capability", "found"), [("9.0", True), ("7.5", False), ("gfx90a", False)]
)
def test_auto_on_gpus_of_jax(monkeypatch, capability, found):
    import jax

    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(compute_capability=capability)])
    assert (resolve("auto") == "mixed_bfloat16") == found


def test_features_are_those_of_this_cpu(cpuinfo):
    file = cpuinfo("GenuineIntel", "fpu avx2 amx_bf16")
    assert cpu_features() == {"fpu", "avx2", "amx_bf16"}
    file.unlink()
    assert cpu_features() == set()
    assert resolve("auto") == "float32"


@pytest.mark.parametrize("wrong", ["float8", "bfloat16", "", 16])
def test_another_precision_is_refused(wrong):
    with pytest.raises(ArgumentError, match="mixed_bfloat16"):
        fmae_zoo.load("dense-ae", precision=wrong)


def test_a_model_of_low_precision_gives_nearly_the_same_codes(images):
    exact = fmae_zoo.load("conv-ae-bn", pretrained=True).encode(images)
    model = fmae_zoo.load("conv-ae-bn", pretrained=True, precision="mixed_bfloat16")
    codes = model.encode(images)
    assert codes.dtype == np.float32
    assert 0.0 < np.abs(codes - exact).max() < 0.05 * np.abs(exact).max()
