"""Errors and warnings of the package.

Each error derives from `FmaeError`, so `except fmae_zoo.FmaeError` catches them all, and from
the built-in error that fits it best.
"""


class FmaeError(Exception):
    """Base class of the zoo's errors."""


class SpecError(FmaeError, ValueError):
    """A spec or manifest is damaged or breaks a rule of its schema."""


class UnknownModelError(FmaeError, LookupError):
    """There is no model, folder, part or layer of the given name."""


class DuplicateModelError(FmaeError, ValueError):
    """Two entries have the same name."""


class NoWeightsError(FmaeError, FileNotFoundError):
    """Pretrained weights were asked for and there are none."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class WeightsError(FmaeError, ValueError):
    """A weights file is damaged or does not fit the model."""


class DataError(FmaeError, ValueError):
    """A data file is damaged, or no source has the data."""


class AbsentDataError(DataError):
    """A source does not have the data or cannot be reached."""


class ImagesError(FmaeError, ValueError):
    """Images have a shape, dtype or range that the model does not take, or cannot be read."""


class ArgumentError(FmaeError, ValueError):
    """An argument has an invalid type, shape or value."""


class TrainingError(FmaeError, RuntimeError):
    """Training could not continue; the last good checkpoint or weights are kept."""


class ExportError(FmaeError, RuntimeError):
    """A model cannot be exported, or the exported file does not compute what the model does."""


class BackendError(FmaeError, ImportError):
    """No Keras backend is installed, or the chosen one is not."""


class HubError(FmaeError, OSError):
    """A request to the Hugging Face Hub failed."""


class HubConnectionError(HubError, ConnectionError):
    """The Hub cannot be reached, the connection was lost, or the server is not the Hub."""


class HubTimeoutError(HubError, TimeoutError):
    """Requests to the Hub took longer than the time limit."""


class HubServerError(HubError):
    """The Hub failed (HTTP 5xx), also on repeated requests."""


class RateLimitError(HubError):
    """The Hub received too many requests.

    Attributes:
        retry_after: Seconds to wait as given by the Hub, or None.
    """

    retry_after: float | None = None


class RepoNotFoundError(HubError, LookupError):
    """The repo does not exist, or it is private and the token may not read it."""


class RevisionNotFoundError(HubError, LookupError):
    """The repo has no such branch, tag or commit."""


class RepoFileNotFoundError(HubError, FileNotFoundError):
    """The repo does not have the file, so it holds no model of the zoo."""


class HubPermissionError(HubError, PermissionError):
    """The token is wrong, missing, or lacks the permission."""


class GatedRepoError(HubPermissionError):
    """The repo is gated, and its owner has not given access."""


class HubConflictError(HubError):
    """Somebody else changed the repo, or a tag is on another commit."""


class NotCachedError(HubError, FileNotFoundError):
    """No request may be made, and the cache has no copy."""


class CacheError(HubError):
    """The cache folder cannot be written, or its disk is full."""


class DigestError(HubError, WeightsError):
    """A file from the Hub has a wrong size or SHA-256."""


class PushRefusedError(FmaeError, ValueError):
    """The folder must not be published as it is; nothing was sent."""


class StaleCacheWarning(UserWarning):
    """A cached copy is used because the Hub did not return the newest one."""
