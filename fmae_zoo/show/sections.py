"""The sections of the page.

To add one, write a function from `Looked` to a `Section`, and add it to `SECTIONS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from typing import Any

import numpy as np

from fmae_zoo.arguments import PREDICT_BATCH
from fmae_zoo.evaluation.code_use import perplexity, uses_of_groups
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.images import as_images, to_numpy
from fmae_zoo.looking import METHODS, most_used
from fmae_zoo.samplers import PRIOR
from fmae_zoo.show.pictures import Picture, bars, tiled

SHOWN, PAIRS, QUERIES, NEIGHBOURS, EXAMPLES, STEPS = 10, 4, 5, 8, 8, 9

MEASURED = 2_000
"""Maximum number of training images over which the use of code values is measured."""

KNOWN_CHANGES = (("Sneaker", "Ankle boot"), ("T-shirt/top", "Pullover"))
"""Pairs of classes that differ in one visible feature: a shaft, sleeves."""


@dataclass(frozen=True)
class Section:
    """A section of the page; if it has no pictures, `words` says why."""

    title: str
    words: str
    pictures: Sequence[Picture] = ()
    layout: str = "rows"

    @property
    def html(self) -> str:
        """HTML of the section with its pictures."""
        pictures = "\n".join(picture.html for picture in self.pictures)
        return (
            f"<section>\n<h2>{escape(self.title)}</h2>\n<p>{escape(self.words)}</p>\n"
            f'<div class="{self.layout}">\n{pictures}\n</div>\n</section>'
        )


@dataclass
class Looked(Subject):
    """A model, its data, and the test images that all sections share.

    Attributes:
        rng: Random generator that chooses the images.
        chosen: Indices of test images: one of each class if there are 2 to 10 classes, else 10.
        partners: Index of a second test image for each of `chosen`, of the same class if there
            are 2 to 10 classes.
    """

    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        order = self.rng.permutation(len(self.data.test_images))
        labels = self.data.test_labels
        if labels is not None and 1 < len(np.unique(labels)) <= SHOWN:
            of_each = [order[labels[order] == each] for each in np.unique(labels)]
            self.chosen = np.array([numbers[0] for numbers in of_each])
            self.partners = np.array([numbers[-1] for numbers in of_each])
        else:
            self.chosen, self.partners = order[:SHOWN], np.roll(order, -1)[:SHOWN]

    def images(self, numbers: Any) -> np.ndarray:
        """Return the test images of these indices as floats in [0, 1]."""
        chosen = self.data.test_images[np.atleast_1d(numbers)]
        return as_images(chosen, self.model.spec.shape)

    def told(self, numbers: Any) -> Any:
        """Return the labels of test images if the decoder is told them, else None."""
        labels = self.test_labels
        return None if labels is None else labels[numbers]

    def name(self, label: Any) -> str:
        """Return the name of a class."""
        names = self.data.class_names
        return names[label] if names else f"class {label}"

    def title(self, number: Any) -> str:
        """Return a title for a test image: the name of its class, or its index."""
        labels = self.data.test_labels
        return f"image {number}" if labels is None else self.name(labels[number])

    @cached_property
    def use(self) -> tuple[np.ndarray, np.ndarray]:
        """Use and standard deviation of each code value, over at most 2,000 training images."""
        return self.model.use_of_values(self.data.train_images[:MEASURED])

    @cached_property
    def snap_words(self) -> str:
        """Sentence for latents that replace codes by the nearest valid ones; empty for others."""
        some = self.train_codes[:8] + 0.1
        as_they_are = np.allclose(to_numpy(self.model.latent.nearest(some)), some, atol=1e-6)
        return "" if as_they_are else " Each code is replaced by the nearest that the latent has."

    @property
    def use_words(self) -> tuple[str, str]:
        """Name of the measure of a value's use, and its unit."""
        is_kl = "log_variance" in self.model.spec.latent.gives
        return ("KL to a standard normal", "nats") if is_kl else ("variance over images", "")


