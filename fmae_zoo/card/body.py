"""The text of a card for readers: `template.md`, filled from a spec, a head and a manifest."""

import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import tomli_w

from fmae_zoo.card.figures import CHOSEN, Published, Setting, figures_of, unpublished
from fmae_zoo.card.markup import code, enumeration, inline, plain, table
from fmae_zoo.card.metadata import data_name, is_of_fashion_mnist
from fmae_zoo.datasets import FASHION_MNIST_DIGEST, VALIDATION_SIZE
from fmae_zoo.evaluation import Measure
from fmae_zoo.evaluation.figure import CLASSIFICATION
from fmae_zoo.head import HEAD_FILE
from fmae_zoo.hub.address import HUB_PREFIX
from fmae_zoo.images import array_shape
from fmae_zoo.layout import (
    CLASSIFIER_FILE,
    CRITIC_FILE,
    CURVES_FILE,
    DECODER_FILE,
    DRAWS_FILE,
    ENCODER_FILE,
    GOLDEN_FILE,
    HISTORY_FILE,
    INTERPOLATIONS_FILE,
    KERAS_FILES,
    RECONSTRUCTIONS_FILE,
    SAMPLERS_FILE,
    TRAINING_FILES,
    TRAVERSALS_FILE,
)
from fmae_zoo.manifest import Manifest
from fmae_zoo.samplers import PRIOR
from fmae_zoo.spec import DEFAULT_TAG, ModelSpec

if TYPE_CHECKING:
    from jinja2 import Template

    from fmae_zoo.head import Head

FILES = {
    ENCODER_FILE: "weights of the encoder",
    DECODER_FILE: "weights of the decoder",
    CLASSIFIER_FILE: "weights of encoder and head",
    HEAD_FILE: "what the head is, and the names of the classes",
    CRITIC_FILE: "weights of the objective's critic",
    SAMPLERS_FILE: "samplers that were fitted to the codes of training images",
    GOLDEN_FILE: "images, with the {outputs} that every backend must give",
    HISTORY_FILE: "loss and its terms, epoch by epoch",
    CURVES_FILE: "the loss as a picture",
    RECONSTRUCTIONS_FILE: "images and their reconstructions",
    DRAWS_FILE: "images decoded from draws of the default sampler",
    INTERPOLATIONS_FILE: "images decoded from codes between those of two images",
    TRAVERSALS_FILE: "images decoded from a code of which one value is moved in each row",
    **dict.fromkeys(KERAS_FILES, "{model} in Keras' own format"),
}
PICTURES = {
    RECONSTRUCTIONS_FILE: "Images over their reconstructions by {}",
    DRAWS_FILE: "Draws of the default sampler, decoded by {}",
    INTERPOLATIONS_FILE: "From one image to another, along straight lines in the codes of {}",
    TRAVERSALS_FILE: "One code; in each row one of the most used values is moved, decoded by {}",
    CURVES_FILE: "Loss of {} over the epochs",
}
FAR = 2.0
"""A card warns if prior draws are over FAR times as far from real images as reconstructions."""

LABELS = 100
"""Largest number of class names that a card shows."""

NOTHING = "-"
_READ = ("latent_size", "input_size")
_HEAD = "head_parameters"
_SPREAD = "mean ± sd"
_TOML_LIST = re.compile(r"\[\n((?:    [\d._+-]+,\n)+)\]")


