"""A dense head on the frozen encoder."""

from typing import Any

from fmae_zoo.evaluation.figure import CLASSIFICATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject

ACCURACY = Measure("accuracy", "accuracy", column="frozen head")
CROSS_ENTROPY = Measure("loss", "cross-entropy", unit="nats", less_is_better=True)
_WORDS = (
    "a dense layer, dropout and a softmax on the frozen encoder, trained on the training images "
    "that do not validate; epoch chosen on validation"
)


def frozen_head(subject: Subject) -> dict[str, Any]:
    """Return the head's report on the latent and, if they are a map, on the features.

    The epoch is chosen on validation; the head is trained on the other training images.
    """
    from fmae_zoo.evaluation.head import features_layer, report_of, trained_head

    results = {"latent": report_of(trained_head(subject, None), subject)}
    if features_layer(subject.model.encoder) is not None:
        results["features"] = report_of(trained_head(subject, "features"), subject)
    return results


FIGURE = Figure(
    frozen_head,
    (
        Protocol(
            ("frozen_head", "latent"),
            "dense head on the frozen latent mean",
            _WORDS,
            CLASSIFICATION,
            (ACCURACY,),
            (CROSS_ENTROPY,),
        ),
        Protocol(
            ("frozen_head", "features"),
            "dense head on the frozen feature map",
            f"{_WORDS}. It reads the feature map before the latent",
            CLASSIFICATION,
            (ACCURACY,),
            (CROSS_ENTROPY,),
        ),
    ),
    needs_labels=True,
)
