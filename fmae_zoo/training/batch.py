"""What an autoencoder reads in a step: images, the target, and what else is known of them."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from fmae_zoo.errors import ArgumentError
from fmae_zoo.images import check_training_images, in_unit_range, to_numpy
from fmae_zoo.objectives.base import Batch
from fmae_zoo.training.classification import class_numbers
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.spec import ModelSpec


def named(inputs: Any, classes: int | None) -> Batch:
    """Return inputs by name: `image`, and `label` where the decoder is told the class.

    Raises:
        ArgumentError: one of them is missing, or there are others.
    """
    batch = dict(inputs) if isinstance(inputs, dict) else {"image": inputs}
    expected = {"image"} if classes is None else {"image", "label"}
    if batch.keys() != expected:
        wanted = "images alone"
        if classes is not None:
            wanted = (
                "a dictionary with 'image' and 'label', for the decoder is told which of "
                f"{classes} classes an image is of"
            )
        raise ArgumentError(f"Expected {wanted}; received {', '.join(sorted(batch))}")
    return batch


def check_batch(spec: "ModelSpec", x: Any, y: Any) -> None:
    """Refuse NumPy's arrays that an autoencoder of a spec cannot be trained on.

    Raises:
        ImagesError: images or targets have a shape, dtype or range that images do not have.
        ArgumentError: labels or a mask are missing, or do not fit the images.
    """
    batch = named(x, spec.classes)
    image = batch["image"]
    check_training_images(image, y, spec.shape)
    if spec.classes is not None:
        label = batch["label"]
        if not isinstance(label, np.ndarray) or label.ndim != 1:
            received = getattr(label, "shape", f"a {type(label).__name__}")
            raise ArgumentError(f"Expected an array of labels (n,); received {received}")
        class_numbers(label, len(image), spec.classes)
    if spec.objective.reads_mask:
        hidden = y.get("mask") if isinstance(y, dict) else None
        expected = image.shape[:3]
        if getattr(hidden, "shape", None) != expected:
            raise ArgumentError(
                f"The loss is of hidden pixels: expected y as a dictionary of the whole images "
                f"as 'image', and of the 'mask' that they are hidden by, {expected}"
            )


def batch_of(x: Any, y: Any) -> Batch:
    """Return the image, the target, both float32 in [0, 1], and what else is known of them.

    Args:
        x: images, or a dictionary of them and their labels.
        y: None where the images are the target; the target; or a dictionary with it as `image`
            and annotations.
    """
    inputs = x if isinstance(x, dict) else {"image": x}
    target = inputs["image"] if y is None else y
    batch = dict(target) if isinstance(target, dict) else {"image": target}
    if "image" not in batch:
        raise ArgumentError(f"Expected a target with an 'image'; received {sorted(batch)}")
    batch["target"] = ops.cast(in_unit_range(batch["image"]), "float32")
    for name, value in inputs.items():
        if value is not None:
            batch[name] = value
    batch["image"] = ops.cast(in_unit_range(batch["image"]), "float32")
    return batch


def beside_weights(x: Any, y: Any, options: dict[str, Any]) -> Any:
    """Return the target: Keras takes weights of samples for nothing where there is none."""
    image = x.get("image") if isinstance(x, dict) else x
    if options.get("sample_weight") is None or not hasattr(image, "shape"):
        return y
    options["sample_weight"] = to_numpy(options["sample_weight"], "sample_weight")
    return image if y is None else y


@keras.saving.register_keras_serializable(package="fmae_zoo")
class MeanLoss(keras.losses.Loss):
    """The mean over images of losses that were computed already, as Keras takes means.

    With sample weights, and divided among replicas, as for any other of Keras' losses.
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the losses `(n,)`, which are given as predictions."""
        return y_pred
