"""`verify`: does an entry still hold what its manifest promises, on this backend?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.data import Dataset, find_data
from fmae_zoo.entry import GOLDEN_FILE, Entry
from fmae_zoo.errors import FmaeError
from fmae_zoo.files import sha256_of
from fmae_zoo.registry import find_entry
from fmae_zoo.weights import read_tensors

GOLDEN_TOLERANCE = 1e-4
"""Largest difference of a golden output: of a pixel, or of a code relative to the codes' spread."""

FIGURE_TOLERANCE = 1e-3
"""Largest relative difference of a figure that is computed again."""


@dataclass(frozen=True)
class Check:
    """One promise and whether it holds.

    Attributes:
        name: of the file, golden or figure.
        passed: True, False, or None where it could not be checked here.
        detail: what was expected and what was found.
    """

    name: str
    passed: bool | None
    detail: str


def verify(source: str | Path, *, data: Dataset | None = None) -> list[Check]:
    """Check an entry's files, goldens and reconstruction figures.

    Args:
        source: a registered name or `local:FOLDER`.
        data: Fashion-MNIST by default; where no source has it, the figures are not checked.

    Raises:
        NoWeightsError: the entry was never trained.
    """
    entry = find_entry(source)
    checks = _files(entry)
    if not all(check.passed for check in checks):
        return checks
    try:
        model = entry.build(pretrained=True)
        checks += _goldens(entry, model)
    except FmaeError as error:
        return [*checks, Check("goldens", False, str(error))]
    return checks + _figures(entry, model, data)


def _files(entry: Entry) -> list[Check]:
    checks = []
    for name, record in entry.manifest.files.items():
        path, expected = entry.file(name)
        try:
            size = path.stat().st_size
            if size != record.size:
                detail = f"expected {record.size:,} bytes, received {size:,}"
                checks.append(Check(name, False, detail))
                continue
            received = sha256_of(path.read_bytes())
        except OSError as error:
            checks.append(Check(name, False, f"cannot be read: {error}"))
            continue
        same = received == expected
        detail = expected if same else f"SHA-256 expected {expected}, received {received}"
        checks.append(Check(name, same, f"{record.size:,} bytes, {detail}"))
    return checks


def golden_differences(entry: Entry, model: Autoencoder) -> dict[str, float]:
    """Return how far this backend's outputs are from the goldens.

    Codes are compared relative to their spread, since their scale is the model's own;
    reconstructions absolutely, in units of pixel intensity.
    """
    golden = read_tensors(*entry.file(GOLDEN_FILE))
    codes = model.encode(golden["images"])
    scale = max(float(golden["codes"].std()), 1e-6)
    return {
        "codes": float(np.abs(codes - golden["codes"]).max()) / scale,
        "reconstructions": float(
            np.abs(model.decode(golden["codes"]) - golden["reconstructions"]).max()
        ),
    }


def _goldens(entry: Entry, model: Autoencoder) -> list[Check]:
    return [
        Check(
            f"golden {name}",
            difference <= GOLDEN_TOLERANCE,
            f"largest difference {difference:.1e}, allowed {GOLDEN_TOLERANCE:.0e}",
        )
        for name, difference in golden_differences(entry, model).items()
    ]


def _figures(entry: Entry, model: Autoencoder, data: Dataset | None) -> list[Check]:
    from fmae_zoo.evaluation import evaluate

    published = entry.manifest.results.get("reconstruction")
    if published is None:
        return [Check("figures", None, "none published")]
    data = data or find_data()
    if data is None:
        return [Check("figures", None, "no source has the data set")]
    training = entry.manifest.training
    if training is not None and training.data_digest != data.digest:
        return [Check("figures", None, "published on another data set")]
    found = evaluate(model, ["reconstruction"], data=data)
    return [
        Check(
            f"reconstruction {name}",
            abs(found["reconstruction"][name] - published[name])
            <= FIGURE_TOLERANCE * abs(published[name]),
            f"published {published[name]:.6g}, found {found['reconstruction'][name]:.6g}",
        )
        for name in ("mse", "psnr", "ssim")
    ]
