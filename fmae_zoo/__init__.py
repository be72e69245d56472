"""fmae_zoo: named, pretrained, verified autoencoders for Fashion-MNIST on any Keras backend.

The public names are imported when they are first used, so `import fmae_zoo` imports
neither Keras nor a backend.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = {
    "ArgumentError": "errors",
    "Autoencoder": "autoencoder",
    "BackendError": "errors",
    "CacheError": "errors",
    "Classifier": "classifier",
    "CodeMixture": "mixture",
    "DataError": "errors",
    "Dataset": "data",
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
    "list_models": "registry",
    "load": "loading",
    "load_data": "data",
    "publish": "hub.publish",
    "pull": "hub.pull",
    "push": "hub.push",
    "register": "registry",
    "save": "entry",
    "search": "hub.search",
    "train": "training",
    "verify": "verification",
}

_NEED_KERAS = {
    "Autoencoder",
    "Classifier",
    "CodeMixture",
    "evaluate",
    "publish",
    "push",
    "train",
    "verify",
}

__all__ = sorted(_MODULES)

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder as Autoencoder
    from fmae_zoo.benchmarking import benchmark as benchmark
    from fmae_zoo.classifier import Classifier as Classifier
    from fmae_zoo.data import Dataset as Dataset
    from fmae_zoo.data import load_data as load_data
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
    from fmae_zoo.loading import load as load
    from fmae_zoo.mixture import CodeMixture as CodeMixture
    from fmae_zoo.registry import list_models as list_models
    from fmae_zoo.registry import register as register
    from fmae_zoo.spec import ModelSpec as ModelSpec
    from fmae_zoo.training import train as train
    from fmae_zoo.verification import verify as verify


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'fmae_zoo' has no attribute {name!r}")
    if name in _NEED_KERAS:
        import_module("fmae_zoo._backend").require_backend()
    value = getattr(import_module(f"fmae_zoo.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
