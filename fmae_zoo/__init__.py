"""fmae_zoo: named, pretrained, verified autoencoders for Fashion-MNIST on any Keras backend.

`__init__.pyi` lists the public names. Each is imported when it is first used, so
`import fmae_zoo` imports neither Keras nor a backend.
"""

from importlib import import_module
from typing import Any

import lazy_loader

from fmae_zoo._registering import register_classes, register_with_keras

__version__ = "0.1.0"

_lazy, _, __all__ = lazy_loader.attach_stub(__name__, __file__)

_NEED_KERAS = {
    "AnomalyDetector",
    "Autoencoder",
    "Classifier",
    "classify",
    "evaluate",
    "export",
    "fit_samplers",
    "publish",
    "push",
    "stock",
    "sweep",
    "train",
    "verify",
}


register_with_keras()


def __getattr__(name: str) -> Any:
    if name in _NEED_KERAS:
        import_module("fmae_zoo._backend").require_backend()
        import_module("keras")
        register_classes()
    return _lazy(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
