"""Batches of an autoencoder: images, targets, labels and annotations."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from fmae_zoo.component import Shape
from fmae_zoo.errors import ArgumentError
from fmae_zoo.images import check_training_images, in_unit_range, to_numpy
from fmae_zoo.objectives.base import Batch
from fmae_zoo.training.classification import class_numbers
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.spec import ModelSpec


def named(inputs: Any, classes: int | None) -> Batch:
    """Return the inputs by name: `image`, and `label` if the decoder is conditional on a class.

    Args:
        inputs: Images, or a dictionary of inputs.
        classes: Number of classes of a conditional decoder, or None.

    Raises:
        ArgumentError: An expected input is missing, or there is an unexpected one.
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


def check_batch(spec: "ModelSpec", shape: Shape, x: Any, y: Any) -> None:
    """Check that an autoencoder of a spec can be trained on NumPy arrays.

    Raises:
        ImagesError: Images or targets have a wrong shape, dtype or range.
        ArgumentError: Labels or a mask are missing, or do not fit the images.
    """
    batch = named(x, spec.classes)
    image = batch["image"]
    check_training_images(image, y, shape)
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
    """Return `image` and `target`, float32 in [0, 1], with labels and annotations.

    Args:
        x: Images, or a dictionary with `image` and `label`.
        y: The target; or a dictionary with the target as `image`, and annotations; or None if the
            images are the target.

    Raises:
        ArgumentError: The dictionary `y` has no `image`.
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
    """Return the target; the images if only weights are given, which Keras would ignore then.

    `sample_weight` in the options becomes a NumPy array.
    """
    image = x.get("image") if isinstance(x, dict) else x
    if options.get("sample_weight") is None or not hasattr(image, "shape"):
        return y
    options["sample_weight"] = to_numpy(options["sample_weight"], "sample_weight")
    return image if y is None else y


@keras.saving.register_keras_serializable(package="fmae_zoo")
class MeanLoss(keras.losses.Loss):
    """The mean over images of losses that are already computed, reduced as Keras does.

    Sample weights and the division among replicas work as in any other Keras loss.
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the losses `(n,)`, which are passed as `y_pred`."""
        return y_pred
