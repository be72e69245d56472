"""Pretrained encoders as scikit-learn transformers, and its classifiers on their codes."""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import joblib
import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from fmae_zoo._backend import require_backend
from fmae_zoo.arguments import check_folder, check_seed
from fmae_zoo.datasets import Dataset, check_dataset, load_named
from fmae_zoo.errors import ArgumentError, DigestError, ImagesError
from fmae_zoo.evaluation.heads import HEADS
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH
from fmae_zoo.files import atomic_write, write_text
from fmae_zoo.images import as_images
from fmae_zoo.layout import ENCODER_FILE
from fmae_zoo.registry import find_entry
from fmae_zoo.report import report_of


class Encoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn images into the codes of a pretrained encoder.

    The encoder is already trained, so `fit` learns nothing: it checks the images and notes the
    digest of the encoder's weights. A pickle holds the source and this digest, and no weights: a
    process that reads it loads the weights by name, once, and refuses other weights.

    Images are rows of pixels `(n, height * width * channels)`, as scikit-learn's data sets and
    data frames have them, or arrays `(n, height, width[, channels])`: integers in 0..255 or floats
    in [0, 1].

    Args:
        source: Pretrained model, as `fmae_zoo.load` takes it.
        batch_size: Largest number of images that are encoded at once.

    Attributes:
        digest_: SHA-256 of the encoder's weights file.
        image_shape_: Height, width and channels of an image.
        n_features_in_: Number of pixels of an image.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> from fmae_zoo.sklearn import Encoder
        >>> model = make_pipeline(Encoder("conv-ae-bn"), LogisticRegression())
    """

    def __init__(self, source: str | Path = "conv-ae-bn", *, batch_size: int = 512) -> None:
        self.source = source
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check that X holds images of the encoder's shape, and note the encoder's digest.

        Raises:
            ImagesError: X does not hold such images.
            ArgumentError: The source is a classifier.
            FmaeError: The source has no pretrained encoder; as `fmae_zoo.load`.
        """
        entry = find_entry(self.source)
        if entry.is_classifier:
            raise ArgumentError(f"{self.source} is a classifier; expected an autoencoder")
        self.image_shape_ = entry.spec.shape
        self._images(X, reset=True)
        _, self.digest_ = entry.file(ENCODER_FILE)
        self._n_features_out = entry.spec.latent.size
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the codes of images: float32 `(n, latent size)`.

        Raises:
            NotFittedError: `fit` was not called.
            ImagesError: X does not hold images of the encoder's shape.
            DigestError: The source has other weights than when it was fitted.
            FmaeError: The encoder cannot be loaded; as `fmae_zoo.load`.
        """
        from fmae_zoo.inference import predicted

        check_is_fitted(self)
        images = self._images(X, reset=False)
        return predicted(_encoder(str(self.source), self.digest_), images, self.batch_size)

    def _rows(self, X: Any, reset: bool) -> np.ndarray:
        """Return X `(n, pixels)` after scikit-learn's checks."""
        if getattr(X, "ndim", 2) > 2:
            X = as_images(X, self.image_shape_).reshape(len(X), math.prod(self.image_shape_))
        rows = validate_data(self, X, reset=reset, dtype="numeric")
        if np.issubdtype(rows.dtype, np.integer) and rows.min() >= 0 and rows.max() <= 255:
            rows = rows.astype(np.uint8)
        elif not np.issubdtype(rows.dtype, np.floating):
            rows = rows.astype(np.float64)
        check_non_negative(rows, type(self).__name__)
        return rows

    def _images(self, X: Any, reset: bool) -> np.ndarray:
        """Return X as float32 images `(n, height, width, channels)`."""
        rows, pixels = self._rows(X, reset), math.prod(self.image_shape_)
        if rows.shape[1] != pixels:
            given = np.shape(X)
            is_one = given in (self.image_shape_, self.image_shape_[:2])
            hint = ". One image needs a batch axis: X[None]" if is_one else ""
            raise ImagesError(
                f"X has n_features = {rows.shape[1]}; expected {pixels}: {self.source} reads "
                f"images of {' x '.join(map(str, self.image_shape_))} pixels{hint}"
            )
        return as_images(rows.reshape(-1, *self.image_shape_), self.image_shape_)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = []
        return tags


