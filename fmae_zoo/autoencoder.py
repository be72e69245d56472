"""Autoencoder: encoder, latent and decoder of a spec as one Keras model."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from fmae_zoo.arguments import check_integer, check_seed
from fmae_zoo.augmentation import fixed_mask, masked
from fmae_zoo.component import Shape
from fmae_zoo.errors import ArgumentError, ImagesError, WeightsError
from fmae_zoo.images import as_images, check_training_images, in_unit_range, to_numpy
from fmae_zoo.inference import predicted
from fmae_zoo.latents import Draw
from fmae_zoo.layers.initial import Seeds
from fmae_zoo.layers.latent import LatentLayer
from fmae_zoo.layers.plain import is_plain
from fmae_zoo.looking import Looking
from fmae_zoo.pretrained import Pretrained
from fmae_zoo.samplers.generating import PREDICT_BATCH, Generating
from fmae_zoo.spec import ModelSpec
from fmae_zoo.training.batch import MeanLoss, batch_of, beside_weights, named
from fmae_zoo.training.classification import class_numbers
from fmae_zoo.training.inputs import checked
from fmae_zoo.training.trainable import Trainable
from fmae_zoo.types import Batches, Callbacks, Logs, Tensor, Variable
from fmae_zoo.weights import named_in, named_variables

_one_at_a_time = threading.RLock()
"""Held while a model is built: the policy that it sets is the process's."""


