"""Differences between backends in outputs and in the weights after one training step.

Each backend writes its arrays in its own process; they are compared here. Outputs are computed for
64 images, beginning with the entry's goldens. The training step is plain SGD with a batch of 64,
from the pretrained weights, in float32, with the entry's objective but without the clusters of its
training images. Each backend draws the noise of a VAE by its own generator, so there is none in the
step: the code of a Gaussian posterior is its mean.
"""

import tempfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.child import answer, measured
from benchmarks.machine import host
from benchmarks.markdown import described, table
from benchmarks.results import RESULTS, write_json
from benchmarks.shape import SHAPE
from fmae_zoo.files import write_text

IMAGES = 64
LEARNING_RATE = 1e-2


def run(entries: Sequence[str], backends: Sequence[str], folder: Path = RESULTS) -> None:
    """Measure, compare, and write `parity.json` and `parity.md`."""
    arrays: dict[str, dict[str, Any]] = {entry: {} for entry in entries}
    environments = {}
    with tempfile.TemporaryDirectory() as scratch:
        for backend in backends:
            environments[backend] = measured("benchmarks.parity", backend, scratch, *entries)
            for entry in entries:
                with np.load(Path(scratch) / f"{entry}.{backend}.npz") as content:
                    arrays[entry][backend] = dict(content)
    rows = [
        {"entry": entry, "backends": [one, other], **differences(found[one], found[other])}
        for entry, found in arrays.items()
        for one, other in combinations(backends, 2)
    ]
    results = {"machine": host(), "environments": environments, "rows": rows}
    write_json(results, folder / "parity.json")
    write_text(folder / "parity.md", markdown(results))


def differences(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the largest absolute differences between the arrays of two backends.

    Returns:
        The largest differences in `codes`, `logits` and `weights` after the step;
        `largest_change`, the largest change of a weight by the step; `weights_relative`, which is
        `weights` divided by it; and `furthest_weight`, the name of the weight that differs most.
    """
    weights = [name for name in one if name.startswith("after.")]
    apart = {name: _largest(one[name], other[name]) for name in weights}
    furthest = max(apart, key=apart.__getitem__)
    change = max(
        _largest(each[name], each[name.replace("after.", "before.", 1)])
        for each in (one, other)
        for name in weights
    )
    return {
        "codes": _largest(one["codes"], other["codes"]),
        "logits": _largest(one["logits"], other["logits"]),
        "weights": apart[furthest],
        "weights_relative": apart[furthest] / change,
        "largest_change": change,
        "furthest_weight": furthest.removeprefix("after."),
    }


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())


def measure(scratch: str, *entries: str) -> dict[str, str]:
    """Write the arrays of each entry on this process's backend; return its environment."""
    from fmae_zoo.manifest import environment

    backend = environment()["backend"]
    for entry in entries:
        np.savez(Path(scratch) / f"{entry}.{backend}.npz", **_arrays(entry))
    return environment()


def _arrays(name: str) -> dict[str, np.ndarray]:
    import keras

    import fmae_zoo
    from fmae_zoo.datasets import load_sample
    from fmae_zoo.images import as_images
    from fmae_zoo.layout import GOLDEN_FILE
    from fmae_zoo.registry import find_entry
    from fmae_zoo.weights import read_tensors

    [(path, digest)] = find_entry(name).obtain(GOLDEN_FILE)
    goldens, sample = read_tensors(path, digest)["images"], load_sample()
    images = np.concatenate([goldens, sample.test_images[: IMAGES - len(goldens)]])
    batch = as_images(sample.train_images[:IMAGES], SHAPE)

    model = fmae_zoo.load(name, pretrained=True)
    # The code of a Gaussian posterior is then its mean: each backend has its own noise.
    model.latent.noise = keras.ops.zeros
    model.compile(keras.optimizers.SGD(LEARNING_RATE))
    arrays = {"codes": model.encode(images)}
    before = _weights(model)
    arrays["logits"] = np.asarray(model.predict_on_batch(as_images(images, SHAPE))["logits"])
    model.fit(batch, {"image": batch}, batch_size=len(batch), shuffle=False, verbose=0)
    after = _weights(model)
    arrays |= {f"before.{key}": value for key, value in before.items()}
    return arrays | {f"after.{key}": value for key, value in after.items()}


def _weights(model: Any) -> dict[str, np.ndarray]:
    from fmae_zoo.weights import tensors_of

    return tensors_of(model.posterior) | tensors_of(model.decoder)


def markdown(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    columns = {
        "codes": "codes",
        "logits": "logits",
        "weights": "weights after a step",
        "weights_relative": "relative to the largest change",
    }
    rows = [
        [f"`{row['entry']}`", " and ".join(row["backends"]), *(f"{row[c]:.1e}" for c in columns)]
        + [f"`{row['furthest_weight']}`"]
        for row in results["rows"]
    ]
    lines = [
        "# The backends beside one another",
        "",
        "Written by `python -m benchmarks parity`; the first lines of `benchmarks/parity.py` give "
        "the protocol. Largest absolute differences; weights include BatchNorm's statistics.",
        "",
        *table(("entry", "backends", *columns.values(), "of"), rows, numbers_from=2),
        "",
        f"Measured on {described(results['machine'])} with {described(results['environments'])}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    answer(measure)
