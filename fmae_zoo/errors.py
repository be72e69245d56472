"""Every error the zoo raises on purpose.

Each derives from `FmaeError`, so `except fmae_zoo.FmaeError` catches them all, and
from the built-in that a caller would expect.
"""


class FmaeError(Exception):
    """Base class of the zoo's errors."""


class SpecError(FmaeError, ValueError):
    """A spec or manifest says something it may not say."""


class UnknownModelError(FmaeError, LookupError):
    """No entry, folder or part has the name that was asked for."""


class DuplicateModelError(FmaeError, ValueError):
    """Two entries claim one name."""


class NoWeightsError(FmaeError, FileNotFoundError):
    """Pretrained weights were asked for and there are none."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class WeightsError(FmaeError, ValueError):
    """A weights file is damaged, or does not fit the model it is read into."""


class DataError(FmaeError, ValueError):
    """A data file is damaged, or no source has the data."""


class AbsentDataError(DataError):
    """A source does not have the data, or cannot be reached."""


class ImagesError(FmaeError, ValueError):
    """Images that are none, or not of the shape that a model takes."""


class ArgumentError(FmaeError, ValueError):
    """An argument has a type, shape or value that it may not have."""


class TrainingError(FmaeError, RuntimeError):
    """Training could not go on; the last good checkpoint is kept."""


class BackendError(FmaeError, ImportError):
    """No Keras backend is installed, or the one named is not."""


class HubError(FmaeError, OSError):
    """The Hugging Face Hub could not do what was asked of it."""


class HubConnectionError(HubError, ConnectionError):
    """The Hub cannot be reached, the connection was lost, or what answers is not the Hub."""


class HubTimeoutError(HubError, TimeoutError):
    """The Hub took longer than the time limit."""


class HubServerError(HubError):
    """The Hub failed (HTTP 5xx), and went on failing when asked again."""


class RateLimitError(HubError):
    """The Hub wants fewer requests.

    Attributes:
        retry_after: seconds that it asks to wait, where it says so.
    """

    retry_after: float | None = None


class RepoNotFoundError(HubError, LookupError):
    """There is no such repo, or it is private and the token, if any, may not read it."""


class RevisionNotFoundError(HubError, LookupError):
    """The repo has no such branch, tag or commit."""


class RepoFileNotFoundError(HubError, FileNotFoundError):
    """The repo has no such file: it holds no model of the zoo."""


class HubPermissionError(HubError, PermissionError):
    """The token is wrong or missing, or may not do this."""


class GatedRepoError(HubPermissionError):
    """The repo is gated: its owner has not given access to it."""


class HubConflictError(HubError):
    """Somebody else changed the repo, or a tag stands on another commit."""


class NotCachedError(HubError, FileNotFoundError):
    """Offline, and the cache has no copy."""


class CacheError(HubError):
    """The cache folder cannot be written, or its disk is full."""


class DigestError(HubError, WeightsError):
    """A file from the Hub has another size or SHA-256 than it must have."""


class PushRefusedError(FmaeError, ValueError):
    """The folder is not fit to be published; nothing was sent."""


class StaleCacheWarning(UserWarning):
    """A copy in the cache serves because the Hub did not give the newest."""
