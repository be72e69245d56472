"""One line of figures for an entry: for lists, tables and the README."""

from typing import Any

from fmae_zoo.entry import Entry
from fmae_zoo.registry import short_name


def summary_of(entry: Entry) -> dict[str, Any]:
    """Return name, sizes and published test figures; None where there is none.

    `frozen_head` is the accuracy of the head on the spatial features where the encoder is
    convolutional, else on the latent.
    """
    manifest = entry.manifest if entry.pretrained else None
    results = manifest.results if manifest else {}
    head = results.get("frozen_head", {})
    head = head.get("features") or head.get("latent") or {}
    return {
        "name": short_name(entry),
        "latent": entry.spec.latent.size,
        "parameters": sum(manifest.parameters.values()) if manifest else None,
        "epochs": manifest.training.epochs if manifest and manifest.training else None,
        "mse": results.get("reconstruction", {}).get("mse"),
        "ssim": results.get("reconstruction", {}).get("ssim"),
        "linear_probe": results.get("linear_probe", {}).get("accuracy"),
        "knn": results.get("knn", {}).get("accuracy"),
        "frozen_head": head.get("accuracy"),
        "fine_tuned": results.get("fine_tuned", {}).get("accuracy"),
        "weights": manifest is not None,
    }