def _draws(looked: Looked) -> Section:
    title, model = "New images", looked.model
    if model.sampler is None:
        return Section(
            title,
            "The latent has no prior to draw codes from, and no sampler was fitted to its codes: "
            "fmae samplers NAME --write fits one.",
        )
    names = [model.sampler, *({PRIOR} & {*model.samplers} - {model.sampler})]
    rows, columns = (8, 8) if len(names) > 1 else (4, 16)
    label, words = None, "Codes are drawn without any image, and decoded."
    if model.spec.classes is not None:
        rows = min(model.spec.classes, SHOWN)
        label = np.repeat(np.arange(rows), columns)
        words += f" Each row is decoded as one class: {', '.join(map(looked.name, range(rows)))}."
    pictures = []
    for name in names:
        drawn = model.generate(rows * columns, looked.seed, sampler=name, label=label)
        said = f"{name}, the default" if name == model.sampler else f"{name}, the latent's own"
        grid = drawn.reshape(rows, columns, *drawn.shape[1:])
        alt = f"{len(drawn)} images decoded from draws of the sampler {name}"
        pictures.append(tiled(grid, alt, f"Sampler: {said}"))
    return Section(title, words, pictures, "side")


def _reconstructions(looked: Looked) -> Section:
    images = looked.images(looked.chosen)
    decoded = looked.model.reconstruct(images, label=looked.told(looked.chosen))
    mse = float(np.mean((images - decoded) ** 2))
    kinds = ", ".join(map(looked.title, looked.chosen))
    masked = looked.model.spec.objective.reads_mask
    hidden = ", where patches are hidden as in training" if masked else ""
    return Section(
        "Reconstructions",
        f"Test images, and below what the decoder makes of their codes{hidden}; the mean squared "
        f"error of these few is {mse:.4f}.",
        [
            tiled([images], f"Test images: {kinds}", "test images"),
            tiled([decoded], "Their reconstructions", "reconstructions"),
        ],
    )