@keras.saving.register_keras_serializable(package="fmae_zoo")
class Autoencoder(Generating, Looking, Pretrained, Trainable, keras.Model):
    """The model that a spec describes.

    Calling it on images `(n, height, width, channels)` of the spec's shape, floats in [0, 1] or
    uint8 in 0..255 (where the spec has classes, on a dictionary of them as `image`, and integers
    `(n,)` as `label`), returns a dictionary of all that the loss needs: what the latent gives
    (`mean`, and `log_variance` where there is a posterior; `kl` and `log_ratio`, as
    `latents.Draw` has them), the `code` and the decoder's `logits`. The sigmoid of the logits is
    the image. Where the objective draws several codes of an image, the second axis of code,
    logits and log_ratio counts them.

    Attributes:
        spec: the spec it was built from.
        encoder: plain Functional model, images to codes `(n, latent size)`. Its
            layer `features` is what the latent reads. It has the spec too, for a
            `Classifier` on it to be saved by.
        posterior: images to all parameters of the latent; shares the encoder's layers.
        latent: the `LatentLayer`, which owns what the latent learns besides.
        decoder: plain Functional model, codes `(n, latent size)` to logits; where the spec has
            classes, a dictionary of them as `code` and the `label` of each.
        critic: what the objective itself learns, a Keras model, or None.

    Args:
        spec: a `ModelSpec`, or the dictionary of one.
        seed: of the weights and of the sampling noise.
    """

    def __init__(self, spec: ModelSpec | dict[str, Any], seed: int = 0, **kwargs: Any) -> None:
        if not isinstance(spec, ModelSpec):
            spec = ModelSpec.from_dict(spec)
        kwargs.setdefault("name", spec.name.replace("-", "_"))
        super().__init__(**kwargs)
        self.spec = spec
        check_seed(seed)
        self.seed = int(seed)
        seeds = Seeds(seed)
        with _one_at_a_time, _policy(self.dtype_policy):
            image = keras.Input(spec.shape, name="image")
            parameters = spec.latent.parameters(spec.network.encode(image, seeds), seeds)
            code = keras.Input((spec.latent.size,), name="code")
            read, told = code, code
            if spec.classes is not None:
                label = keras.Input((), dtype="int32", name="label")
                read = {"code": code, "label": label}
                told = ops.concatenate([code, ops.one_hot(label, spec.classes)], axis=-1)
            logits = spec.network.decode(told, spec.shape, seeds)
            self.latent = LatentLayer(spec.latent, self.seed, seeds, spec.shape)
            # Named after the entry, so that two entries' parts go into one Functional model.
            named = f"{self.name}_encoder"
            self.encoder = keras.Model(image, self.latent.code(parameters), name=named)
            self.encoder.spec = spec
            self.posterior = keras.Model(image, parameters, name=f"{self.name}_posterior")
            self.decoder = keras.Model(read, logits, name=f"{self.name}_decoder")
            # A function, for the layer does not own these weights.
            self.latent.parameters_of = lambda images: self.posterior(images, training=False)
            self.critic = spec.objective.module(spec, seeds)
        self.fitted = {}
        self.sampler = None
        self.mean_loss = MeanLoss()
        self.term_trackers = [keras.metrics.Mean(name) for name in spec.objective.term_names]
        self.steps = self._counter("steps", 0)
        self.first_bad_step = self._counter("first_bad_step", -1)
        self.built = True

    @property
    def image_shape(self) -> Shape:
        """Height, width and channels of an image."""
        return self.spec.shape

    def _counter(self, name: str, start: int) -> Variable:
        return keras.Variable(start, dtype="int32", trainable=False, name=name)

    def parts(self) -> dict[str, dict[str, Any]]:
        """Return every variable that the model learns or needs, by part and name.

        The parts are those that are saved in a file each: `encoder`, with what the latent owns,
        `decoder`, and `critic` where the objective has one.

        Raises:
            WeightsError: a variable of the model is in none of them, and would be lost.
        """
        own = {f"{self.latent.name}.{key}": each for key, each in named_in(self.latent).items()}
        parts = {
            "encoder": named_variables(self.posterior) | own,
            "decoder": named_variables(self.decoder),
        }
        if self.critic is not None:
            parts["critic"] = named_variables(self.critic)
        counters = (self.steps, self.first_bad_step)
        known = {id(each) for part in parts.values() for each in part.values()}
        known |= {id(each) for each in counters}
        lost = [each.path for each in self.weights if id(each) not in known]
        if lost:
            raise WeightsError(f"{self.name}: in no part of the model: {', '.join(lost)}")
        return parts

    def call(self, inputs: Any, training: bool = False) -> dict[str, Any]:
        """Return what the latent gives, the code and the logits."""
        batch = named(inputs, self.spec.classes)
        parameters = self.posterior(in_unit_range(batch["image"]), training=training)
        samples = self.spec.objective.codes
        noise = None
        if self.latent.always_draws and not training:
            count = ops.shape(parameters["mean"])[0]
            noise = self.latent.noise((count, samples, self.spec.latent.draw_noise_size))
        draw = self.latent.draw(parameters, samples, training, noise)
        flat = ops.reshape(draw.code, (-1, self.spec.latent.size))
        read = flat
        if self.spec.classes is not None:
            read = {"code": flat, "label": ops.repeat(batch["label"], samples, axis=0)}
        logits = self.decoder(read, training=training)
        outputs = {"code": flat, "logits": logits, "log_ratio": draw.log_ratio[:, 0]}
        if samples > 1:
            logits = ops.reshape(logits, (-1, samples, *logits.shape[1:]))
            outputs = {"code": draw.code, "logits": logits, "log_ratio": draw.log_ratio}
        return {**draw.extra, "kl": draw.kl, **outputs}

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
            optimizer: a Keras optimizer, or the name of one.
            loss: none, for the loss is the objective of the spec.
            loss_weights: none, for the same reason.
            metrics: a list of Keras metrics, of the images to reconstruct and their
                reconstructions, both `(n, height, width, channels)` in [0, 1].
            weighted_metrics: the same, with the weights of samples.
            **options: what else `keras.Model.compile` takes.

        Raises:
            ArgumentError: there is a loss, or the metrics are for outputs by name.
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
            # Of what a subclass or a metric does, XLA may know nothing.
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
        """Return the weighted sum of the objective's terms, and track each of them.

        The target is `y` where one is given (the whole image of a masked one), else `x`. A
        dictionary as `y` holds it as `image`, and beside it what the objective asked for.
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
        # What is of the batch, the penalties of layers, and what was given to `add_loss`.
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
        """Return the draw that outputs of `call` are of, and the logits, one for each code."""
        extra = {name: ops.cast(value, "float32") for name, value in outputs.items()}
        code, log_ratio, logits = (extra.pop(name) for name in ("code", "log_ratio", "logits"))
        if self.spec.objective.codes == 1:
            code, log_ratio, logits = code[:, None], log_ratio[:, None], logits[:, None]
        return Draw(code, log_ratio, extra.pop("kl"), extra), logits

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Return all metrics; those given to `compile` compare the target with the image."""
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
        # One, by way of the loss: else TensorFlow counts a step that finds no batch any more.
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
    ) -> Any:
        """Train as `keras.Model.fit` does, by the calls that suit the backend.

        Samplers that were fitted to the codes are dropped, for the codes change.

        Args:
            x: images, uint8 in 0..255 or floats in [0, 1], `(n, height, width, channels)`; where
                the spec has classes `{"image": images, "label": labels}`; or what else Keras
                takes that gives such batches.
            y: the images to reconstruct, where they are not `x`, which then may be noisy.
            batch_size: images in a step; 32 by default.
            epochs: over the images.
            verbose: as Keras has it.
            callbacks: Keras callbacks.
            **options: what else `keras.Model.fit` takes. The order that `shuffle` gives the images
                is drawn from NumPy, which `keras.utils.set_random_seed` seeds.

        Raises:
            ImagesError: an array has a shape, dtype or range that images do not have, or is empty.
            ArgumentError: the batch size is no integer of 1 or more.
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
        """Return what is validated on, checked, or a source whose batches are checked."""
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
        """Return what `keras.Model.evaluate` does, by the calls that suit the backend.

        Raises:
            ImagesError, ArgumentError: as `fit`.
        """
        size = _checked_batch_size(batch_size)
        y = beside_weights(x, y, options)
        with checked(self.check_data, x, y) as source:
            return super().evaluate(source, y, batch_size=size, verbose=verbose, **options)

    def train_on_batch(self, x: Batches, y: Any = None, *args: Any, **options: Any) -> Logs:
        """Train on one batch as `keras.Model.train_on_batch` does.

        Raises:
            ImagesError, ArgumentError: as `fit`.
        """
        self.forget_samplers()
        return super().train_on_batch(x, y, *args, **options)

    def check_data(self, x: Any, y: Any) -> None:
        """Refuse NumPy's arrays that `fit` and `evaluate` cannot take for images.

        They are all of x and y, or one batch of a data set. For a subclass to override whose
        inputs or targets are others.

        Raises:
            ImagesError: as `fit`.
        """
        batch = named(x, self.spec.classes)
        check_training_images(batch["image"], y, self.image_shape)
        if self.spec.classes is not None:
            label = batch["label"]
            if not isinstance(label, np.ndarray) or label.ndim != 1:
                received = getattr(label, "shape", f"a {type(label).__name__}")
                raise ArgumentError(f"Expected an array of labels (n,); received {received}")
            class_numbers(label, len(batch["image"]), self.spec.classes)
        if self.spec.objective.reads_mask:
            hidden = y.get("mask") if isinstance(y, dict) else None
            expected = batch["image"].shape[:3]
            if getattr(hidden, "shape", None) != expected:
                raise ArgumentError(
                    f"The loss is of hidden pixels: expected y as a dictionary of the whole images "
                    f"as 'image', and of the 'mask' that they are hidden by, {expected}"
                )

    def encode(
        self, images: Any, batch_size: int = PREDICT_BATCH, *, mask: Any = None
    ) -> np.ndarray:
        """Return latent means: float32 `(n, latent size)`. Deterministic.

        They are computed by weights into which BatchNorm is folded: hooks of layers see `fit` and
        `ae(images)`, and not this.

        Args:
            images: uint8 in 0..255 or floats in [0, 1], `(n, height, width, channels)`,
                or grey ones `(n, height, width)`.
            batch_size: images in one call of the network.
            mask: pixels to hide, as the network was trained with hidden ones: True, or not 0,
                `(n, height, width)`.

        Raises:
            ImagesError: anything else.
        """
        array = as_images(images, self.image_shape)
        if mask is not None:
            hidden = to_numpy(mask, "a mask")
            if hidden.shape != array.shape[:3]:
                raise ImagesError(
                    f"Expected a mask of shape {array.shape[:3]}; received {hidden.shape}"
                )
            if hidden.dtype.kind not in "biuf" or np.isnan(hidden).any():
                raise ImagesError("Expected a mask of booleans or numbers; received others")
            array = masked(array, hidden, self.spec.network.hidden)
        return predicted(self.encoder, array, batch_size)

    def decode(
        self, codes: Any, batch_size: int = PREDICT_BATCH, *, label: Any = None
    ) -> np.ndarray:
        """Return the images of codes `(n, latent size)`.

        They are float32 `(n, height, width, channels)` in [0, 1].

        Args:
            codes: as `encode` returns them.
            batch_size: codes in one call of the network.
            label: where the spec has classes, that of all images, or of each: integers `(n,)`.

        Raises:
            ArgumentError: the codes have another shape, or are no finite numbers; there is no
                label and the decoder is told one, or the other way round.
        """
        try:
            codes = np.asarray(to_numpy(codes), dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"Expected an array of codes: {error}") from error
        if codes.ndim != 2 or codes.shape[1] != self.spec.latent.size:
            raise ArgumentError(
                f"Expected codes of shape (n, {self.spec.latent.size}); received {codes.shape}."
            )
        if not np.isfinite(codes).all():
            raise ArgumentError("Expected finite codes; received NaN or infinity.")
        labels = self._class_numbers(len(codes), label)
        read = codes if labels is None else {"code": codes, "label": labels}
        return predicted(self.decoder, read, batch_size, activation="sigmoid")

    def _class_numbers(self, count: int, label: Any) -> np.ndarray | None:
        """Return the class of each of so many codes, for a decoder that is told it."""
        classes = self.spec.classes
        if (label is None) != (classes is None):
            expected = (
                "no label: its decoder is told none"
                if classes is None
                else (
                    f"label=, an integer in 0..{classes - 1} or one for each image: its decoder is "
                    "told the class"
                )
            )
            raise ArgumentError(f"{self.spec.name}: expected {expected}")
        if classes is None:
            return None
        each = to_numpy(label, "labels")
        each = np.full(count, each) if each.ndim == 0 else each
        return class_numbers(each, count, classes)

    def reconstruct(
        self,
        images: Any,
        batch_size: int = PREDICT_BATCH,
        *,
        label: Any = None,
        mask: Any = None,
    ) -> np.ndarray:
        """Return reconstructions of images as `encode` takes them.

        They are float32 `(n, height, width, channels)` in [0, 1].

        Args:
            images: as of `encode`.
            batch_size: images in one call of the network.
            label: as of `decode`; another one than the image's gives its style in that class.
            mask: as of `encode`; what it hides is made up. Where the loss was of hidden pixels
                alone, these are hidden as in training by default, and the others stay.

        Raises:
            ImagesError: as `encode`.
            ArgumentError: as `decode`.
        """
        if not self.spec.objective.reads_mask:
            return self.decode(self.encode(images, batch_size, mask=mask), batch_size, label=label)
        images = as_images(images, self.image_shape)
        if mask is None:
            mask = fixed_mask(len(images), self.spec.shape, self.spec.recipe)
        made = self.decode(self.encode(images, batch_size, mask=mask), batch_size, label=label)
        return np.where(to_numpy(mask)[..., np.newaxis] != 0, made, images)

    def input_signature(self) -> list[Any]:
        """Return the inputs that an exported model has, if nothing else is said."""
        [image] = super().input_signature()
        if self.spec.classes is None:
            return [image]
        return [{"image": image, "label": keras.InputSpec(shape=(None,), dtype="int32")}]

    def get_config(self) -> dict[str, Any]:
        """Return spec and seed."""
        return {
            **super().get_config(),
            "spec": self.spec.model_dump(mode="json"),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Build the model again from `get_config`'s dictionary."""
        return cls(**config)


def _checked_batch_size(batch_size: Any) -> int | None:
    if batch_size is None:
        return None
    check_integer("batch_size", batch_size, 1)
    return int(batch_size)


@contextmanager
def _policy(policy: Any) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
