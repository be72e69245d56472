"""Keras finds this package's classes as soon as both are imported, in either order."""

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any


def register_classes() -> None:
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
        register_classes()


def register_with_keras() -> None:
    """Register the package's classes now if Keras is imported, else as soon as it is."""
    if "keras" in sys.modules:
        register_classes()
    else:
        sys.meta_path.insert(0, _WithKeras())
