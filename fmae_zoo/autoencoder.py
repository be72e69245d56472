"""Autoencoder: encoder, latent and decoder of a spec as one Keras model."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from fmae_zoo.accelerate import evaluate, fit
from fmae_zoo.arguments import check_integer
from fmae_zoo.component import IMAGE_SHAPE
from fmae_zoo.errors import ArgumentError, FmaeError
from fmae_zoo.images import as_images, check_training_images, in_unit_range, to_numpy
from fmae_zoo.inference import predicted
from fmae_zoo.spec import ModelSpec

PREDICT_BATCH = 500
_one_at_a_time = threading.RLock()
"""Held while a model is built: the policy and the generator it sets are the process's."""


@keras.saving.register_keras_serializable(package="fmae_zoo")
class Autoencoder(keras.Model):
    """The model that a spec describes.

    Calling it on images `(n, 28, 28, 1)`, floats in [0, 1] or uint8 in 0..255, returns a
    dictionary of all that the loss needs: the latent's parameters (`mean`, and `log_variance`
    where there is a posterior), the `code` and the decoder's `logits`. The sigmoid of the
    logits is the image.

    Attributes:
        spec: the spec it was built from.
        encoder: plain Functional model, images to latent means `(n, latent size)`. Its
            layer `features` is what the latent reads.
        posterior: images to all parameters of the latent; shares the encoder's layers.
        decoder: plain Functional model, codes `(n, latent size)` to logits.

    Args:
        spec: a `ModelSpec`, or the dictionary of one.
        seed: of the weights and of the sampling noise.
    """

    is_steady = True
    """Whether a training step is its tensors' operations, and no more; each subclass says so."""

    def __init__(self, spec: ModelSpec | dict[str, Any], seed: int = 0, **kwargs: Any) -> None:
        if not isinstance(spec, ModelSpec):
            spec = ModelSpec.from_dict(spec)
        kwargs.setdefault("name", spec.name.replace("-", "_"))
        super().__init__(**kwargs)
        self.spec = spec
        self.seed = seed
        with _one_at_a_time, _policy(self.dtype_policy), _seeded(seed):
            image = keras.Input(IMAGE_SHAPE, name="image")
            parameters = spec.latent.parameters(spec.network.encode(image))
            code = keras.Input((spec.latent.size,), name="code")
            logits = spec.network.decode(code)
            self.encoder = keras.Model(image, parameters["mean"], name="encoder")
            self.posterior = keras.Model(image, parameters, name="posterior")
            self.decoder = keras.Model(code, logits, name="decoder")
            self.sampling = spec.latent.sampler(seed)
        self.term_trackers = [keras.metrics.Mean(name) for name in spec.objective.term_names]
        self.steps = self._counter("steps", 0)
        self.first_bad_step = self._counter("first_bad_step", -1)
        self.built = True

    def _counter(self, name: str, start: int) -> Any:
        return keras.Variable(start, dtype="int32", trainable=False, name=name)

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        """Return the latent's parameters, the code and the logits."""
        parameters = self.posterior(in_unit_range(images), training=training)
        code = parameters["mean"]
        if self.sampling is not None:
            code = self.sampling(parameters, training=training)
        return {**parameters, "code": code, "logits": self.decoder(code, training=training)}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the weighted sum of the objective's terms, and track each of them.

        The target is `y` where one is given (the whole image of a masked one), else `x`. A
        dictionary as `y` holds it as `image`, and beside it what the objective asked for.
        """
        target = x if y is None else y
        annotations = dict(target) if isinstance(target, dict) else {"image": target}
        if "image" not in annotations:
            raise ArgumentError(
                f"Expected a target with an 'image'; received {sorted(annotations)}"
            )
        target = ops.cast(in_unit_range(annotations.pop("image")), "float32")
        outputs = {name: ops.cast(value, "float32") for name, value in y_pred.items()}
        outputs = annotations | outputs
        terms = self.spec.objective.terms(target, outputs)
        step = ops.cast(self.steps, "float32") if training else None
        weights = self.spec.objective.weights(step)
        count = ops.cast(ops.shape(target)[0], "float32")
        for tracker in self.term_trackers:
            tracker.update_state(terms[tracker.name], sample_weight=count)
        loss = sum(weights[name] * term for name, term in terms.items())
        if training:
            self._count_step(loss)
        return loss

    def _count_step(self, loss: Any) -> None:
        step, first = ops.convert_to_tensor(self.steps), ops.convert_to_tensor(self.first_bad_step)
        bad = ops.logical_and(ops.logical_not(ops.isfinite(loss)), first < 0)
        self.first_bad_step.assign(ops.where(bad, step, first))
        self.steps.assign_add(1)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        **options: Any,
    ) -> Any:
        """Train as `keras.Model.fit` does, by the calls that suit the backend.

        Args:
            x: images, uint8 in 0..255 or floats in [0, 1], `(n, 28, 28, 1)`; or what else Keras
                takes.
            y: the images to reconstruct, where they are not `x`, which then may be noisy.
            batch_size: images in a step; 32 by default.
            epochs: over the images.
            verbose: as Keras has it.
            callbacks: Keras callbacks.
            **options: what else `keras.Model.fit` takes.

        Raises:
            ImagesError: an array has a shape, dtype or range that images do not have, or is empty.
            ArgumentError: the batch size is no integer of 1 or more.
        """
        self.check_data(x, y)
        check = options.get("validation_data")
        if isinstance(check, tuple | list) and len(check) >= 2:
            self.check_data(*check[:2])
        if "validation_batch_size" in options:
            size = _checked_batch_size(options["validation_batch_size"])
            options["validation_batch_size"] = size
        return fit(
            self,
            x,
            y,
            batch_size=_checked_batch_size(batch_size),
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            **options,
        )

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        **options: Any,
    ) -> Any:
        """Return what `keras.Model.evaluate` does, by the calls that suit the backend.

        Raises:
            ImagesError, ArgumentError: as `fit`.
        """
        self.check_data(x, y)
        size = _checked_batch_size(batch_size)
        return evaluate(self, x, y, batch_size=size, verbose=verbose, **options)

    def check_data(self, x: Any, y: Any) -> None:
        """Refuse arrays that `fit` and `evaluate` cannot take for images.

        For a subclass to override whose inputs or targets are others.

        Raises:
            ImagesError: as `fit`.
        """
        check_training_images(x, y)

    def encode(self, images: Any, batch_size: int = PREDICT_BATCH) -> np.ndarray:
        """Return latent means: float32 `(n, latent size)`. Deterministic.

        Args:
            images: uint8 in 0..255 or floats in [0, 1], `(n, 28, 28, 1)` or `(n, 28, 28)`.
            batch_size: images in one call of the network.

        Raises:
            ImagesError: anything else.
        """
        return predicted(self.encoder, as_images(images), batch_size)

    def decode(self, codes: Any, batch_size: int = PREDICT_BATCH) -> np.ndarray:
        """Return the images of codes `(n, latent size)`: float32 `(n, 28, 28, 1)` in [0, 1].

        Raises:
            ArgumentError: the codes have another shape, or are no finite numbers.
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
        return predicted(self.decoder, codes, batch_size, activation="sigmoid")

    def reconstruct(self, images: Any, batch_size: int = PREDICT_BATCH) -> np.ndarray:
        """Return reconstructions of images as `encode` takes them: `(n, 28, 28, 1)` in [0, 1].

        Raises:
            ImagesError: as `encode`.
        """
        return self.decode(self.encode(images, batch_size), batch_size)

    def generate(self, count: int, seed: int = 0, batch_size: int = PREDICT_BATCH) -> np.ndarray:
        """Return images decoded from draws of the prior: float32 `(count, 28, 28, 1)` in [0, 1].

        The draws are numpy's, so the same seed gives the same codes on every backend.

        Raises:
            FmaeError: the latent has no prior.
            ArgumentError: count or seed is no integer of 0 or more.
        """
        check_integer("count", count, 0)
        check_integer("seed", seed, 0)
        if not self.spec.latent.has_prior:
            raise FmaeError(
                f"{self.spec.name} has a {self.spec.latent.type} latent, which has no prior to "
                "draw from. Fit a CodeMixture, or take a variational entry: fmae list '*vae*'"
            )
        codes = np.random.default_rng(seed).standard_normal((count, self.spec.latent.size))
        return self.decode(codes.astype(np.float32), batch_size)

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


@contextmanager
def without_random_weights() -> Iterator[None]:
    """Give this thread's models zeros for random weights: for those that are read from a file."""
    kind, thread = keras.initializers.VarianceScaling, threading.get_ident()
    with _one_at_a_time:
        drawn = kind.__call__

        def draw(self: Any, shape: Any, dtype: Any = None, **options: Any) -> Any:
            if threading.get_ident() == thread:
                return np.zeros(shape, keras.backend.standardize_dtype(dtype))
            return drawn(self, shape, dtype, **options)

        kind.__call__ = draw
        try:
            yield
        finally:
            kind.__call__ = drawn


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Make the initial weights depend on the seed alone.

    Keras' initializers draw their own seeds from Python's generator, so only that one is
    seeded, and put back afterwards.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
