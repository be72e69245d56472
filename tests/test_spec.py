from datetime import date

import numpy as np
import pytest

from fmae_zoo.errors import SpecError
from fmae_zoo.registry import entries
from fmae_zoo.saving import spec_toml
from fmae_zoo.spec import ModelSpec
from tests.conftest import TINY_CONV, spec_dict, tiny_spec


def test_a_spec_survives_toml(tmp_path):
    for spec in [tiny_spec(), tiny_spec(network=TINY_CONV), *[e.spec for e in entries()]]:
        (tmp_path / "spec.toml").write_text(spec_toml(spec))
        assert ModelSpec.from_toml(tmp_path) == spec


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "Bad Name"}, ["spec.toml: name:", "pattern", "'Bad Name'"]),
        ({"latent": {"type": "deterministic", "size": 0}}, ["latent", "size", "received 0"]),
        ({"latent": {"type": "deterministic", "size": 10**12}}, ["size", "65536"]),
        ({"latent": {"type": "quantum", "size": 4}}, ["latent", "'deterministic'", "quantum"]),
        ({"network": {"type": "dense", "units": []}}, ["network.units", "at least 1"]),
        ({"network": {"type": "dense", "unitz": [4]}}, ["units: Field required", "unitz"]),
        ({"recipe": {"epoch": 3}}, ["recipe.epoch", "did you mean 'epochs'?"]),
        ({"recipe": {"epochs": "many"}}, ["recipe.epochs", "integer", "'many'"]),
        ({"recipe": {"epochs": True}}, ["recipe.epochs", "integer", "True"]),
        ({"recipe": {"epochs": "64"}}, ["recipe.epochs", "integer", "'64'"]),
        ({"recipe": {"augment": "yes"}}, ["recipe.augment", "boolean", "'yes'"]),
        ({"recipe": {"optimizer": "adamm"}}, ["recipe.optimizer", "'adam'", "'adamm'"]),
        ({"recipe": {"learning_rate": float("inf")}}, ["recipe.learning_rate", "finite"]),
        ({"recipe": {"momentum": 0.9}}, ["recipe", "momentum: adam has none"]),
        ({"network": {"type": "dense", "units": [65536] * 4}}, ["weights", "at most 100,000,000"]),
        ({"network": TINY_CONV | {"base": [28, 28, 65536]}}, ["112 x 112", "28 x 28"]),
        ({"network": TINY_CONV | {"base": [6, 7, 4]}}, ["24 x 28"]),
        ({"network": TINY_CONV | {"encoder": [{"filters": [1], "pool": "max"}] * 5}}, ["pools"]),
        (
            {"network": TINY_CONV, "latent": {"type": "spatial", "size": 5}},
            ["latent.size: 5", "size = 196"],
        ),
        ({"objective": {"type": "elbo"}}, ["latent.type =", "'gaussian'"]),
        ({"recipe": {"warmup_epochs": 1e308}}, ["recipe.warmup_epochs", "100000"]),
        ({"recipe": {"weight_decay": 1e300}}, ["recipe.weight_decay", "1000"]),
        ({"recipe": {"clip_norm": 1e300}}, ["recipe.clip_norm", "1000000000"]),
        ({"recipe": {"epochs": date(2020, 1, 1)}}, ["recipe.epochs", "number", "2020, 1, 1"]),
        (
            {"network": TINY_CONV | {"encoder": [{"filters": [65536, 1], "pool": "max"}] * 2}},
            ["network", "51,380,224 values", "2,000,000"],
        ),
    ],
)
def test_errors_name_file_key_value_and_expectation(tmp_path, changes, words):
    (tmp_path / "spec.toml").write_text(_toml(spec_dict(**changes)))
    with pytest.raises(SpecError) as error:
        ModelSpec.from_toml(tmp_path)
    for word in [str(tmp_path / "spec.toml"), *words]:
        assert word in str(error.value)


def test_every_broken_rule_is_named():
    with pytest.raises(SpecError) as error:
        ModelSpec.from_dict({"name": "x"})
    for key in ("summary", "network", "latent", "objective"):
        assert f"{key}: Field required" in str(error.value)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        ModelSpec.from_toml(tmp_path / "spec.toml")
    (tmp_path / "spec.toml").write_text("name = ")
    with pytest.raises(SpecError, match="not valid TOML"):
        ModelSpec.from_toml(tmp_path)
    (tmp_path / "spec.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read"):
        ModelSpec.from_toml(tmp_path)


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        tiny_spec().name = "other"


def _toml(content: dict) -> str:
    import tomli_w

    return tomli_w.dumps(content)


def test_numpys_numbers_are_numbers_and_dates_are_no_text(tmp_path):
    spec = ModelSpec.from_dict(spec_dict(recipe={"epochs": np.int64(3)}))
    assert spec.recipe.epochs == 3
    (tmp_path / "spec.toml").write_text("name = 2020-01-01")
    with pytest.raises(SpecError, match="2020"):
        ModelSpec.from_toml(tmp_path)


def test_absurd_nesting_is_an_error(tmp_path):
    (tmp_path / "spec.toml").write_text("name = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(SpecError):
        ModelSpec.from_toml(tmp_path)