def body_of(
    spec: ModelSpec,
    manifest: Manifest,
    repo: str | None,
    pictures: Sequence[str] = (),
    head: "Head | None" = None,
) -> str:
    """Return the text of a card as Markdown, without metadata and markers.

    Args:
        spec: Spec of the model; for a classifier, of the autoencoder whose encoder it uses.
        manifest: Manifest with the figures.
        repo: Name of the repo on the Hub, `NAMESPACE/NAME`; None for a registered model.
        pictures: Names of picture files in the repo.
        head: Head of a classifier; None for an autoencoder.

    Raises:
        SpecError: A figure in the manifest is not a number.
    """
    figures = figures_of(manifest)
    sizes = [parameters_of(manifest), images_of(spec)]
    if head is not None:
        pictures = ()  # They are of an autoencoder.
    else:
        sizes.insert(1, f"codes of {counted(spec.latent.size, 'value')}")
    generated = manifest.results.get("generation", {})
    of_prior, best = (generated.get(f"frechet_{each}") for each in ("prior", "reconstructions"))
    outputs = "codes and reconstructions" if head is None else "probabilities"
    model = "the encoder" if head is None else "encoder and head"
    text = _template().render(
        spec=spec,
        manifest=manifest,
        head=head,
        figures=figures,
        name=name_of(spec),
        sizes=enumeration(sizes),
        address=repo and f"{HUB_PREFIX}{repo}",
        shape=", ".join(map(str, spec.shape)),
        array=", ".join(map(str, array_shape(spec.shape))),
        pixels=math.prod(spec.shape),
        images=images_of(spec),
        sampler=manifest.sampler or (PRIOR if spec.latent.has_prior else ""),
        pictures=[name for name in pictures if name not in TRAINING_FILES],
        training_pictures=[name for name in pictures if name in TRAINING_FILES],
        picture=lambda name: _picture(name, spec),
        spec_toml=lambda parts: _toml(spec, parts),
        training_rows=list(_training_rows(spec, manifest, head)),
        has_heads=any(figure.protocol.task == CLASSIFICATION for figure in figures),
        prior_ratio=of_prior / best if of_prior and best else 0.0,
        files=[
            (
                code(name),
                FILES.get(name, NOTHING).format(outputs=outputs, model=model),
                f"{record.size:,}",
                code(record.sha256),
            )
            for name, record in manifest.files.items()
        ],
        references=[words for words in map(plain, spec.references) if words],
        cites_fashion_mnist=is_of_fashion_mnist(manifest)
        or FASHION_MNIST_DIGEST in {figure.data_digest for figure in figures},
        unknown=unpublished(manifest),
        **_results(manifest, figures),
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip()


@cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # The output is Markdown, so text is escaped by the filters below and not as HTML.
    environment = Environment(
        loader=PackageLoader("fmae_zoo", "card"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"inline": inline, "plain": plain, "code": code}
    environment.globals |= {
        "table": table,
        "counted": counted,
        "described": _described,
        "is_of_fashion_mnist": is_of_fashion_mnist,
        "numbered": lambda names: [(str(i), inline(name)) for i, name in enumerate(names)],
        "far": FAR,
        "most_labels": LABELS,
        "validation_size": VALIDATION_SIZE,
    }
    return environment.get_template("template.md")


def _picture(name: str, spec: ModelSpec) -> str:
    stem = name.rpartition(".")[0] or name
    return PICTURES.get(name, f"{inline(stem.replace('_', ' '))} of {{}}").format(name_of(spec))


def _toml(spec: ModelSpec, parts: Sequence[str]) -> str:
    """Return some parts of a spec as TOML, with each list of numbers on one line."""
    content = spec.model_dump(mode="json", exclude_none=True, include=set(parts))
    toml = _TOML_LIST.sub(
        lambda found: f"[{', '.join(found[1].replace(',', ' ').split())}]", tomli_w.dumps(content)
    )
    # In a TOML string the escape means the same text; outside of strings `<!--` cannot occur.
    return toml.replace("<!--", "\\u003c!--").strip()


def _training_rows(
    spec: ModelSpec, manifest: Manifest, head: "Head | None"
) -> Iterator[tuple[str, str]]:
    training = manifest.training
    if training is None:
        return
    data = inline(data_name(manifest, training.data_digest))
    if head is None:
        yield "objective", f"{spec.objective.loss_label} ({code(spec.objective.type)})"
        if is_of_fashion_mnist(manifest):
            data += (
                f": its training images without the {VALIDATION_SIZE:,} held out for validation, "
                "and no labels"
            )
    yield "data", data
    yield "SHA-256 of the data's arrays", code(training.data_digest)
    if manifest.spec_sha256:
        yield "SHA-256 of the spec's content", code(manifest.spec_sha256)
    yield "seed", str(training.seed)
    yield "epochs", f"{training.epochs}; epoch {training.best_epoch}, best on validation, is kept"
    yield "time", _duration(training.seconds)
    yield "environment", _versions(training.environment) or "not recorded"


def _results(manifest: Manifest, figures: Sequence[Published]) -> dict[str, Any]:
    """Return the template's variables for the section of results."""
    rows = [row for figure in figures for row in _rows(figure)]
    seeds = [record.training.seed for record in manifest.seeds.values()]
    if manifest.training is not None:
        seeds.insert(0, manifest.training.seed)
    notes = {
        _SPREAD: (
            f"of the trainings with seeds {enumeration(map(str, seeds))}, their number in "
            "brackets; *test* is of the weights in this repo"
        ),
        "values": "how many numbers of each image the figure is computed from",
        "head": "parameters that were trained on top of them",
    }
    optional = [title for title in notes if any(row[title] != NOTHING for row in rows)]
    columns = ["figure", "protocol", "test", *optional]
    return {
        "columns": columns,
        "rows": [[row[title] for title in columns] for row in rows],
        "notes": [(title, notes[title]) for title in optional],
        "measured_on": dict.fromkeys(data_name(manifest, each.data_digest) for each in figures),
        "of_known_data": all(each.data_digest == FASHION_MNIST_DIGEST for each in figures),
        "environments": _environments(manifest, figures),
    }


def _rows(figure: Published) -> Iterator[dict[str, str]]:
    """Yield the table rows of a figure, each a dictionary from column title to cell."""
    sizes = [figure.settings[key] for key in _READ if key in figure.settings]
    chosen = (f"{key} = {_shown(figure.settings[key])}" for key in CHOSEN if key in figure.settings)
    protocol = enumeration([figure.protocol.name, *chosen])
    for measure in figure.protocol.measures + figure.protocol.baselines:
        value = (figure.values | figure.baselines).get(measure.key)
        if value is None:
            continue
        own = measure in figure.protocol.measures
        yield {
            "figure": measure.full_title,
            "protocol": protocol,
            "test": f"**{measure.shown(value)}**" if own else measure.shown(value),
            _SPREAD: _spread(measure, figure.repeated.get(measure.key, [])),
            "values": _shown(sizes[0]) if sizes else NOTHING,
            "head": _shown(figure.settings.get(_HEAD, NOTHING)),
        }


def _spread(measure: Measure, runs: Sequence[int | float]) -> str:
    if len(runs) < 2:
        return NOTHING
    average, deviation = (measure.shown(of(runs)) for of in (mean, stdev))
    return f"{average} ± {deviation} ({len(runs)})"


def _described(figure: Published) -> Iterator[tuple[str, str]]:
    """Yield titles and texts: the recorded settings of a figure, and what was measured with it."""
    recorded = [
        f"{inline(key.replace('_', ' '))} {_shown(value)}"
        for key, value in figure.settings.items()
        if key not in (*_READ, _HEAD)
    ]
    if figure.seed is not None:
        recorded.append(f"seed {figure.seed}")
    beside = [
        f"{measure.title} {measure.shown(figure.values[measure.key])} {measure.unit}".strip()
        for measure in figure.protocol.beside
        if measure.key in figure.values
    ]
    for title, words in (("Recorded", recorded), ("Also measured", beside)):
        if words:
            yield title, enumeration(words)


def _environments(manifest: Manifest, figures: Sequence[Published]) -> str:
    """Return a text on the software versions that the figures were measured with."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(figure.protocol.path[0] for figure in figures):
        how = manifest.evaluations.get(name)
        versions = _versions(how.environment) if how else ""
        groups.setdefault(versions or "versions that are not recorded", []).append(name)
    if len(groups) == 1:
        text = f"Measured with {next(iter(groups))}."
    else:
        measured = (
            f"{enumeration(name.replace('_', ' ') for name in names)} with {versions}"
            for versions, names in groups.items()
        )
        text = f"Measured: {'; '.join(measured)}."
    repetitions = dict.fromkeys(
        _versions(how.environment)
        for record in manifest.seeds.values()
        for how in record.evaluations.values()
    )
    others = [versions for versions in repetitions if versions and versions not in groups]
    return text + (
        f" Those with other seeds were measured with {'; '.join(others)}." if others else ""
    )


def images_of(spec: ModelSpec) -> str:
    """Return the size and kind of a model's images, in words."""
    height, width, channels = spec.shape
    return f"{height}x{width} {'grey' if channels == 1 else 'colour'} images"


def name_of(spec: ModelSpec) -> str:
    """Return the full name of a spec, without the default tag."""
    return spec.full_name.removesuffix(f".{DEFAULT_TAG}")


def parameters_of(manifest: Manifest) -> str:
    """Return the number of parameters in words, in total and by part."""
    parts = manifest.parameters
    detail = enumeration(f"{inline(part)} {number:,}" for part, number in parts.items())
    return f"{counted(sum(parts.values()), 'parameter')} ({detail})" if parts else ""


def counted(number: int, what: str) -> str:
    """Return a number and its noun, in the plural if needed."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _versions(environment: dict[str, str]) -> str:
    return enumeration(f"{inline(key)} {inline(each)}" for key, each in environment.items())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "less than a second"


def _shown(value: Setting) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else inline(value)
