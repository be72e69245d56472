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
    """Images that cannot be taken for 28x28 grey images."""


class ArgumentError(FmaeError, ValueError):
    """An argument has a type, shape or value that it may not have."""


class TrainingError(FmaeError, RuntimeError):
    """Training could not go on; the last good checkpoint is kept."""


class BackendError(FmaeError, ImportError):
    """No Keras backend is installed, or the one named is not."""
