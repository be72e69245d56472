"""The public names of the package and the modules that define them."""

__version__: str

from .anomalies import AnomalyDetector as AnomalyDetector
from .autoencoder import Autoencoder as Autoencoder
from .benchmarking import benchmark as benchmark
from .classifier import Classifier as Classifier
from .datasets import Dataset as Dataset, load_data as load_data
from .errors import (
    ArgumentError as ArgumentError,
    BackendError as BackendError,
    CacheError as CacheError,
    DataError as DataError,
    DigestError as DigestError,
    DuplicateModelError as DuplicateModelError,
    ExportError as ExportError,
    FmaeError as FmaeError,
    GatedRepoError as GatedRepoError,
    HubConflictError as HubConflictError,
    HubConnectionError as HubConnectionError,
    HubError as HubError,
    HubPermissionError as HubPermissionError,
    HubServerError as HubServerError,
    HubTimeoutError as HubTimeoutError,
    ImagesError as ImagesError,
    NotCachedError as NotCachedError,
    NoWeightsError as NoWeightsError,
    PushRefusedError as PushRefusedError,
    RateLimitError as RateLimitError,
    RepoFileNotFoundError as RepoFileNotFoundError,
    RepoNotFoundError as RepoNotFoundError,
    RevisionNotFoundError as RevisionNotFoundError,
    SpecError as SpecError,
    StaleCacheWarning as StaleCacheWarning,
    TrainingError as TrainingError,
    UnknownModelError as UnknownModelError,
    WeightsError as WeightsError,
)
from .evaluation import evaluate as evaluate
from .evaluation.classify import classify as classify
from .exporting import export as export
from .hub.publish import publish as publish
from .hub.pull import pull as pull
from .hub.push import push as push
from .hub.search import search as search
from .layers import stock as stock
from .loading import load as load
from .registry import list_models as list_models, register as register
from .samplers.fitting import fit_samplers as fit_samplers
from .saving import save as save
from .spec import ModelSpec as ModelSpec
from .sweeping.sweep import sweep as sweep
from .training.run import train as train
from .verification import verify as verify
