"""Classifier: a dense head on an encoder, frozen or fine-tuned."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Self

import keras
import numpy as np
from keras import layers

from fmae_zoo.arguments import PREDICT_BATCH, check_integer, check_seed, check_share
from fmae_zoo.component import LAYOUT, Shape
from fmae_zoo.errors import ArgumentError, UnknownModelError
from fmae_zoo.head import checked_labels
from fmae_zoo.images import as_images, in_unit_range
from fmae_zoo.inference import predicted
from fmae_zoo.precision import resolve
from fmae_zoo.pretrained import Pretrained
from fmae_zoo.report import report_of
from fmae_zoo.spec import ModelSpec
from fmae_zoo.training.classification import class_numbers
from fmae_zoo.training.classifying import Classifying
from fmae_zoo.types import Layer, Model, Tensor


@keras.saving.register_keras_serializable(package="fmae_zoo")
class Classifier(Pretrained, Classifying, keras.Model):
    """An encoder with a head: standardisation, dense ReLU, dropout and softmax.

    The encoder is copied, so training the classifier does not change the autoencoder. While
    the encoder is frozen, `fit` computes the codes once and trains the head on them.

    Args:
        encoder: Functional model that reads images, for example `ae.encoder`.
        num_classes: Number of classes, 2 or more.
        trainable: Whether `fit` trains the encoder too.
        layer: Name of the encoder layer that the head reads, for example `features`; the
            encoder's output by default.
        hidden: Number of units of the hidden layer.
        dropout: Share of the hidden units that is dropped in training.
        precision: Keras dtype policy of the encoder, or `auto` to choose one for this machine; the
            head is always float32.
        seed: Seed of the head's weights and of its dropout.
        labels: Distinct names of the classes, for example `("T-shirt/top", ...)`.

    Raises:
        ArgumentError: An argument is out of range, or the encoder is not a Functional model from
            images to one output.
        UnknownModelError: The encoder has no such layer.
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
        labels: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        shape = getattr(encoder, "input_shape", None)
        of_images = isinstance(shape, tuple) and len(shape) == 4 and None not in shape[1:]
        if not hasattr(encoder, "get_layer") or not of_images:
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
        labels = checked_labels(labels, num_classes)
        policy = resolve(precision)
        super().__init__(**kwargs)
        # NumPy numbers cannot be written as JSON.
        num_classes, hidden, seed = int(num_classes), int(hidden), int(seed)
        dropout = float(dropout)
        self._config: dict[str, Any] = {
            "num_classes": num_classes,
            "layer": layer,
            "hidden": hidden,
            "dropout": dropout,
            "precision": precision,
            "seed": seed,
            "labels": labels,
        }
        self.num_classes = num_classes
        self.encoder = _copy(encoder, layer, policy)
        first = 7919 * seed % (2**31 - 3)  # With up to 3 added to it, it is an int32.
        initializers = [keras.initializers.GlorotUniform(seed=first + i) for i in (1, 2)]
        self.head = keras.Sequential(
            [
                keras.Input(self.encoder.output_shape[1:], name="codes"),
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
        fixed = self.spec.latent.fixed_layers if self.spec is not None else ()
        # Set on each layer: on TensorFlow the model's setter is skipped if its value is the same.
        for each in self.encoder.layers:
            each.trainable = trainable and each.name not in fixed
        self.built = True

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes, or None."""
        return self._config["labels"]

    @property
    def spec(self) -> ModelSpec | None:
        """Spec of the autoencoder that the encoder comes from, or None."""
        return getattr(self.encoder, "spec", None)

    @property
    def image_shape(self) -> Shape:
        """Height, width and channels of an image."""
        height, width, channels = self.encoder.input_shape[1:]
        return height, width, channels

    def call(self, images: Tensor, training: bool = False) -> Tensor:
        """Return class probabilities `(n, num_classes)`."""
        if not self.reads_codes or tuple(images.shape[1:]) != self.encoder.output_shape[1:]:
            images = self.encoder(in_unit_range(images), training=training)
        return self.head(images, training=training)

    def codes(self, images: Any, batch_size: int = PREDICT_BATCH) -> np.ndarray:
        """Return the encoder's outputs, which the head reads: float32 `(n, ...)`.

        Raises:
            ImagesError: The images have a shape, dtype or range that `fit` does not take.
        """
        return predicted(self.encoder, as_images(images, self.image_shape), batch_size)

    def predict(self, images: Any, batch_size: int = PREDICT_BATCH, verbose: int = 0) -> np.ndarray:
        """Return class probabilities: float32 `(n, num_classes)`.

        `verbose` is accepted for compatibility with `keras.Model.predict` and ignored.

        Raises:
            ImagesError: The images have a shape, dtype or range that `fit` does not take.
        """
        return predicted(self.head, self.codes(images, batch_size), batch_size)

    def report(self, images: Any, labels: Any) -> dict[str, Any]:
        """Return loss, accuracy, per-class precision and recall, and the confusion matrix.

        Returns:
            `loss` (mean cross-entropy in nats), `accuracy` in [0, 1], `precision` and
            `recall` (lists with a value per class), `confusion` (counts, a row per true class).

        Raises:
            ImagesError: The images have a shape, dtype or range that `fit` does not take.
            ArgumentError: There are no images, or the labels do not fit them.
        """
        probabilities = self.predict(images)
        if not len(probabilities):
            raise ArgumentError("There are no images to report on.")
        labels = class_numbers(labels, len(probabilities), self.num_classes)
        of_truth = probabilities[np.arange(len(labels)), labels]
        loss = float(-np.log(np.maximum(of_truth, 1e-7)).mean())
        return {"loss": loss, **report_of(probabilities.argmax(axis=1), labels, self.num_classes)}

    def unfreeze(self, precision: str | None = None) -> "Classifier":
        """Return a copy with the same weights and a trainable encoder."""
        return self._copied(trainable=True, precision=precision)

    def in_float32(self) -> "Classifier":
        """Return a copy that computes in float32."""
        return self._copied(trainable=self.encoder.trainable, precision="float32")

    def as_functional(self) -> Model:
        """Return encoder and head as one Functional model, which `stock` converts to plain Keras.

        It shares the weights and reads only floats in [0, 1], `(n, height, width, channels)`.
        """
        image = keras.Input(self.image_shape, name="image")
        return keras.Model(image, self.head(self.encoder(image)), name="classifier")

    def _copied(self, trainable: bool, precision: str | None) -> "Classifier":
        changes = {"precision": precision} if precision else {}
        config = {**self._config, **changes, "layer": None}
        copy = Classifier(self.encoder, trainable=trainable, **config)
        copy.head.set_weights(self.head.get_weights())
        return copy

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments and the encoder's spec."""
        return {
            **super().get_config(),
            **self._config,
            "layer": None,
            "labels": None if self.labels is None else list(self.labels),
            "spec": None if self.spec is None else self.spec.model_dump(mode="json"),
            "trainable": self.encoder.trainable,
            "encoder": keras.saving.serialize_keras_object(self.encoder),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Build the model from the dictionary of `get_config`, which is not changed."""
        # Keras modifies the encoder's nested dictionaries while it reads them.
        arguments = deepcopy(config)
        encoder = keras.saving.deserialize_keras_object(arguments.pop("encoder"), custom_objects)
        spec = arguments.pop("spec", None)
        encoder.spec = None if spec is None else ModelSpec.from_dict(spec)
        return cls(encoder, **arguments)


def _copy(encoder: Model, layer: str | None, precision: str) -> Model:
    spec = getattr(encoder, "spec", None)
    output = encoder.output
    if layer is not None:
        names = [each.name for each in encoder.layers]
        if layer not in names:
            raise UnknownModelError(
                f"The encoder has no layer {layer!r}; it has: {', '.join(names)}"
            )
        output = encoder.get_layer(layer).output
    encoder = keras.Model(encoder.input, output, name="encoder")

    def with_precision(original: Layer) -> Layer:
        own = {"dtype": precision} if isinstance(original, keras.layers.Layer) else {}
        return type(original).from_config({**original.get_config(), **own})

    copy = keras.models.clone_model(encoder, clone_function=with_precision)
    copy.set_weights(encoder.get_weights())
    copy.spec = spec if isinstance(spec, ModelSpec) else None
    return copy
