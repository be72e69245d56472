"""Registration of this package's classes with Keras, whichever of the two is imported first."""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:
    # Import hooks need no base class, and this module takes as long to import as the rest here.
    Loader = MetaPathFinder = object


def register_classes() -> None:
    """Import the classes that `keras.saving.load_model` needs for this package's models."""
    try:
        for module in ("autoencoder", "classifier", "training.optimizer"):
            import_module(f"fmae_zoo.{module}")
    except ImportError:
        # Such a module may itself be importing Keras and be incomplete. The rest is registered
        # later: by its own import, or when the next public name is used.
        return


class _WithKeras(MetaPathFinder):
    """Import hook that registers the package's classes when other code imports Keras."""

    _looks = False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find Keras with the other finders and wrap its loader to register the classes."""
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


class WrappedLoader(Loader):
    """Loader that delegates to another one; a subclass adds to `exec_module`."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> Any:
        """Create the module with the other loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """Execute the module with the other loader, which is the one that the module names."""
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)


class _ThenRegister(WrappedLoader):
    """Loader that delegates to another one, then registers the package's classes."""

    def exec_module(self, module: Any) -> None:
        """Execute the module, then register the classes."""
        super().exec_module(module)
        sys.meta_path[:] = [each for each in sys.meta_path if not isinstance(each, _WithKeras)]
        register_classes()


def register_with_keras() -> None:
    """Register the package's classes now if Keras is imported, else when it is."""
    if "keras" in sys.modules:
        register_classes()
    else:
        sys.meta_path.insert(0, _WithKeras())
