"""The function `verify`, which checks an entry against its manifest on the current backend."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.classifier import Classifier
from fmae_zoo.datasets import DEFAULT, Dataset, check_dataset, find_data, load_named
from fmae_zoo.entry import Entry
from fmae_zoo.errors import DataError, FmaeError, HubError, SpecError, WeightsError
from fmae_zoo.evaluation import FIGURES, evaluate
from fmae_zoo.files import regular, sha256_of
from fmae_zoo.hub.options import TIMEOUT, HubOptions
from fmae_zoo.images import array_shape
from fmae_zoo.layout import CARD_FILE, GOLDEN_FILE
from fmae_zoo.manifest import Manifest
from fmae_zoo.registry import find_entry
from fmae_zoo.weights import read_tensors

GOLDEN_TOLERANCE = 1e-4
"""Largest difference of a golden output; for codes, relative to their standard deviation."""

FIGURE_TOLERANCE = 1e-3
"""Largest relative difference between a published figure and the figure computed again."""

CLASSIFIER_FIGURES = ("frozen_head", "fine_tuned")
"""Figures of a classifier that `verify` checks."""


@dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes:
        name: Name of the file, golden or figure.
        passed: True, False, or None if it could not be checked.
        detail: Expected and found values.
    """

    name: str
    passed: bool | None
    detail: str


def verify(
    source: str | Path,
    *,
    data: Dataset | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    timeout: float = TIMEOUT,
) -> list[Check]:
    """Check an entry's files, goldens, reconstruction figures and ELBO, or a classifier's accuracy.

    Args:
        source: A registered name, `local:FOLDER` or `hf://NAMESPACE/NAME[@REVISION]`; the files
            of a repo are fetched.
        data: Data set for the figures; by default the one that the spec names. If no source has
            it, the figures are not checked.
        token, cache_dir, local_files_only, timeout: As for `load`.

    Returns:
        The checks of licence, spec, each file, goldens, card and figures. If licence, spec or a
        file fails, goldens and figures are not checked.

    Raises:
        UnknownModelError: There is no such entry.
        SpecError: The spec or the manifest is damaged.
        NoWeightsError: The entry was never trained.
        HubError: The Hub does not return spec and manifest.
        ArgumentError: `data` is not a Dataset.
    """
    check_dataset(data)
    options = HubOptions(token, cache_dir, local_files_only, timeout)
    entry = find_entry(source, options)
    checks, model = check_entry(entry)
    checks += _card(entry)
    return checks if model is None else checks + _figures(entry, model, data)


def check_entry(entry: Entry) -> tuple[list[Check], Autoencoder | Classifier | None]:
    """Check licence, spec, files and goldens of an entry, but no figures.

    Returns:
        The checks, and the model, or None if an earlier check failed or it could not be built.
    """
    checks = [*_spec(entry), *_files(entry)]
    if any(check.passed is False for check in checks):
        return checks, None
    try:
        model = entry.build(pretrained=True, precision="float32")
        return checks + _goldens(entry, model), model
    except FmaeError as error:
        return [*checks, Check("goldens", False, str(error))], None


def _spec(entry: Entry) -> list[Check]:
    manifest, spec = entry.manifest, entry.spec
    licence = f"the spec says {spec.licence}, the manifest {manifest.licence}"
    checks = [Check("licence", spec.licence == manifest.licence, licence)]
    if not manifest.spec_sha256:
        return [*checks, Check("spec", None, "the manifest does not record what it was")]
    try:
        entry.check_spec()
    except SpecError as error:
        return [*checks, Check("spec", False, str(error))]
    return [*checks, Check("spec", True, "the one that the weights were trained by")]


def _files(entry: Entry) -> list[Check]:
    checks = []
    for name, record in entry.manifest.files.items():
        try:
            path, expected = entry.file(name)
            size = regular(path).stat().st_size
            if size != record.size:
                detail = f"expected {record.size:,} bytes, received {size:,}"
                checks.append(Check(name, False, detail))
                continue
            received = sha256_of(path.read_bytes())
        except (HubError, OSError) as error:
            checks.append(Check(name, False, str(error)))
            continue
        same = received == expected
        detail = expected if same else f"SHA-256 expected {expected}, received {received}"
        checks.append(Check(name, same, f"{record.size:,} bytes, {detail}"))
    return checks


def _card(entry: Entry) -> list[Check]:
    """Compare the figures of the model card, if there is one, with those of the manifest."""
    from fmae_zoo.card import check_card

    try:
        text = entry.card()
        if text is None:
            return []
        check_card(text, entry.manifest)
    except FmaeError as error:
        return [Check(CARD_FILE, False, str(error))]
    return [Check(CARD_FILE, True, "its figures are the manifest's")]


