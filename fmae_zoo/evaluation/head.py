"""A dense head on the encoder: frozen, then fine-tuned."""

from typing import Any

import keras
import numpy as np

from fmae_zoo.classifier import Classifier
from fmae_zoo.evaluation.subject import Subject

HEAD_EPOCHS, HEAD_BATCH, HEAD_RATE = 40, 128, 3e-3
TUNE_EPOCHS, TUNE_BATCH, TUNE_RATE = 20, 128, 1e-3
TUNE_DECAY = 5e-2


def frozen_head(subject: Subject) -> dict[str, Any]:
    """Return the head's report on the latent and, where they are a map, on the features.

    The epoch is chosen on validation; the head is trained on the other 50,000 images.
    """
    results = {"latent": _report(_trained_head(subject, None), subject)}
    if features_layer(subject) is not None:
        results["features"] = _report(_trained_head(subject, "features"), subject)
    return results


def fine_tuned(subject: Subject) -> dict[str, Any]:
    """Return the report of a frozen head whose encoder was then trained too.

    The head reads the features where the encoder is convolutional, else the latent. Images
    are augmented in training; the epoch is chosen on validation.
    """
    head = _trained_head(subject, features_layer(subject))
    precision = subject.model.spec.recipe.precision
    if keras.backend.backend() != "torch":
        precision = "float32"
    classifier = head.unfreeze(precision=precision)
    images, labels, validation = _split(subject)
    rows = classifier.fit(
        images,
        labels,
        validation_data=validation,
        epochs=TUNE_EPOCHS,
        batch_size=TUNE_BATCH,
        learning_rate=TUNE_RATE,
        weight_decay=TUNE_DECAY,
        augment=True,
        seed=subject.seed,
    )
    report = _report(classifier.in_float32(), subject)
    return {**report, "validation_accuracy": max(row["val_accuracy"] for row in rows)}


def features_layer(subject: Subject) -> str | None:
    """Return `features` where they are a map that is not the code itself, else None."""
    features = subject.model.encoder.get_layer("features").output
    is_code = int(np.prod(features.shape[1:])) == subject.latent_size
    return "features" if len(features.shape) == 4 and not is_code else None


def _trained_head(subject: Subject, layer: str | None) -> Classifier:
    if layer in subject.heads:
        return subject.heads[layer]
    classifier = Classifier(
        subject.model.encoder, subject.data.num_classes, layer=layer, seed=subject.seed
    )
    images, labels, validation = _split(subject)
    classifier.fit(
        images,
        labels,
        validation_data=validation,
        epochs=HEAD_EPOCHS,
        batch_size=HEAD_BATCH,
        learning_rate=HEAD_RATE,
        seed=subject.seed,
    )
    subject.heads[layer] = classifier
    return classifier


def _split(subject: Subject) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    fit, validation = subject.data.split
    images, labels = subject.data.train_images, subject.data.train_labels
    return images[fit], labels[fit], (images[validation], labels[validation])


def _report(classifier: Classifier, subject: Subject) -> dict[str, Any]:
    report = classifier.report(subject.data.test_images, subject.data.test_labels)
    return {
        **report,
        "input_size": int(np.prod(classifier.encoder.output_shape[1:])),
        "head_parameters": int(classifier.head.count_params()),
    }
