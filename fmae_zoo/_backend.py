"""Check that a Keras backend is there before Keras is imported."""

import importlib.util
import json
import os
import tempfile
from pathlib import Path

from fmae_zoo.errors import BackendError
from fmae_zoo.files import regular

BACKENDS = ("tensorflow", "torch", "jax")


def require_backend() -> str:
    """Return the backend that Keras will use, or explain how to install one.

    `KERAS_BACKEND` decides. Where it is not set, the backend in `$KERAS_HOME/keras.json` is
    taken if it is installed, else the first that is, and put into `KERAS_BACKEND`: Keras
    writes "tensorflow" into that file by itself, so the file alone binds nobody.

    Raises:
        BackendError: none is installed, or the one that is named is not.
    """
    if not os.path.isabs(os.path.expanduser("~")):
        # TensorFlow makes a folder of the name ~ where there is no home folder.
        os.environ.setdefault("KERAS_HOME", str(keras_home()))
    named = os.environ.get("KERAS_BACKEND")
    if named and named not in BACKENDS:
        raise BackendError(
            f"KERAS_BACKEND is {named!r}; fmae_zoo runs on one of {', '.join(BACKENDS)}."
        )
    if named:
        if not is_installed(named):
            raise BackendError(
                f"KERAS_BACKEND is {named!r}, which is not installed. "
                f'Install it with: pip install "fmae-zoo[{named}]"' + _others_installed(named)
            )
        return named
    for backend in (_configured_backend(), *BACKENDS):
        if backend in BACKENDS and is_installed(backend):
            os.environ["KERAS_BACKEND"] = backend
            return backend
    raise BackendError(
        "No Keras backend is installed. Install one with: "
        'pip install "fmae-zoo[jax]"   (or [torch], or [tensorflow])'
    )


def is_installed(backend: str) -> bool:
    """Whether the package of a backend can be imported."""
    return importlib.util.find_spec(backend) is not None


def _others_installed(named: str) -> str:
    others = [name for name in BACKENDS if name != named and is_installed(name)]
    return f" or set KERAS_BACKEND={others[0]}, which is installed." if others else ""


def keras_home() -> Path:
    """Return the folder of Keras' settings and data sets, also where there is no home folder."""
    given = os.environ.get("KERAS_HOME")
    home = os.path.expanduser("~")
    base = home if os.path.isabs(home) else tempfile.gettempdir()
    return Path(given) if given else Path(base, ".keras")


def _configured_backend() -> str | None:
    try:
        path = keras_home() / "keras.json"
        return json.loads(regular(path).read_text(encoding="utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None


def is_on_cpu() -> bool:
    """Whether Keras computes on the CPU."""
    import keras

    backend = keras.backend.backend()
    if backend == "torch":
        return bool(keras.ops.convert_to_tensor(0.0).device.type == "cpu")
    if backend == "jax":
        import jax

        return bool(jax.default_backend() == "cpu")
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")
