"""How close generated images are to real ones, in the features of a classifier."""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.evaluation.figure import GENERATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.samplers import PRIOR, SAMPLERS

if TYPE_CHECKING:
    from fmae_zoo.datasets import Dataset
    from fmae_zoo.spec import ModelSpec

YARDSTICK = "conv-ae-bn.fmnist-classifier"
"""Name of the classifier whose hidden layer gives the features: 256 values after its ReLU."""

COUNT = 10_000
"""Number of images to generate, equal to the number of Fashion-MNIST's test images."""

NEIGHBOURS = 3
"""Number of neighbours of an image within the radius that counts as near it."""


def generation(subject: Subject) -> dict[str, Any] | None:
    """Return Frechet distances of generated images and reconstructions to the test images.

    The Frechet distance treats two sets of features as normal distributions, with means m, n and
    covariances A, B: `|m - n|^2 + tr(A + B - 2 sqrt(A B))` (Heusel et al. 2017, arXiv 1706.08500,
    in the features of an Inception network; here in those of the zoo's own classifier). Precision
    is the share of generated images that lie among the test images, recall the share of test images
    that lie among the generated ones (Kynkaanniemi et al. 2019, arXiv 1904.06991). The distance of
    the reconstructions shows what the decoder can do at best. If the decoder reads a class,
    `class_agreement` is the share of generated images that the classifier assigns to that class.

    Return None for models and data other than Fashion-MNIST, for fewer than 10,000 test images, and
    for a loss on hidden pixels alone, with which the decoder makes no whole images.
    """
    model, images = subject.model, subject.data.test_images
    if not is_measured_on(model.spec, subject.data) or len(images) < COUNT:
        return None
    if model.spec.objective.reads_mask:
        return None
    real = features_of(images)
    decoded = features_of(subject.test_reconstructions)
    found: dict[str, Any] = {"frechet_reconstructions": frechet(decoded, real)}
    for done, sampler in enumerate(model.samplers):
        subject.advance(done, len(model.samplers))
        drawn = features_of(model.generate(COUNT, seed=subject.seed, sampler=sampler))
        found[f"frechet_{sampler}"] = frechet(drawn, real)
        if sampler == model.sampler:
            found["frechet"] = found[f"frechet_{sampler}"]
            found["precision"], found["recall"] = overlap(drawn, real)
    if model.spec.classes is not None:
        wanted = np.arange(COUNT) % model.spec.classes
        asked = model.generate(COUNT, seed=subject.seed, label=wanted)
        found["class_agreement"] = float(np.mean(classes_of(asked) == wanted))
    how = {"sampler": model.sampler or "none", "features": YARDSTICK}
    return found | how | {"latent_size": subject.latent_size}


def is_measured_on(spec: "ModelSpec", data: "Dataset") -> bool:
    """Return whether model and data are both for Fashion-MNIST, for which the features are made."""
    from fmae_zoo.datasets import FASHION_MNIST_DIGEST

    return spec.takes_fashion_mnist and data.digest == FASHION_MNIST_DIGEST


@cache
def _yardstick() -> tuple[Any, Any]:
    """Return the classifier, and its head up to the hidden layer."""
    import keras

    import fmae_zoo

    classifier = fmae_zoo.load(YARDSTICK, pretrained=True, precision="float32")
    head = classifier.head
    return classifier, keras.Model(head.inputs, head.get_layer("hidden").output)


def classes_of(images: np.ndarray) -> np.ndarray:
    """Return the class that the classifier gives each image `(n, 28, 28, 1)`: integers `(n,)`."""
    classes: np.ndarray = _yardstick()[0].predict(images).argmax(axis=-1)
    return classes


def features_of(images: np.ndarray) -> np.ndarray:
    """Return the classifier's features of images of Fashion-MNIST's shape: float64 `(n, 256)`."""
    from fmae_zoo.images import as_images
    from fmae_zoo.inference import predicted

    classifier, hidden = _yardstick()
    codes = predicted(classifier.encoder, as_images(images, (28, 28, 1)), 500)
    return predicted(hidden, codes, 500).astype(np.float64)


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Frechet distance of two sets of features `(n, d)`, treated as normal."""
    means = one.mean(axis=0), other.mean(axis=0)
    covariances = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = _root(covariances[0])
    # tr sqrt(A B) = tr sqrt(sqrt(A) B sqrt(A)), which is symmetric.
    cross = np.linalg.eigvalsh(root @ covariances[1] @ root)
    trace = np.trace(covariances[0]) + np.trace(covariances[1])
    between = float(np.square(means[0] - means[1]).sum())
    return between + float(trace - 2.0 * np.sqrt(np.maximum(cross, 0.0)).sum())


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    root: np.ndarray = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root


def overlap(drawn: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """Return precision and recall of generated images, both in [0, 1], from features `(n, d)`.

    An image lies among others if one of them is at most as far from it as from its own third
    neighbour.
    """
    return _among(drawn, real), _among(real, drawn)


def _among(some: np.ndarray, others: np.ndarray, chunk: int = 1000) -> float:
    from sklearn.metrics import pairwise_distances
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=NEIGHBOURS + 1, algorithm="brute").fit(others)
    radius = search.kneighbors(others)[0][:, -1]
    inside = [
        (pairwise_distances(some[start : start + chunk], others) <= radius).any(axis=1)
        for start in range(0, len(some), chunk)
    ]
    return float(np.concatenate(inside).mean())


def _distance(key: str, of: str, column: str = "", short: str = "") -> Measure:
    title = f"Frechet distance of {of} to the test images"
    return Measure(key, title, "{:.2f}", column=column, short=short, less_is_better=True)


FIGURE = Figure(
    generation,
    (
        Protocol(
            ("generation",),
            "10,000 images from the default sampler, in the features of the zoo's classifier",
            f"Frechet distance to the 10,000 test images in the 256 features of {YARDSTICK}, which "
            "is not the FID of an Inception network; precision and recall by third neighbours "
            "(Kynkaanniemi et al. 2019). Reconstructions of the test images beside it, measured in "
            "the same way",
            GENERATION,
            (
                _distance("frechet", "images from the default sampler", "Frechet"),
                Measure("precision", "precision", "{:.3f}"),
                Measure("recall", "recall", "{:.3f}"),
                Measure("class_agreement", "draws of the class that was asked for", "{:.4f}"),
            ),
            (
                *(
                    _distance(
                        f"frechet_{name}",
                        f"images from the sampler {name}",
                        short=f"Frechet, {name}",
                    )
                    for name in (PRIOR, *SAMPLERS)
                ),
                _distance(
                    "frechet_reconstructions",
                    "reconstructions of the test images",
                    short="Frechet, reconstructions",
                ),
            ),
        ),
    ),
    of_samplers=True,
)
