"""Models that the page has loaded, each with images of its data and what is computed of them."""

import threading
from collections import OrderedDict
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np

import fmae_zoo
from fmae_zoo.classifier import Classifier
from fmae_zoo.datasets import TABLE, Dataset
from fmae_zoo.errors import ArgumentError
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH
from fmae_zoo.images import as_images, to_numpy
from fmae_zoo.looking import most_used

CLASSIFIER = "conv-ae-bn.fmnist-classifier"
"""Entry that names the class of an image, for models of Fashion-MNIST."""

SEARCHED, SEARCHED_WIDE = 10_000, 2_000
"""Largest number of test images that are encoded; fewer if their codes are wide."""

MAPPED = 1_500
"""Number of test images on the map."""

MEASURED = 2_000
"""Number of training images over which the use of code values is measured."""

KEPT = 6
"""Number of models that are kept in memory."""

SLIDERS = 8
"""Number of code values that can be moved."""


class Loaded:
    """A pretrained autoencoder with test images of its data.

    Attributes:
        name: Name as for `fmae_zoo.load`.
        model: Autoencoder.
        data: Data set that the model was trained on.
        images: Test images that are searched, uint8 `(n, height, width[, 3])`.
        labels: Their labels `(n,)`, or None.

    Raises:
        ArgumentError: The name is that of a classifier, or the data set is not in the table.
        FmaeError: As for `fmae_zoo.load` and `fmae_zoo.load_data`.
    """

    def __init__(self, name: str) -> None:
        self.name, self.model = name, fmae_zoo.load(name, pretrained=True)
        if not isinstance(self.model, fmae_zoo.Autoencoder):
            raise ArgumentError(f"{name} is a classifier; expected an autoencoder")
        if self.model.spec.data not in TABLE:
            raise ArgumentError(
                f"{name} was trained on {self.model.spec.data}; expected a model of a data set "
                "that `fmae data` lists, whose images the page can show"
            )
        self.data = dataset(self.model.spec.data)
        wide = self.model.spec.latent.size > MAX_PROBE_WIDTH
        count = SEARCHED_WIDE if wide else SEARCHED
        self.images = self.data.test_images[:count]
        labels = self.data.test_labels
        self.labels = None if labels is None else labels[:count]

    @cached_property
    def codes(self) -> np.ndarray:
        """Codes of `images`: `(n, size)`."""
        codes: np.ndarray = self.model.encode(self.images)
        return codes

    @cached_property
    def moved(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices and standard deviations of the most used values of a code, at most 8."""
        use, deviation = self.model.use_of_values(self.data.train_images[:MEASURED])
        chosen = most_used(use, SLIDERS)
        return chosen, deviation[chosen]

    @cached_property
    def plane(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of the mapped codes, `(n, 2)`, and the plane's two directions, `(2, size)`.

        They are the codes themselves if these have two values, else their first two principal
        components.
        """
        from sklearn.decomposition import PCA

        codes = self.codes[:MAPPED]
        if codes.shape[1] == 2:
            return codes, np.eye(2, dtype=np.float32)
        pca = PCA(2, svd_solver="randomized", random_state=0).fit(codes)
        return pca.transform(codes), pca.components_

    def code_at(self, index: int, x: float, y: float) -> np.ndarray:
        """Return the code at a place of the map: that of a mapped image, moved in the plane."""
        places, directions = self.plane
        step = np.array([x, y]) - places[index]
        return np.asarray(self.codes[index] + step @ directions, np.float32)

    def label(self, image: np.ndarray, label: int | None) -> int | None:
        """Return the class to decode with: None for a decoder that is told no class.

        Without a known label, it is the most probable class of the image.
        """
        if self.model.spec.classes is None or label is not None:
            return label if self.model.spec.classes else None
        return int(self.probabilities(image[None])[0].argmax())

    def decode(self, codes: np.ndarray, label: int | None) -> np.ndarray:
        """Return images decoded from codes `(n, size)`, each replaced by the nearest valid one."""
        valid = to_numpy(self.model.latent.nearest(codes))
        images: np.ndarray = self.model.decode(valid, label=label)
        return images

    def class_name(self, label: Any) -> str:
        """Return the name of a class of the data."""
        names = self.data.class_names
        return names[label] if names else f"class {label}"

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the probability of each class, `(n, classes)`.

        For Fashion-MNIST they are of the zoo's classifier, else shares of the ten nearest codes.

        Raises:
            DataError: The data have no labels.
        """
        if self.model.spec.takes_fashion_mnist:
            probabilities: np.ndarray = classifier().predict(as_images(images, (28, 28, 1)))
            return probabilities
        from fmae_zoo.neighbours import nearest

        found, _ = nearest(self.codes, self.model.encode(images), 10)
        each = self.data.labels[1][: len(self.images)][found]
        return np.stack([np.mean(each == k, axis=1) for k in range(self.data.num_classes)], axis=1)


_models: OrderedDict[str, Loaded] = OrderedDict()
_table = threading.Lock()
_loading: dict[str, threading.Lock] = {}


def loaded(name: str) -> Loaded:
    """Return a model by name; the six that were used last are kept in memory.

    Raises:
        FmaeError: As for `Loaded`.
    """
    with _table:
        lock = _loading.setdefault(name, threading.Lock())
    with lock:  # Other models can be used while this one is fetched.
        model = _models.get(name) or Loaded(name)
        with _table:
            _models[name] = model
            _models.move_to_end(name)
            while len(_models) > KEPT:
                _models.popitem(last=False)
        return model


def names() -> list[str]:
    """Return the names of the registry's autoencoders that have weights."""
    from fmae_zoo.registry import entries, short_name

    return [short_name(each) for each in entries() if each.pretrained and not each.is_classifier]


@lru_cache(maxsize=4)
def dataset(name: str) -> Dataset:
    """Return a data set by name; the four that were used last are kept in memory."""
    return fmae_zoo.load_data(name)


@cache
def classifier() -> Classifier:
    """Return the zoo's classifier of Fashion-MNIST, loaded once."""
    return fmae_zoo.load(CLASSIFIER, pretrained=True)
