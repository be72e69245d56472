"""Parts of a classifier's training: loss, recipe, labels, weights, split and a callback."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from fmae_zoo.arguments import check_number, check_share
from fmae_zoo.errors import ArgumentError, TrainingError
from fmae_zoo.images import to_numpy
from fmae_zoo.types import Tensor


@keras.saving.register_keras_serializable(package="fmae_zoo")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Mean cross-entropy in nats of integer labels, with label smoothing.

    Szegedy et al. 2016, Rethinking the Inception Architecture for Computer Vision, CVPR.

    Args:
        smoothing: Share of each label that is spread evenly over all classes.
        **kwargs: Arguments of `keras.losses.Loss`.
    """

    def __init__(self, smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.smoothing = smoothing

    def call(self, labels: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss of each image, `(n,)`."""
        of_label = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        of_all = -ops.mean(ops.log(ops.clip(probabilities, 1e-7, 1.0)), axis=-1)
        return (1.0 - self.smoothing) * of_label + self.smoothing * of_all

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "smoothing": self.smoothing}


def recipe(
    steps: int | None,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    label_smoothing: float = 0.0,
) -> dict[str, Any]:
    """Return arguments of `compile`: AdamW with warm-up and cosine schedule, on cross-entropy.

    Args:
        steps: Number of steps of the whole training; the learning rate is constant if it is None.
        learning_rate: Highest learning rate.
        weight_decay: Decoupled weight decay.
        label_smoothing: Share of the target that is spread over all classes.

    Raises:
        ArgumentError: A value is out of its range.
    """
    check_number("learning_rate", learning_rate, zero=False)
    check_number("weight_decay", weight_decay, zero=True)
    check_share("label_smoothing", label_smoothing)
    rate: Any = learning_rate
    if steps is not None:
        warmup = min(max(steps // 20, 1), steps - 1)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else learning_rate,
            steps - warmup,
            warmup_target=learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    return {
        "optimizer": keras.optimizers.AdamW(rate, weight_decay=weight_decay),
        "loss": SmoothedCrossEntropy(label_smoothing),
        "metrics": ["accuracy"],
    }


def class_numbers(labels: Any, count: int, num_classes: int) -> np.ndarray:
    """Return labels, integers or one-hot, as class numbers, int32 `(count,)`.

    Raises:
        ArgumentError: The labels are neither integers `(count,)` in range nor one-hot
            `(count, num_classes)`.
    """
    labels = to_numpy(labels, "labels")
    if labels.shape == (count, num_classes):
        labels = _from_one_hot(labels)
    if labels.shape != (count,):
        raise ArgumentError(
            f"Expected {count} labels, integers ({count},) or one-hot "
            f"({count}, {num_classes}); received shape {labels.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ArgumentError(f"Expected integer labels; received dtype {labels.dtype}.")
    if count and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ArgumentError(
            f"Expected labels in 0..{num_classes - 1}; received {labels.min()}..{labels.max()}."
        )
    return labels.astype(np.int32)


def _from_one_hot(rows: np.ndarray) -> np.ndarray:
    if not (np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all()):
        raise ArgumentError("Expected one-hot labels: in each row a single 1, and zeros.")
    return rows.argmax(axis=1)


def weights_of_images(count: int, sample_weight: Any) -> np.ndarray:
    """Return the weight of each image's loss, float32 `(count,)`; ones if none are given.

    Raises:
        ArgumentError: The weights are not `count` finite numbers.
    """
    if sample_weight is None:
        return np.ones(count, "float32")
    weights = to_numpy(sample_weight, "sample weights").astype("float32")
    if weights.shape != (count,) or not np.isfinite(weights).all():
        raise ArgumentError(
            f"Expected sample_weight to be {count} finite numbers; received shape {weights.shape}"
        )
    return weights


def weights_of_classes(
    numbers: np.ndarray, num_classes: int, class_weight: dict[int, float] | None
) -> np.ndarray:
    """Return the weight of each image's class, float32 `(n,)`; 1 for classes without one.

    Raises:
        ArgumentError: `class_weight` names a class that does not exist.
    """
    class_weight = class_weight or {}
    unknown = [key for key in class_weight if key not in range(num_classes)]
    if unknown:
        raise ArgumentError(f"class_weight: no such class: {unknown}")
    of_class = np.array([class_weight.get(n, 1.0) for n in range(num_classes)], "float32")
    return of_class[numbers]


def split(arrays: tuple[Any, ...], share: float) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Split arrays into their first rows and the last `share` of rows, None if that is empty.

    Raises:
        ArgumentError: The share is out of range, or leaves nothing to train on.
    """
    check_share("validation_split", share)
    kept = math.floor(len(arrays[0]) * (1.0 - share))
    if not kept:
        raise ArgumentError(f"validation_split {share} leaves no images to train on")
    if kept == len(arrays[0]):
        return arrays, None
    return tuple(part[:kept] for part in arrays), tuple(part[kept:] for part in arrays)


def batches_in(source: Any, steps_per_epoch: int | None) -> int | None:
    """Return the number of batches in an epoch, or None if it is unknown."""
    try:
        return steps_per_epoch or len(source)
    except TypeError:
        return None


def listed(callbacks: Any) -> list[Any]:
    """Return callbacks as a list: None, one callback, several, or a Keras `CallbackList`."""
    callbacks = getattr(callbacks, "callbacks", callbacks)
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


class Guard(keras.callbacks.Callback):
    """Callback that keeps the best weights, and undoes a training whose loss is not finite.

    Args:
        model: Model in training.
        cause: Most likely cause of a loss that is not finite, for the error message.
        keep_best: Whether the model ends with the weights of the epoch with the highest validation
            accuracy.
    """

    def __init__(self, model: Any, cause: str, keep_best: bool) -> None:
        super().__init__()
        self.guarded, self.cause, self.keep_best = model, cause, keep_best
        self.before = model.get_weights()
        self.best: Any = None
        self.accuracy = -1.0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Check that the losses and weights are finite, and remember the best weights.

        Raises:
            TrainingError: A loss or a weight is not finite; the weights from before `fit` are
                restored.
        """
        logs = logs or {}
        losses = [logs[name] for name in ("loss", "val_loss") if name in logs]
        # A ReLU can turn NaN into zero, so a finite loss does not prove finite weights.
        if not all(np.isfinite(each).all() for each in (*losses, *self.guarded.get_weights())):
            self.guarded.set_weights(self.before)
            raise TrainingError(
                f"The loss became NaN or infinite in epoch {epoch + 1}. The likely cause is "
                f"{self.cause}. The weights are those from before."
            )
        if self.keep_best and logs.get("val_accuracy", -1.0) > self.accuracy:
            self.best, self.accuracy = self.guarded.get_weights(), logs["val_accuracy"]

    def on_train_end(self, logs: Any = None) -> None:
        """Set the best weights in the model."""
        if self.best is not None:
            self.guarded.set_weights(self.best)