def golden_differences(entry: Entry, model: Autoencoder | Classifier) -> dict[str, float]:
    """Return the largest difference between this backend's outputs and each golden output.

    The difference of codes is relative to their standard deviation, because their scale differs
    between models. The differences of reconstructions (pixels in [0, 1]) and of probabilities are
    absolute.

    Raises:
        WeightsError: The goldens are damaged or do not have the model's shapes.
    """
    [(path, digest)] = entry.obtain(GOLDEN_FILE)
    golden = read_tensors(path, digest)
    count = len(golden.get("images", ()))
    expected: dict[str, tuple[int, ...]] = {"images": (count, *array_shape(entry.spec.shape))}
    if isinstance(model, Classifier):
        expected["probabilities"] = (count, model.num_classes)
    else:
        expected["codes"] = (count, entry.spec.latent.size)
        expected["reconstructions"] = (count, *entry.spec.shape)
        if entry.spec.classes is not None:
            expected["labels"] = (count,)
    received = {name: tensor.shape for name, tensor in golden.items()}
    if not count or received != expected:
        raise WeightsError(f"{path}: expected tensors of shapes {expected}; received {received}")
    scales = {}
    if isinstance(model, Classifier):
        found = {"probabilities": model.predict(golden["images"])}
    else:
        scales["codes"] = max(float(golden["codes"].std()), 1e-6)
        found = {
            "codes": model.encode(golden["images"]),
            "reconstructions": model.decode(golden["codes"], label=golden.get("labels")),
        }
    return {
        name: float(np.abs(output - golden[name]).max()) / scales.get(name, 1.0)
        for name, output in found.items()
    }


def _goldens(entry: Entry, model: Autoencoder) -> list[Check]:
    try:
        differences = golden_differences(entry, model)
    except FmaeError as error:
        return [Check("goldens", False, f"not whole: {error}")]
    return [
        Check(
            f"golden {name}",
            difference <= GOLDEN_TOLERANCE,
            f"largest difference {difference:.1e}, allowed {GOLDEN_TOLERANCE:.0e}",
        )
        for name, difference in differences.items()
    ]


def _figures(entry: Entry, model: Autoencoder | Classifier, data: Dataset | None) -> list[Check]:
    manifest = entry.manifest
    known = [name for name, figure in FIGURES.items() if figure.is_quick]
    known = [*CLASSIFIER_FIGURES] if isinstance(model, Classifier) else known
    names = [name for name in known if name in manifest.results]
    if not names:
        other = data and manifest.training and data.digest != manifest.training.data_digest
        others = "; the data given are not those that it was trained on" if other else ""
        return [Check("figures", None, f"none published{others}")]
    if data is None:
        with suppress(DataError):
            data = find_data() if entry.spec.data == DEFAULT else load_named(entry.spec.data)
    if data is None:
        return [Check("figures", None, "no source has the data set")]
    records = (manifest.training, *(manifest.evaluations.get(name) for name in names))
    other = any(record is not None and record.data_digest != data.digest for record in records)
    if other or data.shape != entry.spec.shape:
        return [Check("figures", None, "published on another data set")]
    if isinstance(model, Classifier):
        return _classifier_figures(manifest, names, model, data)
    found: dict[str, Any] = {}
    for name in names:
        record = manifest.evaluations.get(name)
        found |= evaluate(model, [name], data=data, seed=record.seed if record else 0)
    return [
        _compared(f"{name} {key}", published, found.get(name, {}).get(key))
        for name in names
        for key, published in manifest.results[name].items()
        if isinstance(published, float)
    ]


def _classifier_figures(
    manifest: Manifest, names: list[str], model: Classifier, data: Dataset
) -> list[Check]:
    try:
        found = model.report(data.test_images, data.labels[1])
    except FmaeError as error:
        return [Check("figures", False, str(error))]
    layer = model.encoder.output_names[0]
    tables = {name: manifest.results[name] for name in names}
    if "frozen_head" in tables:
        tables["frozen_head"] = tables["frozen_head"].get(layer, {})
    return [
        _compared(f"{name} {key}", table[key], found[key])
        for name, table in tables.items()
        for key in ("accuracy", "loss")
        if isinstance(table, dict) and isinstance(table.get(key), float)
    ]


def _compared(name: str, published: float, found: float | None) -> Check:
    if found is None:
        return Check(name, False, f"published {published:.6g}, but there is no such figure")
    near = abs(found - published) <= FIGURE_TOLERANCE * abs(published)
    return Check(name, near, f"published {published:.6g}, found {found:.6g}")
