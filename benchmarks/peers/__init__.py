"""The contestants of the speed benchmarks, each in a module that imports only what it needs."""

from importlib import import_module

from benchmarks.case import Case, Contestant

_HANDWRITTEN = {
    "tensorflow": ("tensorflow_loop", "TensorflowLoop"),
    "torch": ("torch_loop", "TorchLoop"),
    "jax": ("jax_loop", "JaxLoop"),
}
_OTHERS = {
    "fmae_zoo": ("zoo", "Zoo"),
    "keras": ("stock", "Stock"),
    "pythae": ("pythae_loop", "PythaeLoop"),
}


def make(case: Case) -> Contestant:
    """Build the contestant of a case, its weights fresh.

    Raises:
        KeyError: there is no such contestant or backend.
        ImportError: it needs a package that is not installed; the message says which.
    """
    if case.contestant == "handwritten":
        module, name = _HANDWRITTEN[case.backend]
    else:
        module, name = _OTHERS[case.contestant]
    return getattr(import_module(f"benchmarks.peers.{module}"), name)(case)
