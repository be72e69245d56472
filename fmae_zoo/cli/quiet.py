"""Removal of the log lines of TensorFlow and XLA from the output of the commands."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any

from fmae_zoo._registering import WrappedLoader

if TYPE_CHECKING:
    from importlib.abc import MetaPathFinder
else:
    # Import hooks need no base class, and this module is slow to import.
    MetaPathFinder = object

STDERR = 2
"""Descriptor that the frameworks' C++ code writes to."""


def keep_quiet() -> None:
    """Have TensorFlow and XLA log only fatal errors, unless the user has chosen a log level."""
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    known = any(isinstance(each, _QuietTensorFlow) for each in sys.meta_path)
    if level == "3" and not known:
        sys.meta_path.insert(0, _QuietTensorFlow())


class _QuietTensorFlow(MetaPathFinder):
    """Import hook for TensorFlow, which logs several lines before it heeds the log level."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find TensorFlow, and wrap its loader."""
        spec = PathFinder.find_spec(name, path) if name == "tensorflow" else None
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


class _QuietLoader(WrappedLoader):
    """Loader that delegates to another one, without its output on stderr."""

    def exec_module(self, module: Any) -> None:
        """Execute the module with the other loader."""
        with _without_stderr():
            super().exec_module(module)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what is written to stderr in the block; if the block fails, write it after all."""
    sys.stderr.flush()
    shown = os.dup(STDERR)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), STDERR)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(shown, hidden.read())
            raise
        finally:
            os.dup2(shown, STDERR)
            os.close(shown)
