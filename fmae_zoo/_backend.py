"""Choice of an installed Keras backend before Keras is imported."""

import importlib.util
import json
import os
import tempfile
from pathlib import Path

from fmae_zoo.errors import BackendError
from fmae_zoo.files import regular

BACKENDS = ("tensorflow", "torch", "jax")


def require_backend() -> str:
    """Return the name of the backend that Keras will use.

    `KERAS_BACKEND` decides. If it is not set, it is set here: to the backend named in
    `$KERAS_HOME/keras.json` if that is installed, else to the first of `BACKENDS` that is. The
    file is only a preference, because Keras writes "tensorflow" into it by itself.

    Raises:
        BackendError: No backend is installed, or `KERAS_BACKEND` names one that is not supported
            or not installed. The message says how to install one.
    """
    if not os.path.isabs(os.path.expanduser("~")):
        # Without a home folder, TensorFlow would create a folder named "~".
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
    """Return whether a backend's package is installed."""
    return importlib.util.find_spec(backend) is not None


def _others_installed(named: str) -> str:
    others = [name for name in BACKENDS if name != named and is_installed(name)]
    return f" or set KERAS_BACKEND={others[0]}, which is installed." if others else ""


def keras_home() -> Path:
    """Return the folder of Keras' settings and data sets, even without a home folder."""
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
    """Return whether Keras computes on the CPU."""
    import keras

    backend = keras.backend.backend()
    if backend == "torch":
        return bool(keras.ops.convert_to_tensor(0.0).device.type == "cpu")
    if backend == "jax":
        import jax

        return bool(jax.default_backend() == "cpu")
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")
