"""What every trainable model of the zoo has beside `keras.Model`."""

import functools
from typing import Any

import keras

from fmae_zoo.component import IMAGE_SHAPE
from fmae_zoo.internals import xla_options
from fmae_zoo.training.inputs import checked
from fmae_zoo.training.loop import evaluate, fit

_Mixin: Any = object
"""No model itself: of a graph's class Keras changes the bases, and those of its bases."""


class Trainable(_Mixin):
    """Mixed into a `keras.Model` whose `fit` and `evaluate` go through the loop."""

    train_function: Any
    test_function: Any
    jit_compile: Any

    def compile(self, *args: Any, **options: Any) -> None:
        """Configure the training as `keras.Model.compile` does."""
        super().compile(*args, **options)
        self.jit_compile_asked = options.get("jit_compile", "auto")

    def get_compile_config(self) -> dict[str, Any]:
        """Return what the model was compiled with, for saving.

        Where the backend was left to choose whether to compile its steps, another one may too,
        and an optimizer of Keras is saved by the name that it has on every backend.
        """
        config = dict(super().get_compile_config() or {})
        optimizer = config.get("optimizer")
        if isinstance(optimizer, dict):
            kind = getattr(keras.optimizers, optimizer["class_name"], None)
            if kind is not None and isinstance(self.optimizer, kind):
                config["optimizer"] = {**optimizer, "module": "keras.optimizers"}
        return config and config | {"jit_compile": self.jit_compile_asked}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile the model as `get_compile_config` says."""
        if config:
            self.compile(**keras.saving.deserialize_keras_object(config))
            self.optimizer.build(self.trainable_variables)

    def make_train_function(self, force: bool = False) -> None:
        """Make Keras' function of a training step, by what suits the backend."""
        made = self.train_function
        super().make_train_function(force)
        if made is not self.train_function:
            self.train_function = self._compiled(self.train_function, self.train_step)

    def make_test_function(self, force: bool = False) -> None:
        """Make Keras' function of a test step, by what suits the backend."""
        made = self.test_function
        super().make_test_function(force)
        if made is not self.test_function:
            self.test_function = self._compiled(self.test_function, self.test_step)

    def _compiled(self, function: Any, step: Any) -> Any:
        backend = keras.backend.backend()
        if self.run_eagerly or self.steps_per_execution != 1 or backend == "torch":
            return function
        if backend == "tensorflow":
            return _for_arrays(function, step, self.jit_compile)
        usual = self.jit_compile and keras.distribution.distribution() is None
        return _by_options(step) if usual and xla_options() else function

    def export(self, filepath: Any, *args: Any, input_signature: Any = None, **options: Any) -> Any:
        """Write the model for inference elsewhere, as `keras.Model.export` does.

        Its input is float images in [0, 1], `(n, 28, 28, 1)`, if no other signature is given.
        """
        if input_signature is None:
            input_signature = [keras.InputSpec(shape=(None, *IMAGE_SHAPE), dtype="float32")]
        return super().export(filepath, *args, input_signature=input_signature, **options)

    def fit(self, x: Any = None, y: Any = None, **options: Any) -> Any:
        """Train as `keras.Model.fit` does."""
        return fit(self, x, y, **options)

    def evaluate(self, x: Any = None, y: Any = None, **options: Any) -> Any:
        """Return what `keras.Model.evaluate` does."""
        return evaluate(self, x, y, **options)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **options: Any) -> Any:
        """Train on one batch as `keras.Model.train_on_batch` does.

        Raises:
            ImagesError, ArgumentError: as `fit`.
        """
        with checked(self.check_data, x, y):
            return super().train_on_batch(x, y, *args, **options)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **options: Any) -> Any:
        """Evaluate one batch as `keras.Model.test_on_batch` does.

        Raises:
            ImagesError, ArgumentError: as `fit`.
        """
        with checked(self.check_data, x, y):
            return super().test_on_batch(x, y, *args, **options)

    def check_data(self, x: Any, y: Any) -> None:
        """Refuse NumPy's arrays that the model cannot be trained on: none, if not overridden."""


def _by_options(step: Any) -> Any:
    """Return what Keras' JAX trainer calls with the state and an iterator of batches."""
    import jax

    compiled = jax.jit(step, donate_argnums=0, compiler_options=xla_options())
    return lambda state, iterator: compiled(state, next(iterator))


def _for_arrays(function: Any, step: Any, jit_compile: bool) -> Any:
    """Return Keras' function of a TensorFlow step, and one for a list of a batch of arrays.

    That is traced once for batches of any size, as Keras' is for a `tf.data.Dataset`.
    """
    import tensorflow as tf

    kept: dict[str, Any] = {}

    def called(iterator: Any) -> Any:
        if not isinstance(iterator, list):
            return function(iterator)
        signature = keras.tree.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), iterator
        )
        if repr(signature) not in kept:
            # A partial has no code that models share: TensorFlow warns where one is traced often.
            kept[repr(signature)] = tf.function(
                functools.partial(step),
                input_signature=signature,
                jit_compile=jit_compile,
                autograph=False,
            )
        return kept[repr(signature)](*iterator)

    return called
