"""The figures of a card, as people read them: each with its protocol beside it."""

from collections.abc import Iterator, Sequence
from statistics import mean, stdev

from fmae_zoo.card.figures import CHOSEN, Published, Setting, figures_of, unpublished
from fmae_zoo.card.markup import bullets, enumeration, inline, table
from fmae_zoo.card.metadata import data_name
from fmae_zoo.datasets import FASHION_MNIST_DIGEST, VALIDATION_SIZE
from fmae_zoo.evaluation import Measure
from fmae_zoo.manifest import MANIFEST_FILE, Manifest

NOTHING = "-"
_READ = ("latent_size", "input_size")
_HEAD = "head_parameters"
_SPREAD = "mean ± sd"


def results_section(manifest: Manifest) -> Iterator[str]:
    """Give the paragraphs of the section.

    Raises:
        SpecError: a figure in the manifest is no number.
    """
    figures = figures_of(manifest)
    yield "## Results"
    if figures:
        yield _data(manifest, figures)
        yield from _table(manifest, figures)
        yield "How each was measured:"
        yield bullets(_how(figure) for figure in figures)
        yield _environments(manifest, figures)
    else:
        yield "No results: the manifest of this model records no figures."
    others = unpublished(manifest)
    if others:
        yield (
            f"`{MANIFEST_FILE}` has other results, not shown because their protocol is not known "
            f"here: {enumeration(map(inline, others))}."
        )


def _data(manifest: Manifest, figures: Sequence[Published]) -> str:
    names = dict.fromkeys(data_name(manifest, figure.data_digest) for figure in figures)
    text = f"On the test images of {' and '.join(map(inline, names))}."
    if all(figure.data_digest == FASHION_MNIST_DIGEST for figure in figures):
        text += (
            f" Every choice was made on {VALIDATION_SIZE:,} training images that are held out for "
            "validation."
        )
    return text


def _table(manifest: Manifest, figures: Sequence[Published]) -> Iterator[str]:
    rows = [row for figure in figures for row in _rows(figure)]
    notes = {
        _SPREAD: (
            f"of the trainings with seeds {_seeds(manifest)}, their number in brackets; *test* is "
            "of the weights in this repo"
        ),
        "values": "how many numbers of each image the figure is computed from",
        "head": "parameters that were trained on top of them",
    }
    optional = [title for title in notes if any(row[title] != NOTHING for row in rows)]
    titles = ["figure", "protocol", "test", *optional]
    cells = ([row[title] for title in titles] for row in rows)
    yield table(titles, cells, right=range(2, len(titles)))
    words = [f"*{title}*: {notes[title]}. " for title in optional]
    yield "".join(words) + (
        f"The metadata of this card and `{MANIFEST_FILE}` have the figures unrounded."
    )


def _rows(figure: Published) -> Iterator[dict[str, str]]:
    """Give the cells of each row of a figure, by the title of their column."""
    sizes = [figure.settings[key] for key in _READ if key in figure.settings]
    for measure in figure.protocol.measures + figure.protocol.baselines:
        value = (figure.values | figure.baselines).get(measure.key)
        if value is None:
            continue
        own = measure in figure.protocol.measures
        yield {
            "figure": measure.full_title,
            "test": f"**{measure.shown(value)}**" if own else measure.shown(value),
            _SPREAD: _spread(measure, figure.repeated.get(measure.key, [])),
            "values": _shown(sizes[0]) if sizes else NOTHING,
            "head": _shown(figure.settings.get(_HEAD, NOTHING)),
            "protocol": enumeration(
                [
                    figure.protocol.name,
                    *(
                        f"{key} = {_shown(figure.settings[key])}"
                        for key in CHOSEN
                        if key in figure.settings
                    ),
                ]
            ),
        }


def _spread(measure: Measure, runs: Sequence[int | float]) -> str:
    if len(runs) < 2:
        return NOTHING
    average, deviation = (measure.shown(of(runs)) for of in (mean, stdev))
    return f"{average} ± {deviation} ({len(runs)})"


def _how(figure: Published) -> str:
    recorded = (
        f"{inline(key.replace('_', ' '))} {_shown(value)}"
        for key, value in figure.settings.items()
        if key not in (*_READ, _HEAD)
    )
    beside = (
        f"{measure.title} {measure.shown(figure.values[measure.key])} {measure.unit}".strip()
        for measure in figure.protocol.beside
        if measure.key in figure.values
    )
    seed = "" if figure.seed is None else f"seed {figure.seed}"
    text = f"**{figure.protocol.name}**: {figure.protocol.words}."
    for title, words in (("Recorded", [*recorded, seed]), ("Also measured", list(beside))):
        listed = enumeration(words)
        text += f" {title}: {listed}." if listed else ""
    return text


def _environments(manifest: Manifest, figures: Sequence[Published]) -> str:
    """Say with which versions the figures were measured, and which with which, if they differ."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(figure.protocol.path[0] for figure in figures):
        how = manifest.evaluations.get(name)
        versions = environment_words(how.environment) if how else ""
        groups.setdefault(versions or "versions that are not recorded", []).append(name)
    if len(groups) == 1:
        text = f"Measured with {next(iter(groups))}."
    else:
        measured = (
            f"{enumeration(name.replace('_', ' ') for name in names)} with {versions}"
            for versions, names in groups.items()
        )
        text = f"Measured: {'; '.join(measured)}."
    repetitions = {
        environment_words(how.environment): None
        for record in manifest.seeds.values()
        for how in record.evaluations.values()
    }
    others = [versions for versions in repetitions if versions and versions not in groups]
    return text + (
        f" Those with other seeds were measured with {'; '.join(others)}." if others else ""
    )


def environment_words(environment: dict[str, str]) -> str:
    """Return names and versions in one line."""
    return enumeration(f"{inline(key)} {inline(each)}" for key, each in environment.items())


def _seeds(manifest: Manifest) -> str:
    first = [manifest.training.seed] if manifest.training else []
    others = [record.training.seed for record in manifest.seeds.values()]
    return enumeration(str(seed) for seed in [*first, *others])


def _shown(value: Setting) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else inline(value)
