"""fmae_zoo: named, pretrained, verified autoencoders for Fashion-MNIST on any Keras backend.

The public names are imported when they are first used, so `import fmae_zoo` imports
neither Keras nor a backend.
"""

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = {
    "ArgumentError": "errors",
    "Autoencoder": "autoencoder",
    "BackendError": "errors",
    "CacheError": "errors",
    "Classifier": "classifier",
    "DataError": "errors",
    "Dataset": "datasets",
    "DigestError": "errors",
    "DuplicateModelError": "errors",
    "FmaeError": "errors",
    "GatedRepoError": "errors",
    "HubConflictError": "errors",
    "HubConnectionError": "errors",
    "HubError": "errors",
    "HubPermissionError": "errors",
    "HubServerError": "errors",
    "HubTimeoutError": "errors",
    "ImagesError": "errors",
    "ModelSpec": "spec",
    "NoWeightsError": "errors",
    "NotCachedError": "errors",
    "PushRefusedError": "errors",
    "RateLimitError": "errors",
    "RepoFileNotFoundError": "errors",
    "RepoNotFoundError": "errors",
    "RevisionNotFoundError": "errors",
    "SpecError": "errors",
    "StaleCacheWarning": "errors",
    "TrainingError": "errors",
    "UnknownModelError": "errors",
    "WeightsError": "errors",
    "benchmark": "benchmarking",
    "evaluate": "evaluation",
    "fit_samplers": "samplers.fitting",
    "list_models": "registry",
    "load": "loading",
    "load_data": "datasets",
    "publish": "hub.publish",
    "pull": "hub.pull",
    "push": "hub.push",
    "register": "registry",
    "save": "entry",
    "search": "hub.search",
    "stock": "layers",
    "train": "training.run",
    "verify": "verification",
}

_NEED_KERAS = {
    "Autoencoder",
    "Classifier",
    "evaluate",
    "fit_samplers",
    "publish",
    "push",
    "stock",
    "train",
    "verify",
}

__all__ = sorted(_MODULES)

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder as Autoencoder
    from fmae_zoo.benchmarking import benchmark as benchmark
    from fmae_zoo.classifier import Classifier as Classifier
    from fmae_zoo.datasets import Dataset as Dataset
    from fmae_zoo.datasets import load_data as load_data
    from fmae_zoo.entry import save as save
    from fmae_zoo.errors import ArgumentError as ArgumentError
    from fmae_zoo.errors import BackendError as BackendError
    from fmae_zoo.errors import CacheError as CacheError
    from fmae_zoo.errors import DataError as DataError
    from fmae_zoo.errors import DigestError as DigestError
    from fmae_zoo.errors import DuplicateModelError as DuplicateModelError
    from fmae_zoo.errors import FmaeError as FmaeError
    from fmae_zoo.errors import GatedRepoError as GatedRepoError
    from fmae_zoo.errors import HubConflictError as HubConflictError
    from fmae_zoo.errors import HubConnectionError as HubConnectionError
    from fmae_zoo.errors import HubError as HubError
    from fmae_zoo.errors import HubPermissionError as HubPermissionError
    from fmae_zoo.errors import HubServerError as HubServerError
    from fmae_zoo.errors import HubTimeoutError as HubTimeoutError
    from fmae_zoo.errors import ImagesError as ImagesError
    from fmae_zoo.errors import NotCachedError as NotCachedError
    from fmae_zoo.errors import NoWeightsError as NoWeightsError
    from fmae_zoo.errors import PushRefusedError as PushRefusedError
    from fmae_zoo.errors import RateLimitError as RateLimitError
    from fmae_zoo.errors import RepoFileNotFoundError as RepoFileNotFoundError
    from fmae_zoo.errors import RepoNotFoundError as RepoNotFoundError
    from fmae_zoo.errors import RevisionNotFoundError as RevisionNotFoundError
    from fmae_zoo.errors import SpecError as SpecError
    from fmae_zoo.errors import StaleCacheWarning as StaleCacheWarning
    from fmae_zoo.errors import TrainingError as TrainingError
    from fmae_zoo.errors import UnknownModelError as UnknownModelError
    from fmae_zoo.errors import WeightsError as WeightsError
    from fmae_zoo.evaluation import evaluate as evaluate
    from fmae_zoo.hub.publish import publish as publish
    from fmae_zoo.hub.pull import pull as pull
    from fmae_zoo.hub.push import push as push
    from fmae_zoo.hub.search import search as search
    from fmae_zoo.layers import stock as stock
    from fmae_zoo.loading import load as load
    from fmae_zoo.registry import list_models as list_models
    from fmae_zoo.registry import register as register
    from fmae_zoo.samplers.fitting import fit_samplers as fit_samplers
    from fmae_zoo.spec import ModelSpec as ModelSpec
    from fmae_zoo.training.run import train as train
    from fmae_zoo.verification import verify as verify


def _register_classes() -> None:
    """Import what `keras.saving.load_model` finds in a file of this package's models."""
    try:
        for module in ("autoencoder", "classifier", "training.optimizer"):
            import_module(f"fmae_zoo.{module}")
    except ImportError:
        # One of them is what imports Keras, and not whole yet: the next name that is asked for,
        # or its own import, registers the others.
        return


class _WithKeras(MetaPathFinder):
    """Registers the package's classes when Keras is imported, which this package does not do."""

    _looks = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find Keras by the other finders, and have its loader register the classes."""
        if name != "keras" or self._looks:
            return None
        self._looks = True
        try:
            spec = find_spec(name)
        finally:
            self._looks = False
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenRegister(spec.loader)
        return spec


class _ThenRegister(Loader):
    """Loads a module as another loader does, then registers the package's classes."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> Any:
        """Create the module."""
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """Execute the module, then import the classes."""
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, _WithKeras)]
        _register_classes()


if "keras" in sys.modules:
    _register_classes()
else:
    sys.meta_path.insert(0, _WithKeras())


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'fmae_zoo' has no attribute {name!r}")
    if name in _NEED_KERAS:
        import_module("fmae_zoo._backend").require_backend()
        import_module("keras")
        _register_classes()
    value = getattr(import_module(f"fmae_zoo.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
