"""Training of an autoencoder in Keras' loop, with its spec's objective as the loss."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from fmae_zoo.arguments import check_integer
from fmae_zoo.errors import ArgumentError
from fmae_zoo.latents import Draw
from fmae_zoo.layers.plain import is_plain
from fmae_zoo.training.batch import MeanLoss, batch_of, beside_weights, check_batch
from fmae_zoo.training.inputs import checked
from fmae_zoo.training.trainable import Trainable
from fmae_zoo.types import Batches, Callbacks, History, Logs, Tensor, Variable

if TYPE_CHECKING:
    from fmae_zoo.spec import ModelSpec


class Autoencoding(Trainable):
    """Mixin that gives an autoencoder `compile`, `fit`, `evaluate`, its loss and its metrics."""

    spec: "ModelSpec"
    forget_samplers: Any

    def track_terms(self) -> None:
        """Create the metrics of the objective's terms and the counters of steps."""
        self.mean_loss = MeanLoss()
        self.term_trackers = [keras.metrics.Mean(name) for name in self.spec.objective.term_names]
        self.steps = _counter("steps", 0)
        self.first_bad_step = _counter("first_bad_step", -1)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **options: Any,
    ) -> None:
        """Configure the training as `keras.Model.compile` does.

        Args:
            optimizer: Keras optimizer, or the name of one.
            loss: Must be None, because the loss is the objective of the spec.
            loss_weights: Must be None, for the same reason.
            metrics: List of Keras metrics, which compare the target images with their
                reconstructions, both `(n, height, width, channels)` in [0, 1].
            weighted_metrics: List of metrics like `metrics`, weighted by `sample_weight`.
            **options: Other arguments of `keras.Model.compile`.

        Raises:
            ArgumentError: A loss or loss weights are given, or metrics are given by output name.
        """
        if loss is not None or loss_weights is not None:
            raise ArgumentError(
                f"An Autoencoder's loss is its spec's objective, {self.spec.objective.type}: "
                "compile it without a loss, change the objective, or override compute_loss in a "
                "subclass"
            )
        for given in (metrics, weighted_metrics):
            if isinstance(given, dict):
                raise ArgumentError(
                    "Expected metrics as a list: they compare images with reconstructions; "
                    f"received a dictionary for the outputs {sorted(given)}"
                )
        self.has_metrics = bool(metrics or weighted_metrics)
        super().compile(optimizer, metrics=metrics, weighted_metrics=weighted_metrics, **options)
        if keras.backend.backend() == "tensorflow" and self.jit_compile_asked == "auto":
            from fmae_zoo.autoencoder import Autoencoder

            # XLA may not support the operations of a subclass or a metric.
            known = type(self) is Autoencoder and not self.has_metrics and not is_plain()
            alone = self.distribute_strategy.num_replicas_in_sync == 1
            suits = known and alone and self.spec.network.suits_xla
            self.jit_compile = self.jit_compile or suits

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Tensor = None,
        training: bool = True,
    ) -> Tensor:
        """Return the weighted sum of the objective's terms, and track each term as a metric.

        The target is `y` if it is given (the whole image of a masked one, for example), else `x`.
        A dictionary `y` holds the target as `image`, and the annotations that the objective needs.
        """
        batch = batch_of(x, y)
        step = ops.cast(self.steps, "float32") if training else None
        if step is not None:
            batch["step"] = step
        draw, logits = self._drawn(y_pred)
        terms = self.spec.objective.terms(batch, draw, logits, self)
        weights = self.spec.objective.weights(step)
        weighted = [weights[name] * term for name, term in terms.items()]
        of_images = sum(term for term in weighted if len(term.shape))
        loss = self.mean_loss(of_images, of_images, sample_weight)
        # Terms of the whole batch, penalties of layers, and losses given to `add_loss`.
        others = [term for term in weighted if not len(term.shape)]
        for each in (*others, *map(ops.sum, self.losses)):
            one = ops.reshape(ops.cast(each, loss.dtype), (1,))
            loss = loss + self.mean_loss(one, one)
        for tracker in self.term_trackers:
            term = terms[tracker.name]
            tracker.update_state(term, sample_weight if len(term.shape) else None)
        if training:
            self._count_step(loss)
        return loss

    def _drawn(self, outputs: dict[str, Any]) -> tuple[Draw, Any]:
        """Return the `Draw` behind the outputs of `call`, and the logits of each code."""
        extra = {name: ops.cast(value, "float32") for name, value in outputs.items()}
        code, log_ratio, logits = (extra.pop(name) for name in ("code", "log_ratio", "logits"))
        if self.spec.objective.codes == 1:
            code, log_ratio, logits = code[:, None], log_ratio[:, None], logits[:, None]
        return Draw(code, log_ratio, extra.pop("kl"), extra), logits

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Return all metrics; those given to `compile` compare target and reconstruction."""
        if not self.has_metrics:
            return self.get_metrics_result()
        _, logits = self._drawn(y_pred)
        target = batch_of(x, y)["target"]
        return super().compute_metrics(x, target, ops.sigmoid(logits[:, 0]), sample_weight)

    def _count_step(self, loss: Any) -> None:
        step, first = ops.convert_to_tensor(self.steps), ops.convert_to_tensor(self.first_bad_step)
        finite = ops.isfinite(loss)
        bad = ops.logical_and(ops.logical_not(finite), first < 0)
        self.first_bad_step.assign(ops.where(bad, step, first))
        # Always 1, but computed from the loss: otherwise TensorFlow counts a step without a batch.
        one = ops.cast(finite, "int32") + ops.cast(ops.logical_not(finite), "int32")
        self.steps.assign_add(one)

    def fit(
        self,
        x: Batches = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Callbacks = None,
        **options: Any,
    ) -> History:
        """Train as `keras.Model.fit` does, set up for the backend.

        Samplers that were fitted to the codes are dropped, because the codes change.

        Args:
            x: Images, uint8 in 0..255 or floats in [0, 1], `(n, height, width, channels)`; if the
                spec has classes, `{"image": images, "label": labels}`; or any other source of such
                batches that Keras takes.
            y: Target images if they differ from `x`, which may then be noisy.
            batch_size: Number of images in a step; 32 by default.
            epochs: Number of passes over the images.
            verbose: Verbosity as in Keras.
            callbacks: Keras callbacks.
            **options: Other arguments of `keras.Model.fit`. `shuffle` draws the order of the images
                from NumPy, which `keras.utils.set_random_seed` seeds.

        Raises:
            ImagesError: An array is empty, or its shape, dtype or range is wrong for images.
            ArgumentError: The batch size is not a positive integer, `class_weight` is given, or
                labels or a mask are missing or do not fit the images.
        """
        if options.get("class_weight") is not None:
            raise ArgumentError(
                "class_weight is for classifiers; an autoencoder takes sample_weight, of each image"
            )
        if "validation_batch_size" in options:
            size = _checked_batch_size(options["validation_batch_size"])
            options["validation_batch_size"] = size
        y = beside_weights(x, y, options)
        with ExitStack() as checks:
            source = checks.enter_context(checked(self.check_data, x, y))
            options["validation_data"] = self._held_out(options.get("validation_data"), checks)
            self.forget_samplers()
            return super().fit(
                source,
                y,
                batch_size=_checked_batch_size(batch_size),
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                **options,
            )

    def _held_out(self, validation_data: Batches, checks: ExitStack) -> Batches:
        """Return checked validation arrays, or a source that checks each batch."""
        if validation_data is None:
            return None
        if not isinstance(validation_data, tuple | list):
            return checks.enter_context(checked(self.check_data, validation_data))
        x, y, weights = keras.utils.unpack_x_y_sample_weight(tuple(validation_data))
        y = beside_weights(x, y, {"sample_weight": weights})
        checks.enter_context(checked(self.check_data, x, y))
        return x, y, weights

    def evaluate(
        self,
        x: Batches = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        **options: Any,
    ) -> Logs:
        """Return the loss and the metrics as `keras.Model.evaluate` does.

        Raises:
            ImagesError, ArgumentError: The same errors as in `fit`.
        """
        size = _checked_batch_size(batch_size)
        y = beside_weights(x, y, options)
        with checked(self.check_data, x, y) as source:
            return super().evaluate(source, y, batch_size=size, verbose=verbose, **options)

    def train_on_batch(self, x: Batches, y: Any = None, *args: Any, **options: Any) -> Logs:
        """Train on one batch as `keras.Model.train_on_batch` does.

        Raises:
            ImagesError, ArgumentError: The same errors as in `fit`.
        """
        self.forget_samplers()
        return super().train_on_batch(x, y, *args, **options)

    def check_data(self, x: Any, y: Any) -> None:
        """Check the NumPy arrays that `fit` and `evaluate` are given.

        Called with all of `x` and `y`, or with each batch of a data set. A subclass with other
        inputs or targets overrides it.

        Raises:
            ImagesError, ArgumentError: The same errors as in `fit`.
        """
        check_batch(self.spec, self.image_shape, x, y)


def _counter(name: str, start: int) -> Variable:
    return keras.Variable(start, dtype="int32", trainable=False, name=name)


def _checked_batch_size(batch_size: Any) -> int | None:
    if batch_size is None:
        return None
    check_integer("batch_size", batch_size, 1)
    return int(batch_size)
