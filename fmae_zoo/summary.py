"""One line of figures for an entry: for lists, tables and the README."""

from typing import Any, NoReturn

from fmae_zoo.entry import Entry
from fmae_zoo.errors import SpecError
from fmae_zoo.manifest import MANIFEST_FILE
from fmae_zoo.registry import short_name


def summary_of(entry: Entry) -> dict[str, Any]:
    """Return name, sizes and published test figures; None where there is none.

    `frozen_head` is the accuracy of the head on the spatial features where the encoder is
    convolutional, else on the latent.

    Raises:
        SpecError: a figure in the manifest is no number.
    """
    manifest = entry.manifest if entry.pretrained else None
    results = manifest.results if manifest else {}
    head = "features" if "features" in results.get("frozen_head", {}) else "latent"

    def figure(*path: str) -> float | None:
        return _number(entry, results, path)

    return {
        "name": short_name(entry),
        "latent": entry.spec.latent.size,
        "parameters": sum(manifest.parameters.values()) if manifest else None,
        "epochs": manifest.training.epochs if manifest and manifest.training else None,
        "mse": figure("reconstruction", "mse"),
        "ssim": figure("reconstruction", "ssim"),
        "linear_probe": figure("linear_probe", "accuracy"),
        "knn": figure("knn", "accuracy"),
        "frozen_head": figure("frozen_head", head, "accuracy"),
        "fine_tuned": figure("fine_tuned", "accuracy"),
        "weights": manifest is not None,
    }


def _number(entry: Entry, results: Any, path: tuple[str, ...]) -> float | None:
    value = results
    for depth, key in enumerate(path):
        if not isinstance(value, dict):
            _refused(entry, path[:depth], value, "a table")
        value = value.get(key)
        if value is None:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refused(entry, path, value, "a number")
    return value


def _refused(entry: Entry, path: tuple[str, ...], value: Any, expected: str) -> NoReturn:
    raise SpecError(
        f"{entry.folder}/{MANIFEST_FILE}: results.{'.'.join(path)}: expected {expected}; "
        f"received {repr(value)[:120]}"
    )
