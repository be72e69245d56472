"""A dense head, fine-tuned together with the encoder."""

from typing import Any

from fmae_zoo.evaluation.figure import CLASSIFICATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject


def fine_tuned(subject: Subject) -> dict[str, Any]:
    """Return the report of a classifier whose head was trained first, then head and encoder.

    The head reads the features if they are a map, else the latent. Images are augmented in
    fine-tuning, and the epoch is chosen on validation.
    """
    from fmae_zoo.evaluation.head import (
        features_layer,
        report_of,
        trained,
        trained_head,
        tunable,
        tuning_plan,
    )

    head = trained_head(subject, features_layer(subject.model.encoder)).classifier
    classifier = tunable(head, subject.model.spec.recipe)
    return report_of(trained(classifier, tuning_plan(classifier), subject), subject)


FIGURE = Figure(
    fine_tuned,
    (
        Protocol(
            ("fine_tuned",),
            "dense head, then fine-tuned with the encoder",
            "the trained head on the feature map where the encoder has one, else on the latent "
            "mean; then head and encoder are trained on together, epoch chosen on validation",
            CLASSIFICATION,
            (Measure("accuracy", "accuracy", column="fine-tuned"),),
            (Measure("loss", "cross-entropy", unit="nats", less_is_better=True),),
        ),
    ),
    needs_labels=True,
)
