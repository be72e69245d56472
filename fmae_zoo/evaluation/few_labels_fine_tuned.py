"""Classification with few labels: a dense head, fine-tuned together with the encoder."""

from typing import Any

import numpy as np

from fmae_zoo.evaluation.few_labels import COUNTS, DRAWS, draws_of
from fmae_zoo.evaluation.figure import CLASSIFICATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject


def few_labels_fine_tuned(subject: Subject) -> dict[str, Any]:
    """Return accuracies of fine-tuned classifiers with few labels.

    The head is trained first, on the frozen encoder, then both together with augmented images.
    Nothing is chosen: there are no labels for it. `curve` has the mean and standard deviation for
    each number of labels.

    Raises:
        DataError: A class has fewer training images than labels are drawn of it.
    """
    curve: dict[str, dict[str, float]] = {}
    done, total = 0, len(COUNTS) * DRAWS
    subject.advance(done, total)
    for count in COUNTS:
        accuracies = []
        for draw, chosen in enumerate(draws_of(subject, count)):
            accuracies.append(_accuracy(subject, chosen, subject.seed * DRAWS + draw))
            done += 1
            subject.advance(done, total)
        mean, deviation = np.mean(accuracies), np.std(accuracies, ddof=1)
        curve[str(count)] = {"mean": float(mean), "sd": float(deviation)}
    results = {"latent_size": subject.latent_size, "draws": DRAWS, "curve": curve}
    return results | {f"accuracy_{count}": each["mean"] for count, each in curve.items()}


def _accuracy(subject: Subject, chosen: np.ndarray, seed: int) -> float:
    """Return the test accuracy of a classifier that was trained on the chosen training images."""
    from fmae_zoo.classifier import Classifier
    from fmae_zoo.evaluation.head import FEW_HEAD, FEW_TUNING, features_layer, tunable

    model, data = subject.model, subject.data
    images, labels = data.train_images[chosen], data.labels[0][chosen]
    layer = features_layer(model.encoder)
    head = Classifier(model.encoder, data.num_classes, layer=layer, seed=seed)
    head.fit(images, labels, seed=seed, **FEW_HEAD.options())
    tuned = tunable(head, model.spec.recipe)
    tuned.fit(images, labels, seed=seed, **FEW_TUNING.options())
    return float((tuned.predict(data.test_images).argmax(axis=1) == data.labels[1]).mean())


FIGURE = Figure(
    few_labels_fine_tuned,
    (
        Protocol(
            ("few_labels_fine_tuned",),
            "few labels, fine-tuned",
            "a dense head on the feature map where the encoder has one, else on the latent mean, "
            "trained on the labelled images alone, then together with the encoder; accuracy on the "
            f"test images. Mean over {DRAWS} random choices of labelled training images",
            CLASSIFICATION,
            tuple(
                Measure(
                    f"accuracy_{count}", f"accuracy, {count} per class", short=f"{count} per class"
                )
                for count in COUNTS
            ),
        ),
    ),
    needs_labels=True,
    on_request=True,
)
