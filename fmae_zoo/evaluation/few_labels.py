"""Classification with few labels: on codes alone, and on a graph of all images' codes."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fmae_zoo.errors import DataError
from fmae_zoo.evaluation.figure import CLASSIFICATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.graph import NEIGHBOURS, neighbour_graph, normalised
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH, Subject

COUNTS = (1, 2, 5, 10, 50, 100)
"""Numbers of labelled images of each class."""

DRAWS = 20
"""Random choices of labelled images, over which mean and standard deviation are taken."""

ALPHA = 0.99
"""Share of an image's scores that comes from its neighbours, as in Zhou et al. 2004."""

ITERATIONS = 60

CODE = "code"

Features = dict[str, tuple[np.ndarray, np.ndarray]]


def few_labels(subject: Subject) -> dict[str, Any] | None:
    """Return accuracies with few labels, inductive and transductive.

    `curves` has the mean and standard deviation for each number of labels: of the code, of the
    pixels, and of as many principal components as the code has values (`pca`).

    Return None for codes of more than `MAX_PROBE_WIDTH` values.

    Raises:
        DataError: A class has fewer training images than labels are drawn of it.
    """
    if subject.latent_size > MAX_PROBE_WIDTH:
        return None
    codes = subject.train_codes, subject.test_codes
    sources = {CODE: codes, **_baselines(subject)}
    ways = {"inductive": _inductive, "transductive": _transductive}
    results: dict[str, Any] = {}
    done, total = 0, len(ways) * len(sources)
    for way, classify in ways.items():
        results[way] = {"latent_size": subject.latent_size, "draws": DRAWS, "curves": {}}
        for name, features in sources.items():
            subject.advance(done, total)
            done += 1
            curve = {
                str(count): {"mean": float(scores.mean()), "sd": float(scores.std(ddof=1))}
                for count, scores in classify(subject, *features)
            }
            results[way]["curves"][name] = curve
        own = results[way]["curves"][CODE]
        results[way] |= {f"accuracy_{count}": each["mean"] for count, each in own.items()}
    subject.advance(total, total)
    return results


def _baselines(subject: Subject) -> Features:
    """Return pixels, and as many of their principal components as a code has values."""
    from sklearn.decomposition import PCA

    data = subject.data
    pixels = [
        each.reshape(len(each), -1).astype(np.float32) / 255.0
        for each in (data.train_images, data.test_images)
    ]
    pca = PCA(min(subject.latent_size, *pixels[0].shape), random_state=0).fit(pixels[0])
    return {
        "pixels": (pixels[0], pixels[1]),
        "pca": (pca.transform(pixels[0]), pca.transform(pixels[1])),
    }


def drawn(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return indices of `count` images of each class, chosen at random.

    Raises:
        DataError: A class has fewer images.
    """
    generator = np.random.default_rng([seed, count])
    chosen = []
    for each in np.unique(labels):
        members = np.flatnonzero(labels == each)
        if len(members) < count:
            raise DataError(f"class {each} has {len(members)} images; {count} labels are drawn")
        chosen.append(generator.choice(members, count, replace=False))
    return np.concatenate(chosen)


def draws_of(subject: Subject, count: int) -> list[np.ndarray]:
    """Return indices of the training images of each draw of `count` images of each class."""
    labels, _ = subject.data.labels
    return [drawn(labels, count, subject.seed * DRAWS + draw) for draw in range(DRAWS)]


def _inductive(
    subject: Subject, train: np.ndarray, test: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each number of labels with the accuracy of each draw of labelled images."""
    from sklearn.linear_model import LogisticRegression

    labels, test_labels = subject.data.labels
    # One scale for all features: to standardise each would raise those that hold only noise.
    scale = np.sqrt(train.var(axis=0).mean())
    train, test = train / scale, test / scale

    def accuracy(chosen: np.ndarray) -> float:
        head = LogisticRegression(C=1.0, max_iter=300).fit(train[chosen], labels[chosen])
        return float(head.score(test, test_labels))

    for count in COUNTS:
        yield count, np.array([accuracy(chosen) for chosen in draws_of(subject, count)])


def _transductive(
    subject: Subject, train: np.ndarray, test: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each number of labels with the accuracy of each draw of labelled images."""
    labels = np.concatenate(subject.data.labels)
    graph = neighbour_graph(np.concatenate([train, test]))
    for count in COUNTS:
        draws, accuracies = draws_of(subject, count), []
        for chosen, predicted in zip(draws, _spread(graph, labels, draws)):
            hidden = np.delete(np.arange(len(labels)), chosen)
            accuracies.append((predicted[hidden] == labels[hidden]).mean())
        yield count, np.array(accuracies)


def _spread(graph: Any, labels: np.ndarray, draws: list[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the classes of all images for each draw of labelled ones, whose labels spread.

    As scikit-learn's `LabelSpreading`, for all draws at once, which takes a tenth of the time.
    """
    graph = normalised(graph)
    shape = len(labels), len(draws), int(labels.max()) + 1
    known: np.ndarray = np.zeros(shape, np.float32)
    for draw, chosen in enumerate(draws):
        known[chosen, draw, labels[chosen]] = 1.0
    known = known.reshape(len(labels), -1)
    scores = known
    for _ in range(ITERATIONS):
        scores = ALPHA * (graph @ scores) + (1 - ALPHA) * known
    yield from scores.reshape(shape).argmax(axis=2).T


def _protocol(way: str, words: str) -> Protocol:
    return Protocol(
        ("few_labels", way),
        f"few labels, {way}",
        f"{words}. Mean over {DRAWS} random choices of labelled training images",
        CLASSIFICATION,
        tuple(
            Measure(f"accuracy_{count}", f"accuracy, {count} per class", short=f"{count} per class")
            for count in COUNTS
        ),
    )


FIGURE = Figure(
    few_labels,
    (
        _protocol(
            "inductive",
            "logistic regression (C = 1) on the labelled images' latent means, divided by their "
            "overall standard deviation; accuracy on the test images, which are not seen before",
        ),
        _protocol(
            "transductive",
            f"labels spread (Zhou et al. 2004, alpha = {ALPHA}) over a graph of the {NEIGHBOURS} "
            "nearest latent means by cosine, of training and test images together; accuracy on "
            "all images without a label",
        ),
    ),
    needs_labels=True,
    on_request=True,
)