def _interpolation(looked: Looked) -> Section:
    model, first = looked.model, looked.chosen[:PAIRS]
    # A decoder that is told the class is told one class for the whole row.
    told = model.spec.classes is not None
    across = np.roll(looked.chosen, -(len(looked.chosen) // 2))
    second = (looked.partners if told else across)[:PAIRS]
    ends, label = (looked.images(first), looked.images(second)), looked.told(first)
    ways = [model.interpolate(*ends, steps=STEPS, method=name, label=label) for name in METHODS]
    pictures = []
    for a, b, *rows in zip(first, second, *ways):
        said = f"{looked.title(a)} to {looked.title(b)}"
        pictures.append(tiled(rows, f"{said}: {' above, '.join(METHODS)} below", said))
    return Section(
        "Between two images",
        "From the reconstruction of one test image to that of another, in equal steps of the code: "
        "above along a straight line, below along an arc that keeps the length of the codes."
        + " The decoder is told the class of the first." * told
        + looked.snap_words,
        pictures,
        "rows apart",
    )


def _traversal(looked: Looked) -> Section:
    model, number = looked.model, looked.chosen[0]
    use, _ = looked.use
    values, (what, unit) = most_used(use), looked.use_words
    label = None if model.spec.classes is None else int(looked.told(number))
    image, over = looked.images(number), looked.data.train_images[:MEASURED]
    rows = model.traverse(image, values, STEPS, images=over, label=label)
    return Section(
        "Along the values of the code",
        f"One test image ({looked.title(number)}); in each row one value of its code is moved from "
        f"3 standard deviations below to 3 above, and the others stay. These are the "
        f"{len(values)} most used of {len(use):,}, by their {what}." + looked.snap_words,
        [
            tiled(
                [row], f"Value {i} of the code is moved", f"value {i}: {use[i]:.2f} {unit}".strip()
            )
            for i, row in zip(values, rows)
        ],
    )


def _neighbours(looked: Looked) -> Section:
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(looked.train_codes))
    step = max(1, len(looked.chosen) // QUERIES)
    queries = looked.chosen[::step][:QUERIES]
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(looked.train_codes)
    found = search.kneighbors(looked.model.encode(looked.images(queries)))[1]
    train, labels = looked.data.train_images, looked.data.train_labels
    pictures = []
    for query, near in zip(queries, found):
        said = looked.title(query)
        if labels is not None and looked.data.test_labels is not None:
            same = int((labels[near] == looked.data.test_labels[query]).sum())
            said = f"{said}: {same} of {count}"
        row = [
            looked.images(query)[0],
            None,
            *as_images(train[near], looked.model.spec.shape),
        ]
        alt = f"A test image ({looked.title(query)}), and {count} training images"
        pictures.append(tiled([row], alt, said))
    return Section(
        "Nearest neighbours",
        f"A test image, and the {count} training images whose codes are nearest to its own, among "
        f"{len(train):,}"
        + ("." if labels is None else "; the number says how many share its class."),
        pictures,
    )


def _classes(looked: Looked) -> Section:
    """Decode one code as each class, or add the difference of two classes to codes."""
    model, numbers = looked.model, looked.chosen
    if model.spec.classes is not None:
        classes = np.arange(min(model.spec.classes, SHOWN))
        codes = np.repeat(model.encode(looked.images(numbers)), len(classes), axis=0)
        made = model.decode(codes, label=np.tile(classes, len(numbers)))
        made = made.reshape(len(numbers), len(classes), *made.shape[1:])
        alt = "decoded as " + ", ".join(map(looked.name, classes))
        rows = [(looked.title(number), row) for number, row in zip(numbers, made)]
        return Section(
            "One code, each class",
            "The code of a test image, decoded as one class after the other "
            f"({', '.join(map(looked.name, classes))}): what is not told by the class is in the "
            "code.",
            [tiled([row], f"{name}, {alt}", name) for name, row in rows],
        )
    title, labels = "Arithmetic of codes", looked.data.train_labels
    present = [] if labels is None else [*np.unique(labels)]
    if labels is None or len(present) < 2:
        return Section(title, "The data have no labels, or one class.")
    means = {each: looked.train_codes[labels == each].mean(axis=0) for each in present}
    names = {looked.name(each): each for each in present}
    changes = [(names[a], names[b]) for a, b in KNOWN_CHANGES if {a, b} <= names.keys()]
    if not changes:
        gaps = {
            float(np.square(means[a] - means[b]).sum()): (a, b)
            for a in present
            for b in present
            if a < b
        }
        nearest = gaps[min(gaps)]
        changes = [nearest, nearest[::-1]]
    pictures, train = [], as_images(looked.data.train_images, model.spec.shape)
    for before, after in changes:
        of_class = np.flatnonzero(labels == before)[:EXAMPLES]
        codes = looked.train_codes[of_class] + means[after] - means[before]
        changed = model.decode(model.latent.nearest(codes))
        old, new = looked.name(before), looked.name(after)
        pictures += [
            tiled([train[of_class]], f"Images of the class {old}", old),
            tiled([changed], f"The same, changed towards {new}", f"minus {old}, plus {new}"),
        ]
    return Section(
        title,
        "To the code of an image its class's mean code is taken away and another class's is added; "
        "what is decoded should be the same piece, with what sets the other class apart.",
        pictures,
    )


def _code_use(looked: Looked) -> Section:
    model, title = looked.model, "Use of the code"
    if "index" in model.spec.latent.gives:
        images = as_images(looked.data.test_images, model.spec.shape)
        parameters = model.posterior.predict(images, batch_size=PREDICT_BATCH, verbose=0)
        values = np.array([perplexity(each) for each in uses_of_groups(model, parameters)])
        words = (
            "Of each group of the code its perplexity over test images: of how many kinds it is, "
            "if all were as frequent."
        )
        what, unit = "perplexity", ""
    else:
        values, (what, unit) = looked.use[0], looked.use_words
        words = f"Of each value of the code the {what}: one near 0 says nothing about an image."
    axis = "KL, nats" if unit else what.split()[0]
    alt = (
        f"{len(values)} bars, the {what} from {values.max():.2f} down to {values.min():.2f} {unit}"
    )
    return Section(title, words, [bars(np.sort(values)[::-1], axis, alt.strip())])


SECTIONS: tuple[Callable[[Looked], Section], ...] = (
    _draws,
    _reconstructions,
    _interpolation,
    _traversal,
    _neighbours,
    _classes,
    _code_use,
)
"""Functions that make the sections, in the order of the page."""
