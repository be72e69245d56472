"""The package asks frameworks for what they promise; what it asks beyond that may be missing."""

import ast
import re

import keras
import numpy as np
import pytest

from fmae_zoo import internals
from tests.conftest import ROOT
from tests.fits import IMAGES, autoencoder

PACKAGE = ROOT / "fmae_zoo"
IMPORTS = re.compile(
    r"keras\.src|torch\.(_|jit\b)|tensorflow\.(python|compiler)|jax\._src|torch\.fx\.experimental"
)
NAMES = {
    "make_fx",
    "_value",
    "_flatten_layers",
    "_inbound_nodes",
    "_keras_history",
    "_jax_state",
    "_jax_state_synced",
    "_symbolic_build",
    "_loss_tracker",
    "_compile_metrics",
    "_compile_loss",
    "_layers",
    "_metrics",
    "_functional",
    "_trainable_variables",
    "_non_trainable_variables",
    "_momentums",
    "_velocities",
    "_update_step",
    "_backend_apply_gradients",
    "_learning_rate",
    "_get_jax_state",
    "_enforce_jax_state_sharding",
    "_call_has_training_arg",
    "_iterations",
    "_initializer",
    "_dtype_policy",
    "_src",
    "_C",
    "_dynamo",
    "_functorch",
}


def private_uses(text):
    """Give what a module names that a framework keeps to itself, with its line."""
    for node in ast.walk(ast.parse(text)):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            found = [ast.unparse(node)]
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if node.attr in NAMES and not own:
                yield node.lineno, found[0]
        yield from ((node.lineno, name) for name in found if IMPORTS.search(name))


@pytest.mark.parametrize(
    "text",
    [
        "from keras.src import models",
        "import keras.src.layers",
        "import torch._dynamo",
        "torch.jit.trace(f)",
        "torch._C",
        "variable._value",
        "model._flatten_layers()",
        "tensor._keras_history",
        "from torch.fx.experimental.proxy_tensor import make_fx",
        "from tensorflow.python import eager",
        "from jax._src import core",
    ],
)
def test_a_private_name_is_found(text):
    assert list(private_uses(text))
    assert not list(private_uses("self._value = variable.value\nkeras.layers.Dense._mine"))


def test_only_what_is_set_apart_names_what_a_framework_keeps_to_itself():
    found = {
        f"{path.relative_to(ROOT)}:{line}": name
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, name in private_uses(path.read_text())
    }
    inside = {place for place in found if place.startswith("fmae_zoo/internals.py")}
    assert not {place: name for place, name in found.items() if place not in inside}
    assert len(inside) <= 3


def test_no_method_of_a_framework_is_replaced():
    """No assignment to an attribute of keras, torch, tensorflow, tf or jax."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                if isinstance(target, ast.Attribute):
                    root = ast.unparse(target).split(".")[0]
                    assert root not in ("keras", "torch", "tensorflow", "tf", "jax", "ops"), path


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="options of JAX's compiler")
def test_where_jax_knows_no_such_option_it_does_without_and_trains(monkeypatch):
    import jax

    own, asked = jax.jit, []

    def refusing(function=None, **options):
        if options.get("compiler_options"):
            asked.append(options["compiler_options"])
            raise ValueError("No such compile option")
        return own(function, **options)

    internals.xla_options.cache_clear()
    monkeypatch.setattr(jax, "jit", refusing)
    try:
        assert internals.xla_options() == {}
        assert asked
        model = autoencoder()
        history = model.fit(IMAGES[:20], batch_size=8, epochs=2, verbose=0).history
        assert np.isfinite(history["loss"]).all()
        assert model.encode(IMAGES[:3]).shape == (3, 4)
        assert len(asked) == 1
    finally:
        internals.xla_options.cache_clear()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="options of JAX's compiler")
def test_an_accelerator_is_compiled_for_without_options(monkeypatch):
    internals.xla_options.cache_clear()
    monkeypatch.setattr(internals, "is_on_cpu", lambda: False)
    try:
        assert internals.xla_options() == {}
    finally:
        internals.xla_options.cache_clear()


def test_muon_trains_where_keras_asks_nothing_about_convolutions(monkeypatch):
    monkeypatch.delattr(keras.optimizers.Muon, "_should_use_adamw")
    model = autoencoder()
    model.compile(internals.ConvMuon(1e-3))
    assert np.isfinite(model.fit(IMAGES, batch_size=8, verbose=0).history["loss"]).all()
