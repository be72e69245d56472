"""Training of a dense head on the encoder: frozen, then fine-tuned."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import keras
import numpy as np

from fmae_zoo.classifier import Classifier
from fmae_zoo.datasets import Dataset
from fmae_zoo.evaluation.subject import MAX_PROBE_WIDTH, Subject
from fmae_zoo.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """Arguments of `Classifier.fit`; each was chosen on validation."""

    epochs: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float = 0.0
    augment: bool = False
    batch_size: int = 128

    def options(self, epochs: int | None = None) -> dict[str, Any]:
        """Return the arguments of `Classifier.fit`, with another number of epochs if given."""
        return asdict(self.lasting(epochs))

    def lasting(self, epochs: int | None) -> Self:
        """Return the plan, with another number of epochs if given."""
        return self if epochs is None else replace(self, epochs=epochs)


HEAD = Plan(epochs=40, learning_rate=3e-3, weight_decay=1e-4)
WIDE_HEAD = Plan(epochs=10, learning_rate=3e-3, weight_decay=0.25, label_smoothing=0.1)
"""Plan for codes of more than `MAX_PROBE_WIDTH` values, whose large head overfits more easily."""

DENSE_TUNING = Plan(epochs=20, learning_rate=1e-3, weight_decay=5e-2, augment=True)
CONVOLUTIONAL_TUNING = Plan(
    epochs=14, learning_rate=2e-3, weight_decay=0.2, label_smoothing=0.1, augment=True
)

FEW_HEAD = Plan(epochs=40, learning_rate=3e-3, weight_decay=0.1, batch_size=32)
FEW_TUNING = replace(FEW_HEAD, learning_rate=1e-3, label_smoothing=0.1, augment=True)
"""Plans for a few labelled images: first the head, then head and encoder."""


def head_plan(classifier: Classifier) -> Plan:
    """Return the plan for training a head on the frozen encoder."""
    return WIDE_HEAD if _width(classifier.encoder) > MAX_PROBE_WIDTH else HEAD


def tuning_plan(classifier: Classifier) -> Plan:
    """Return the plan for training the encoder together with its trained head."""
    return CONVOLUTIONAL_TUNING if classifier.is_convolutional else DENSE_TUNING


@dataclass(frozen=True)
class Trained:
    """A trained classifier, its plan, and its highest accuracy on validation."""

    classifier: Classifier
    plan: Plan
    validation_accuracy: float


def tunable(head: Classifier, recipe: Recipe) -> Classifier:
    """Return a copy of a classifier whose encoder is trained too, with the same trained head.

    On PyTorch it computes in the recipe's precision, which is as accurate there and faster.
    """
    fast = keras.backend.backend() == "torch"
    return head.unfreeze(precision=recipe.precision if fast else "float32")


def features_layer(encoder: Any) -> str | None:
    """Return `features` if that layer gives a map that is not the code itself, else None."""
    features = encoder.get_layer("features").output
    is_code = int(np.prod(features.shape[1:])) == _width(encoder)
    return "features" if len(features.shape) == 4 and not is_code else None


def trained_head(subject: Subject, layer: str | None) -> Trained:
    """Return a head trained on the frozen output of a layer; each layer is trained once."""
    if layer not in subject.heads:
        classifier = Classifier(
            subject.model.encoder, subject.data.num_classes, layer=layer, seed=subject.seed
        )
        subject.heads[layer] = trained(classifier, head_plan(classifier), subject)
    return subject.heads[layer]


def trained(classifier: Classifier, plan: Plan, subject: Subject) -> Trained:
    """Train a classifier by a plan on the data of a subject, and return it."""
    bar = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: subject.advance(epoch, plan.epochs),
        on_train_end=lambda logs: subject.advance(plan.epochs, plan.epochs),
    )
    return train_by(plan, classifier, subject.data, subject.seed, [bar])


def train_by(
    plan: Plan, classifier: Classifier, data: Dataset, seed: int, callbacks: Any = None
) -> Trained:
    """Train a classifier by a plan, with the epoch chosen on validation; return it in float32."""
    fit, validation = data.split
    images, labels = data.train_images, data.labels[0]
    history = classifier.fit(
        images[fit],
        labels[fit],
        validation_data=(images[validation], labels[validation]),
        seed=seed,
        callbacks=callbacks,
        **plan.options(),
    )
    exact = classifier.in_float32() if classifier.encoder.trainable else classifier
    return Trained(exact, plan, max(history.history["val_accuracy"]))


def results_of(trained: Trained, report: dict[str, Any]) -> dict[str, Any]:
    """Return a report on the test images in the form of `evaluate`, by the figure's name."""
    figure = _described(trained, report)
    encoder = trained.classifier.encoder
    if encoder.trainable:
        return {"fine_tuned": figure}
    return {"frozen_head": {encoder.output_names[0]: figure}}


def report_of(trained: Trained, subject: Subject) -> dict[str, Any]:
    """Return the report on the test images, and how the classifier was trained."""
    data = subject.data
    return _described(trained, trained.classifier.report(data.test_images, data.labels[1]))


def _described(trained: Trained, report: dict[str, Any]) -> dict[str, Any]:
    classifier = trained.classifier
    return {
        **report,
        "validation_accuracy": trained.validation_accuracy,
        **trained.plan.options(),
        "input_size": _width(classifier.encoder),
        "head_parameters": int(classifier.head.count_params()),
    }


def _width(encoder: Any) -> int:
    return int(np.prod(encoder.output_shape[1:]))
