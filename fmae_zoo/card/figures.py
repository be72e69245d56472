"""The figures of a manifest, each with the protocol by which it was measured.

To publish a new figure of `evaluate`: a line in `PROTOCOLS`.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fmae_zoo.card.markup import label
from fmae_zoo.errors import SpecError
from fmae_zoo.manifest import MANIFEST_FILE, Manifest

CHOSEN = ("C", "k", "likelihood")
"""Settings without which a protocol's name does not say enough."""

Setting = bool | int | float | str


@dataclass(frozen=True)
class Task:
    """A task by the Hub's identifier, and by the name that people read."""

    type: str
    name: str


RECONSTRUCTION = Task("image-to-image", "Image reconstruction")
CLASSIFICATION = Task("image-classification", "Image classification")
DENSITY = Task("unconditional-image-generation", "Density estimation")


@dataclass(frozen=True)
class Measure:
    """One number of a figure.

    Attributes:
        key: under which `evaluate` returns it.
        title: for people.
        form: how the number is shown.
        unit: where there is one.
    """

    key: str
    title: str
    form: str = "{:.4f}"
    unit: str = ""

    @property
    def full_title(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def shown(self, value: float) -> str:
        """Return a number as it is shown."""
        return self.form.format(value)


@dataclass(frozen=True)
class Protocol:
    """How a figure is measured.

    Attributes:
        path: of the figure in a manifest's results.
        name: of the protocol, short: for the names of metrics.
        words: what is done.
        task: what the figure is of.
        measures: its numbers that have a row each.
        beside: further results of the same measurement.
        baselines: numbers of something else than the model, measured in the same way.
    """

    path: tuple[str, ...]
    name: str
    words: str
    task: Task
    measures: tuple[Measure, ...]
    beside: tuple[Measure, ...] = ()
    baselines: tuple[Measure, ...] = ()

    @property
    def results(self) -> tuple[Measure, ...]:
        """All that is the model's."""
        return self.measures + self.beside


ACCURACY = Measure("accuracy", "accuracy")
CROSS_ENTROPY = Measure("loss", "cross-entropy", unit="nats")
_HEAD_WORDS = (
    "a dense layer, dropout and a softmax on the frozen encoder, trained on the training images "
    "that do not validate; epoch chosen on validation"
)

PROTOCOLS = (
    Protocol(
        ("reconstruction",),
        "reconstruction from the latent mean",
        "images in [0, 1] against what is decoded from their latent means; SSIM has a Gaussian "
        "window (Wang et al. 2004)",
        RECONSTRUCTION,
        (
            Measure("mse", "MSE, mean over pixels", "{:.5f}"),
            Measure("psnr", "PSNR of that MSE", "{:.2f}", "dB"),
            Measure("ssim", "SSIM", "{:.3f}"),
        ),
        baselines=(
            Measure(
                "pca_mse", "MSE of PCA with as many values, fitted to training images", "{:.5f}"
            ),
        ),
    ),
    Protocol(
        ("linear_probe",),
        "linear probe on the latent mean",
        "multinomial logistic regression on standardised latent means; C chosen on validation, "
        "then fitted to all training images",
        CLASSIFICATION,
        (ACCURACY,),
    ),
    Protocol(
        ("knn",),
        "k nearest neighbours of the latent mean",
        "Euclidean neighbours among the latent means of all training images; k chosen on "
        "validation",
        CLASSIFICATION,
        (ACCURACY,),
    ),
    Protocol(
        ("frozen_head", "latent"),
        "dense head on the frozen latent mean",
        _HEAD_WORDS,
        CLASSIFICATION,
        (ACCURACY,),
        (CROSS_ENTROPY,),
    ),
    Protocol(
        ("frozen_head", "features"),
        "dense head on the frozen feature map",
        f"{_HEAD_WORDS}. It reads the feature map before the latent",
        CLASSIFICATION,
        (ACCURACY,),
        (CROSS_ENTROPY,),
    ),
    Protocol(
        ("fine_tuned",),
        "dense head, then fine-tuned with the encoder",
        "the trained head on the feature map where the encoder has one, else on the latent mean; "
        "then head and encoder are trained on together, epoch chosen on validation",
        CLASSIFICATION,
        (ACCURACY,),
        (CROSS_ENTROPY,),
    ),
    Protocol(
        ("elbo",),
        "evidence lower bound, one posterior sample an image",
        "the negative sum of its terms. A Bernoulli likelihood is of binarised images, a Gaussian "
        "one of images as they are, and the two cannot be compared",
        DENSITY,
        (Measure("elbo", "ELBO", "{:.2f}", "nats an image"),),
        (
            Measure("reconstruction", "reconstruction term", "{:.2f}", "nats"),
            Measure("kl", "KL term", "{:.2f}", "nats"),
            Measure("active_values", "active latent values", "{:,}"),
        ),
    ),
)


@dataclass(frozen=True)
class Figure:
    """What one protocol gave for one model.

    Attributes:
        protocol: how it was measured.
        values: the model's numbers by key, as they are in the manifest.
        baselines: those of something else.
        settings: all else that the manifest has beside them: what was set or chosen.
        seed: of the measurement, where it is recorded.
        data_digest: of the data it was measured on, where it is recorded.
        repeated: the same numbers of this model and of its repetitions with other seeds.
    """

    protocol: Protocol
    values: dict[str, int | float]
    baselines: dict[str, int | float]
    settings: dict[str, Setting]
    seed: int | None
    data_digest: str | None
    repeated: dict[str, list[int | float]] = field(default_factory=dict)

    def metric_name(self, measure: Measure) -> str:
        """Return the name that tells this number from every other of the model."""
        return f"{measure.full_title} ({self.protocol.name})"


def figures_of(manifest: Manifest) -> list[Figure]:
    """Return the figures of a manifest that have a protocol, in the order of `PROTOCOLS`.

    Raises:
        SpecError: one is no finite number.
    """
    return list(_figures(manifest))


def unpublished(manifest: Manifest) -> list[str]:
    """Return the names of results that have no protocol here, sorted."""
    known = {protocol.path[0] for protocol in PROTOCOLS}
    return sorted(set(manifest.results) - known)


def _figures(manifest: Manifest) -> Iterator[Figure]:
    runs = [manifest.results, *(record.results for record in manifest.seeds.values())]
    for protocol in PROTOCOLS:
        found = _table(manifest.results, protocol.path)
        values = _numbers(found, protocol.results, protocol.path)
        if not values:
            continue
        how = manifest.evaluations.get(protocol.path[0])
        tables = [_table(run, protocol.path) for run in runs]
        numbers = [_numbers(each, protocol.results, protocol.path) for each in tables]
        own = {measure.key for measure in protocol.results + protocol.baselines}
        yield Figure(
            protocol=protocol,
            values=values,
            baselines=_numbers(found, protocol.baselines, protocol.path),
            settings=dict(_settings({key: found[key] for key in found if key not in own})),
            seed=how.seed if how else None,
            data_digest=how.data_digest if how else None,
            repeated={key: [run[key] for run in numbers if key in run] for key in values},
        )


def _settings(found: Mapping[str, Any]) -> Iterator[tuple[str, Setting]]:
    for key, value in found.items():
        if isinstance(value, Setting) and _is_finite(value):
            yield label(key), label(value) if isinstance(value, str) else value


def _table(results: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    found: Any = results
    for depth, key in enumerate(path, 1):
        found = found.get(key, {})
        if not isinstance(found, dict):
            _refuse(path[:depth], found, "a table")
    return found


def _numbers(
    found: Mapping[str, Any], measures: tuple[Measure, ...], path: tuple[str, ...]
) -> dict[str, int | float]:
    numbers = {}
    for measure in measures:
        value = found.get(measure.key)
        if value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not _is_finite(value):
            _refuse((*path, measure.key), value, "a finite number")
        numbers[measure.key] = value
    return numbers


def _is_finite(value: Setting) -> bool:
    try:
        return isinstance(value, str) or math.isfinite(value)
    except OverflowError:
        return False


def _refuse(path: tuple[str, ...], value: Any, expected: str) -> None:
    raise SpecError(
        f"{MANIFEST_FILE}: results.{'.'.join(path)}: expected {expected}; "
        f"received {repr(value)[:120]}"
    )
