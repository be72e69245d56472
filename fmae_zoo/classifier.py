"""Classifier: a dense head on an encoder, frozen or fine-tuned."""

from typing import Any, Self

import keras
import numpy as np
from keras import layers, ops

from fmae_zoo.accelerate import evaluate, fit
from fmae_zoo.arguments import check_integer, check_number, check_seed, check_share
from fmae_zoo.augmentation import augmented
from fmae_zoo.component import IMAGE_SHAPE, LAYOUT
from fmae_zoo.errors import ArgumentError, TrainingError, UnknownModelError
from fmae_zoo.images import as_images, in_unit_range, to_numpy
from fmae_zoo.inference import predicted
from fmae_zoo.precision import resolve


@keras.saving.register_keras_serializable(package="fmae_zoo")
class Classifier(keras.Model):
    """An encoder, then standardisation, dense ReLU, dropout and softmax.

    The encoder is copied: training the classifier leaves the autoencoder as it was. While
    the encoder is frozen, `fit` computes the codes once and trains the head on them.

    Args:
        encoder: a Functional model whose input is images, `ae.encoder` for example.
        num_classes: two or more.
        trainable: whether `fit` changes the encoder too.
        layer: name of the encoder's layer to read, `features` for example; its output by
            default.
        hidden: units of the hidden layer.
        dropout: share of the hidden units that is dropped in training.
        precision: Keras dtype policy of the encoder, or `auto`, which asks the machine; the head
            is always float32.
        seed: of the head's weights and its dropout.

    Raises:
        ArgumentError: fewer classes than two, another argument out of its range, or the encoder
            is no Functional model from images to one output.
        UnknownModelError: the encoder has no such layer.
    """

    def __init__(
        self,
        encoder: Any,
        num_classes: int,
        trainable: bool = False,
        layer: str | None = None,
        hidden: int = 256,
        dropout: float = 0.3,
        precision: str = "float32",
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        shape = getattr(encoder, "input_shape", None)
        if not hasattr(encoder, "get_layer") or shape != (None, *IMAGE_SHAPE):
            raise ArgumentError(
                "Expected a Functional encoder of images, as `ae.encoder` or "
                f"load(..., part='encoder'); received {type(encoder).__name__}"
            )
        if layer is None and isinstance(encoder.output, dict):
            raise ArgumentError("The encoder has several outputs: give `ae.encoder`, or a layer")
        check_integer("num_classes", num_classes, 2)
        check_integer("hidden", hidden, 1)
        check_seed(seed)
        check_share("dropout", dropout)
        policy = resolve(precision)
        super().__init__(**kwargs)
        seed = int(seed)
        self._config: dict[str, Any] = {
            "num_classes": num_classes,
            "layer": layer,
            "hidden": hidden,
            "dropout": dropout,
            "precision": precision,
            "seed": seed,
        }
        self.num_classes = num_classes
        self.encoder = _copy(encoder, layer, policy)
        first = 7919 * seed % 2**31
        initializers = [keras.initializers.GlorotUniform(seed=first + i) for i in (1, 2)]
        self.head = keras.Sequential(
            [
                keras.Input(self.encoder.output_shape[1:]),
                layers.Flatten(name="code", data_format=LAYOUT, dtype="float32"),
                layers.BatchNormalization(name="standardise", momentum=0.9, dtype="float32"),
                layers.Dense(
                    hidden,
                    activation="relu",
                    name="hidden",
                    kernel_initializer=initializers[0],
                    dtype="float32",
                ),
                layers.Dropout(dropout, seed=first + 3, name="dropout", dtype="float32"),
                layers.Dense(
                    num_classes,
                    activation="softmax",
                    name="probabilities",
                    kernel_initializer=initializers[1],
                    dtype="float32",
                ),
            ],
            name="head",
        )
        self.encoder.trainable = trainable
        self.built = True

    @property
    def is_convolutional(self) -> bool:
        """Whether the encoder has layers whose output is a map."""
        return any(len(layer.output.shape) == 4 for layer in self.encoder.layers[1:])

    def call(self, images: Any, training: bool = False) -> Any:
        """Return class probabilities `(n, num_classes)`."""
        codes = self.encoder(in_unit_range(images), training=training)
        return self.head(codes, training=training)

    def fit(
        self,
        images: Any,
        labels: Any,
        *,
        validation_data: tuple[Any, Any] | None = None,
        epochs: int = 20,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        augment: bool = False,
        label_smoothing: float = 0.0,
        seed: int = 0,
        verbose: int = 0,
    ) -> list[dict[str, float]]:
        """Train the head, and the encoder where it is not frozen.

        AdamW with a cosine schedule to zero. With validation data the weights of the epoch
        of highest validation accuracy are kept.

        Args:
            images: uint8 or [0, 1] floats, `(n, 28, 28)` or `(n, 28, 28, 1)`.
            labels: integers `(n,)` or one-hot `(n, num_classes)`.
            validation_data: images and labels.
            epochs: passes over the images.
            batch_size: images in a step.
            learning_rate: at its highest.
            weight_decay: decoupled.
            augment: mirror half of the images, anew in every epoch; where the encoder is
                convolutional also shift each by up to two pixels and erase a rectangle of
                half of them (a dense one has to learn every shift anew); only where the
                encoder is trained too.
            label_smoothing: share of the target, in [0, 1), that is spread over all classes.
            seed: of the order and the augmentation.
            verbose: 1 prints a line for each epoch on stderr.

        Returns:
            One dictionary for each epoch: epoch, loss, accuracy, val_loss, val_accuracy.

        Raises:
            ImagesError, ArgumentError: images or labels of a wrong shape or type, or none;
                another argument out of its range.
            TrainingError: the loss became NaN or infinite; the weights before `fit` are kept.
        """
        check_integer("epochs", epochs, 1)
        check_integer("batch_size", batch_size, 1)
        check_number("learning_rate", learning_rate, zero=False)
        check_number("weight_decay", weight_decay, zero=True)
        check_share("label_smoothing", label_smoothing)
        check_seed(seed)
        pair = isinstance(validation_data, (tuple, list)) and len(validation_data) == 2
        if validation_data is not None and not pair:
            raise ArgumentError("Expected validation_data to be a pair: images and labels")
        frozen = not self.encoder.trainable
        if frozen and augment:
            raise ArgumentError("augment needs a trainable encoder: a frozen one is run only once")
        images, labels = as_images(images), self._class_numbers(labels, len(images))
        if not len(images):
            raise ArgumentError("There are no images to train on.")
        model = self.head if frozen else self
        inputs = self.codes(images) if frozen else images
        validation = None
        if validation_data is not None:
            pictures = as_images(validation_data[0])
            if not len(pictures):
                raise ArgumentError("There are no images to validate on.")
            validation = (
                self.codes(pictures) if frozen else pictures,
                self._class_numbers(validation_data[1], len(pictures)),
            )
        steps = epochs * -(-len(images) // batch_size)
        _compile(model, learning_rate, weight_decay, label_smoothing, steps)
        rows: list[dict[str, float]] = []
        before = model.get_weights()
        best, best_accuracy = None, -1.0
        for epoch in range(epochs):
            rng = np.random.default_rng([seed, epoch])
            order = rng.permutation(len(inputs))
            batch = inputs[order]
            if augment:
                batch = augmented(batch, rng, self.is_convolutional)
            logs = fit(
                model,
                batch,
                labels[order],
                batch_size=batch_size,
                shuffle=False,
                verbose=0,
                validation_data=validation,
                validation_batch_size=500,
            ).history
            row = {"epoch": epoch + 1.0} | {name: float(v[-1]) for name, v in logs.items()}
            if not np.isfinite(list(row.values())).all():
                model.set_weights(before)
                raise TrainingError(
                    f"The loss became NaN or infinite in epoch {epoch + 1}. The likely cause is a "
                    f"learning rate of {learning_rate:g} that is too high. The weights are those "
                    "from before."
                )
            rows.append(row)
            if verbose:
                _print_row(row, epochs)
            if row.get("val_accuracy", -1.0) > best_accuracy:
                best, best_accuracy = model.get_weights(), row["val_accuracy"]
        if best is not None:
            model.set_weights(best)
        return rows

    def codes(self, images: Any, batch_size: int = 500) -> np.ndarray:
        """Return what the head reads, the encoder's output: float32 `(n, ...)`.

        Raises:
            ImagesError: images as `fit` does not take them.
        """
        return predicted(self.encoder, as_images(images), batch_size)

    def predict(self, images: Any, batch_size: int = 500, verbose: int = 0) -> np.ndarray:
        """Return class probabilities: float32 `(n, num_classes)`.

        `verbose` is taken as `keras.Model.predict` takes it; no progress is shown.

        Raises:
            ImagesError: images as `fit` does not take them.
        """
        return predicted(self.head, self.codes(images, batch_size), batch_size)

    def evaluate(self, x: Any = None, y: Any = None, **options: Any) -> Any:
        """Return mean cross-entropy in nats and accuracy, as `keras.Model.evaluate` does.

        Given labels, it takes both as `fit` does, also where `fit` has trained the head alone.

        Raises:
            ImagesError, ArgumentError: arrays of a wrong shape or type.
        """
        if y is not None:
            x = as_images(x)
            y = self._class_numbers(y, len(x))
        if not self.compiled:
            self.compile(loss=keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
        return evaluate(self, x, y, **options)

    def report(self, images: Any, labels: Any) -> dict[str, Any]:
        """Return loss, accuracy, per-class precision and recall, and the confusion matrix.

        Returns:
            `loss` (mean cross-entropy in nats), `accuracy` in [0, 1], `precision` and
            `recall` (lists, a value a class), `confusion` (counts; a row for each true class).

        Raises:
            ImagesError, ArgumentError: images or labels as `fit` does not take them, or none.
        """
        from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

        probabilities = self.predict(images)
        if not len(probabilities):
            raise ArgumentError("There are no images to report on.")
        labels = self._class_numbers(labels, len(probabilities))
        predicted = probabilities.argmax(axis=1)
        classes = list(range(self.num_classes))
        precision, recall, _, _ = precision_recall_fscore_support(
            labels, predicted, labels=classes, zero_division=0.0
        )
        of_truth = probabilities[np.arange(len(labels)), labels]
        return {
            "loss": float(-np.log(np.maximum(of_truth, 1e-7)).mean()),
            "accuracy": float((predicted == labels).mean()),
            "precision": [float(value) for value in precision],
            "recall": [float(value) for value in recall],
            "confusion": confusion_matrix(labels, predicted, labels=classes).tolist(),
        }

    def unfreeze(self, precision: str | None = None) -> "Classifier":
        """Return a copy with the same weights whose encoder is trained too."""
        return self._copied(trainable=True, precision=precision)

    def in_float32(self) -> "Classifier":
        """Return a copy that computes in float32."""
        return self._copied(trainable=self.encoder.trainable, precision="float32")

    def _copied(self, trainable: bool, precision: str | None) -> "Classifier":
        changes = {"precision": precision} if precision else {}
        config = {**self._config, **changes, "layer": None}
        copy = Classifier(self.encoder, trainable=trainable, **config)
        copy.head.set_weights(self.head.get_weights())
        return copy

    def _class_numbers(self, labels: Any, count: int) -> np.ndarray:
        labels = to_numpy(labels, "labels")
        if labels.shape == (count, self.num_classes):
            labels = _from_one_hot(labels)
        if labels.shape != (count,):
            raise ArgumentError(
                f"Expected {count} labels, integers ({count},) or one-hot "
                f"({count}, {self.num_classes}); received shape {labels.shape}."
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise ArgumentError(f"Expected integer labels; received dtype {labels.dtype}.")
        if count and not 0 <= labels.min() <= labels.max() < self.num_classes:
            raise ArgumentError(
                f"Expected labels in 0..{self.num_classes - 1}; "
                f"received {labels.min()}..{labels.max()}."
            )
        return labels.astype(np.int32)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            **self._config,
            "layer": None,
            "trainable": self.encoder.trainable,
            "encoder": keras.saving.serialize_keras_object(self.encoder),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Build the model again from `get_config`'s dictionary."""
        encoder = keras.saving.deserialize_keras_object(config.pop("encoder"), custom_objects)
        return cls(encoder, **config)


@keras.saving.register_keras_serializable(package="fmae_zoo")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Mean cross-entropy in nats of integer labels, a share of each spread over all classes.

    Szegedy et al. 2016, Rethinking the Inception Architecture for Computer Vision, CVPR.
    """

    def __init__(self, smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.smoothing = smoothing

    def call(self, labels: Any, probabilities: Any) -> Any:
        """Return the loss of each image: `(n,)`."""
        of_label = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
        of_all = -ops.mean(ops.log(ops.clip(probabilities, 1e-7, 1.0)), axis=-1)
        return (1.0 - self.smoothing) * of_label + self.smoothing * of_all

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "smoothing": self.smoothing}


def _from_one_hot(rows: np.ndarray) -> np.ndarray:
    if not (np.isin(rows, (0, 1)).all() and (rows.sum(axis=1) == 1).all()):
        raise ArgumentError("Expected one-hot labels: in each row a single 1, and zeros.")
    return rows.argmax(axis=1)


def _copy(encoder: Any, layer: str | None, precision: str) -> Any:
    if layer is not None:
        names = [each.name for each in encoder.layers]
        if layer not in names:
            raise UnknownModelError(
                f"The encoder has no layer {layer!r}; it has: {', '.join(names)}"
            )
        encoder = keras.Model(encoder.input, encoder.get_layer(layer).output, name="encoder")

    def with_precision(original: Any) -> Any:
        return type(original).from_config({**original.get_config(), "dtype": precision})

    copy = keras.models.clone_model(encoder, clone_function=with_precision)
    copy.set_weights(encoder.get_weights())
    return copy


def _compile(
    model: Any, learning_rate: float, weight_decay: float, label_smoothing: float, steps: int
) -> None:
    warmup = min(max(steps // 20, 1), steps - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else learning_rate,
        steps - warmup,
        warmup_target=learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=weight_decay),
        loss=SmoothedCrossEntropy(label_smoothing),
        metrics=["accuracy"],
    )


def _print_row(row: dict[str, float], epochs: int) -> None:
    import sys

    figures = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name != "epoch")
    print(f"epoch {row['epoch']:.0f}/{epochs}  {figures}", file=sys.stderr, flush=True)