@lru_cache(maxsize=8)
def _encoder(source: str, digest: str) -> Any:
    """Return an encoder, loaded once in a process."""
    from fmae_zoo.loading import load

    require_backend()
    _, now = find_entry(source).file(ENCODER_FILE)
    if now != digest:
        raise DigestError(
            f"{source}: its encoder is not the one that was fitted.\n"
            f"  expected {digest}\n  received {now}"
        )
    return load(source, pretrained=True, part="encoder")


@dataclass(frozen=True)
class HeadResult:
    """A classifier of scikit-learn on a pretrained encoder.

    Attributes:
        pipeline: Encoder and classifier, which take images as `Encoder` does.
        report: On the test images: `accuracy`, `precision`, `recall`, `confusion`; and
            `validation_accuracy` with the setting that was chosen by it.
        class_names: Names of the classes.
        title: Source of the encoder and name of the head.
    """

    pipeline: Pipeline
    report: dict[str, Any]
    class_names: tuple[str, ...] | None
    title: str

    def save(self, folder: str | Path) -> Path:
        """Write `classifier.joblib`, `report.json` and `confusion.png`; return the folder.

        `joblib.load` reads the classifier. As any pickle, load it only if you trust its source.

        Raises:
            OSError: The folder cannot be written.
        """
        from fmae_zoo.plots import plot_confusion

        folder = check_folder("folder", folder)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "classifier.joblib") as file:
            joblib.dump(self.pipeline, file)
        write_text(folder / "report.json", json.dumps(self.report, indent=2) + "\n")
        title = f"{self.title}: accuracy {self.report['accuracy']:.4f}"
        confusion = self.report["confusion"]
        plot_confusion(confusion, folder / "confusion.png", title, self.class_names)
        return folder


def fit_head(
    source: str | Path, head: str = "logistic", *, seed: int = 0, data: Dataset | None = None
) -> HeadResult:
    """Fit a classifier of scikit-learn to the codes of a pretrained encoder.

    Its setting (C, k, ...) is chosen on the validation images; then it is fitted to all training
    images. This is how the published figures were measured.

    Args:
        source: Pretrained model, as `fmae_zoo.load` takes it.
        head: `logistic`, `knn`, `svm`, `forest`, `boosting` or `mlp`.
        seed: Seed of the head.
        data: Data set with labels; by default the one that the model's spec names.

    Raises:
        ArgumentError: There is no such head, the seed is out of range, the source is a classifier,
            or its codes have more than 1,024 values.
        DataError: The data has no labels, or those to fit on are all of one class.
        FmaeError: As `fmae_zoo.load`.
    """
    if head not in HEADS:
        raise ArgumentError(f"head is {head!r}; expected one of {', '.join(HEADS)}")
    check_seed(seed)
    check_dataset(data)
    spec = find_entry(source).spec
    if spec.latent.size > MAX_PROBE_WIDTH:
        raise ArgumentError(
            f"{source}: codes of {spec.latent.size:,} values; expected at most {MAX_PROBE_WIDTH:,}"
            ". fmae_zoo.classify takes them"
        )
    data = data or load_named(spec.data)
    _, test_labels = data.labels
    encoder = Encoder(source).fit(data.train_images)
    codes = encoder.transform(data.train_images)
    fitted, setting, accuracy = HEADS[head].chosen(codes, data, seed)
    predicted = fitted.predict(encoder.transform(data.test_images))
    report = report_of(predicted, test_labels, data.num_classes)
    report |= {"validation_accuracy": accuracy, HEADS[head].setting: setting}
    pipeline = make_pipeline(encoder, *(step for _, step in fitted.steps))
    return HeadResult(pipeline, report, data.class_names, f"{source}, {head}")
