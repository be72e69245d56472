"""Training of a classifier, on images or on codes that are computed once."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from fmae_zoo.arguments import check_integer, check_seed
from fmae_zoo.augmentation import augmented
from fmae_zoo.errors import ArgumentError
from fmae_zoo.images import as_images, check_training_images, to_numpy
from fmae_zoo.layers.plain import is_plain
from fmae_zoo.training.classification import (
    Guard,
    batches_in,
    class_numbers,
    listed,
    recipe,
    split,
    weights_of_classes,
    weights_of_images,
)
from fmae_zoo.training.epochs import Epochs
from fmae_zoo.training.inputs import checked
from fmae_zoo.training.trainable import Trainable
from fmae_zoo.types import Batches, Callbacks, History, Logs, Model


class Classifying(Trainable):
    """Mixin that gives a classifier `compile`, `fit` and `evaluate`.

    Attributes:
        has_recipe: Whether `fit` or `evaluate` compiled the classifier, and not the user.
        reads_codes: Whether `call` takes codes instead of images.
    """

    encoder: Model
    num_classes: int
    codes: Any
    has_recipe = False
    reads_codes = False

    @property
    def is_convolutional(self) -> bool:
        """Whether an encoder layer outputs a map `(n, height, width, channels)`."""
        return any(len(layer.output.shape) == 4 for layer in self.encoder.layers[1:])

    @contextmanager
    def _reading(self, codes: bool) -> Iterator[None]:
        """Let `call` take codes inside the block if `codes` is True, else images."""
        if self.reads_codes == codes:
            yield
            return
        before = (self.train_function, self.test_function)
        self.reads_codes, self.train_function, self.test_function = codes, None, None
        try:
            yield
        finally:
            self.reads_codes = not codes
            self.train_function, self.test_function = before

    def compile(self, optimizer: Any = "rmsprop", *args: Any, **options: Any) -> None:
        """Configure the training as `keras.Model.compile` does.

        Compiling is optional: without it, `fit` uses a recipe of its own. A compiled classifier is
        trained with the optimizer, the loss and the metrics given here.
        """
        super().compile(optimizer, *args, **options)
        self.has_recipe = False

    def get_compile_config(self) -> dict[str, Any]:
        """Return the compile arguments for saving; empty if `fit` compiled the classifier."""
        return {} if self.has_recipe else super().get_compile_config()

    def fit(
        self,
        x: Batches = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 20,
        verbose: Any = 0,
        callbacks: Callbacks = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        *,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        label_smoothing: float | None = None,
        augment: bool = False,
        seed: int = 0,
        **options: Any,
    ) -> History:
        """Train the head, and the encoder unless it is frozen, as `keras.Model.fit` does.

        If the classifier was not compiled, the recipe is AdamW with a cosine schedule to zero on
        the cross-entropy; with validation data, the weights of the epoch with the highest
        validation accuracy are kept.

        Args:
            x: Images, uint8 or floats in [0, 1], `(n, height, width, channels)`, or grey images
                `(n, height, width)`; or a `tf.data.Dataset`, a `DataLoader`, a `PyDataset` or a
                generator of images `(n, height, width, channels)` and labels.
            y: Labels, integers `(n,)` or one-hot `(n, num_classes)`.
            batch_size: Number of images in a step; 128 by default.
            epochs: Number of passes over the images.
            verbose: 0 shows nothing; other values as in Keras.
            callbacks: Keras callbacks; their `model` is the classifier.
            validation_split: Share of the images to validate on, taken from the end.
            validation_data: Images, labels and optional weights; or a source of such batches.
            shuffle: Whether each epoch has its own order, which depends on the seed.
            class_weight: Weight of the loss for each class number; 1 for classes without one.
            sample_weight: Weight of the loss for each image, `(n,)`.
            learning_rate: Highest learning rate of the recipe; 1e-3 by default.
            weight_decay: Decoupled weight decay of the recipe; 1e-4 by default.
            label_smoothing: Share of the target, in [0, 1), that the recipe spreads over all
                classes; 0 by default.
            augment: Mirror half of the images, anew in every epoch. With a convolutional encoder
                also shift each image by up to 1/14 of its shorter side (2 pixels of 28) and erase a
                rectangle in half of the images. Needs a trainable encoder.
            seed: Seed of the order and the augmentation.
            **options: Other arguments of `keras.Model.fit`.

        Returns:
            Keras' `History`. Its `history` holds lists of `loss`, `accuracy`, `val_loss` and
            `val_accuracy` with one value for each epoch.

        Raises:
            ImagesError, ArgumentError: Images or labels are missing or have a wrong shape or type;
                or another argument is out of range or does not fit the others.
            TrainingError: The loss became NaN or infinite; the weights from before `fit` are kept.
        """
        asked = {
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "label_smoothing": label_smoothing,
        }
        size = 128 if batch_size is None else batch_size
        check_integer("epochs", epochs, 1)
        check_integer("batch_size", size, 1)
        check_seed(seed)
        frozen = not self.encoder.trainable
        if frozen and augment:
            raise ArgumentError("augment needs a trainable encoder: a frozen one is run only once")
        own = not self.compiled or self.has_recipe
        given: dict[str, Any] = {name: each for name, each in asked.items() if each is not None}
        if given and not own:
            raise ArgumentError(
                f"{', '.join(given)}: of the recipe of a classifier that is not compiled; this one "
                "has the optimizer and the loss that it was compiled with"
            )
        is_arrays = hasattr(x, "shape") or isinstance(x, list | tuple)
        if not is_arrays:
            self._refuse_beside_sources(
                y=y,
                sample_weight=sample_weight,
                class_weight=class_weight,
                batch_size=batch_size,
                validation_split=validation_split or None,
                augment=augment or None,
            )
            steps = batches_in(x, options.get("steps_per_epoch"))
        else:
            train = self._examples(x, y, sample_weight, class_weight)
            if not len(train[0]):
                raise ArgumentError("There are no images to train on.")
            if validation_data is None:
                train, validation_data = split(train, validation_split)
            steps = options.get("steps_per_epoch") or -(-len(train[0]) // size)
        if own:
            self.compile(**recipe(steps and epochs * steps, **given))
            self.has_recipe = True
        cause = f"a learning rate of {given.get('learning_rate', 1e-3):g} that is too high"
        cause = cause if own else "a learning rate that is too high"
        guard = Guard(self, cause, keep_best=own and validation_data is not None)
        options |= {"epochs": epochs, "verbose": verbose, "callbacks": [*listed(callbacks), guard]}
        with ExitStack() as checks:
            held_out = self._held_out(validation_data, checks)
            if not is_arrays:
                source = checks.enter_context(checked(self.check_data, x))
                return super().fit(source, validation_data=held_out, **options)
            options.setdefault("validation_batch_size", 500)
            return self._fit_arrays(train, held_out, size, shuffle, augment, seed, options)

    @staticmethod
    def _refuse_beside_sources(**given: Any) -> None:
        names = [name for name, value in given.items() if value is not None]
        if names:
            raise ArgumentError(
                f"{', '.join(names)}: for arrays of images and labels; a data set, a loader or a "
                "generator gives images, labels and weights itself, batch by batch"
            )

    def _fit_arrays(
        self,
        train: tuple[Any, ...],
        held_out: Any,
        size: int,
        shuffle: bool,
        augment: bool,
        seed: int,
        options: dict[str, Any],
    ) -> History:
        """Train on arrays; with a frozen encoder, on codes that are computed once."""
        from fmae_zoo.classifier import Classifier

        # A subclass may use the images for more than encoding.
        once = type(self) is Classifier and not self.encoder.trainable and not is_plain()
        once = once and (held_out is None or isinstance(held_out, tuple))
        if once:
            train = (self.codes(train[0]), *train[1:])
            if held_out is not None:
                held_out = (self.codes(held_out[0]), *held_out[1:])

        def arranged(epoch: int) -> tuple[Any, ...]:
            rng = np.random.default_rng([seed, epoch])
            order = rng.permutation(len(train[0])) if shuffle else np.arange(len(train[0]))
            inputs, *rest = (part[order] for part in train)
            if augment:
                inputs = augmented(inputs, rng, self.is_convolutional)
            return (inputs, *rest)

        with self._reading(codes=once):
            return super().fit(Epochs(arranged, size), validation_data=held_out, **options)

    def _examples(
        self,
        images: Any,
        labels: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
    ) -> tuple[Any, ...]:
        """Return checked images, labels and, if there are any, weights for `fit`."""
        images = as_images(images, self.image_shape)
        numbers = class_numbers(labels, len(images), self.num_classes)
        # A loss given to `compile` may need labels in the form in which the user gave them.
        own = not self.compiled or self.has_recipe
        targets = numbers if own else to_numpy(labels, "labels")
        if sample_weight is None and class_weight is None:
            return images, targets
        given = weights_of_images(len(images), sample_weight)
        return images, targets, given * weights_of_classes(numbers, self.num_classes, class_weight)

    def _held_out(self, validation_data: Batches, checks: ExitStack) -> Batches:
        """Return checked validation arrays, or a source that checks each batch."""
        if validation_data is None:
            return None
        if hasattr(validation_data, "__iter__") and not isinstance(validation_data, tuple | list):
            return checks.enter_context(checked(self.check_data, validation_data))
        if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
            raise ArgumentError("Expected validation_data to be a pair: images and labels")
        held_out = self._examples(*validation_data)
        if not len(held_out[0]):
            raise ArgumentError("There are no images to validate on.")
        return held_out

    def check_data(self, x: Any, y: Any) -> None:
        """Check that NumPy arrays are a batch of images and labels.

        Raises:
            ImagesError, ArgumentError: The same errors as in `fit`.
        """
        check_training_images(x, None, self.image_shape)
        if y is None:
            raise ArgumentError("Expected pairs of images and labels; received images alone")
        numbers = class_numbers(y, len(x), self.num_classes)
        if (not self.compiled or self.has_recipe) and np.shape(y) != numbers.shape:
            raise ArgumentError(
                "Expected integer labels from a data set; received one-hot ones. Compile the "
                "classifier with a loss that takes these, or give arrays"
            )

    def evaluate(self, x: Batches = None, y: Any = None, **options: Any) -> Logs:
        """Return mean cross-entropy in nats and accuracy, as `keras.Model.evaluate` does.

        The cross-entropy has the label smoothing that `fit` was given, if any. A classifier that
        the user compiled returns its own loss and metrics. Images and labels have the same formats
        as in `fit`.

        Raises:
            ImagesError, ArgumentError: Arrays have a wrong shape or type.
        """
        if not self.compiled:
            self.compile(loss=keras.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
            self.has_recipe = True
        if self.reads_codes and np.shape(x)[1:] == self.encoder.output_shape[1:]:
            return super().evaluate(x, y, **options)
        with self._reading(codes=False):
            if y is None:
                with checked(self.check_data, x) as source:
                    return super().evaluate(source, **options)
            x, y, *weights = self._examples(x, y, options.pop("sample_weight", None))
            options |= {"sample_weight": weights[0]} if weights else {}
            return super().evaluate(x, y, **options)

    def train_on_batch(self, x: Batches, y: Any = None, *args: Any, **options: Any) -> Logs:
        """Train on one batch of images as `keras.Model.train_on_batch` does."""
        with self._reading(codes=False):
            return super().train_on_batch(x, y, *args, **options)

    def test_on_batch(self, x: Batches, y: Any = None, *args: Any, **options: Any) -> Logs:
        """Evaluate one batch of images as `keras.Model.test_on_batch` does."""
        with self._reading(codes=False):
            return super().test_on_batch(x, y, *args, **options)
