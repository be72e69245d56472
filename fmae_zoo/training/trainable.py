"""Methods that every trainable model of the zoo adds to `keras.Model`."""

from typing import Any

import keras

from fmae_zoo.component import Shape
from fmae_zoo.internals import xla_options
from fmae_zoo.layers.plain import is_plain
from fmae_zoo.memory import keep_freed_memory
from fmae_zoo.training.epochs import Epochs, for_keras, readable
from fmae_zoo.training.inputs import checked
from fmae_zoo.training.state import drop_denormals, restored
from fmae_zoo.types import Batches, History, Logs

_Mixin: Any = object
"""Base of the mixin. It is not `keras.Model`, because Keras rewrites the bases of its models."""


class Trainable(_Mixin):
    """Mixin for a `keras.Model` that sets up Keras' own training loop for the backend."""

    train_function: Any
    test_function: Any
    jit_compile: Any

    @property
    def image_shape(self) -> Shape:
        """Height, width and channels of an image."""
        raise NotImplementedError

    def compile(self, *args: Any, **options: Any) -> None:
        """Configure the training as `keras.Model.compile` does."""
        super().compile(*args, **options)
        self.jit_compile_asked = options.get("jit_compile", "auto")

    def get_compile_config(self) -> dict[str, Any]:
        """Return the compile arguments, for saving.

        `jit_compile` is saved as the user gave it, so "auto" lets another backend choose for
        itself. A Keras optimizer is saved under the name that is valid on every backend.
        """
        config = dict(super().get_compile_config() or {})
        optimizer = config.get("optimizer")
        if isinstance(optimizer, dict):
            kind = getattr(keras.optimizers, optimizer["class_name"], None)
            if kind is not None and isinstance(self.optimizer, kind):
                config["optimizer"] = {**optimizer, "module": "keras.optimizers"}
        return config and config | {"jit_compile": self.jit_compile_asked}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile the model from the dictionary of `get_compile_config`."""
        if config:
            self.compile(**keras.saving.deserialize_keras_object(config))
            if self.optimizer is not None:
                self.optimizer.build(self.trainable_variables)

    def make_train_function(self, force: bool = False) -> None:
        """Build Keras' training step; on JAX with the compiler options for the device."""
        made = self.train_function
        super().make_train_function(force)
        if made is not self.train_function:
            self.train_function = self._by_options(self.train_function, self.train_step)

    def make_test_function(self, force: bool = False) -> None:
        """Build Keras' test step; on JAX with the compiler options for the device."""
        made = self.test_function
        super().make_test_function(force)
        if made is not self.test_function:
            self.test_function = self._by_options(self.test_function, self.test_step)

    def _by_options(self, function: Any, step: Any) -> Any:
        """Return the step compiled with the zoo's XLA options, or `function` if none apply.

        Keras' JAX trainer calls the result with the state and an iterator of batches.
        """
        if keras.backend.backend() != "jax" or not self.jit_compile or self.run_eagerly:
            return function
        alone = self.steps_per_execution == 1 and keras.distribution.distribution() is None
        if not (alone and xla_options()):
            return function
        import jax

        compiled = jax.jit(step, donate_argnums=0, compiler_options=xla_options())
        return lambda state, iterator: compiled(state, next(iterator))

    def export(self, filepath: Any, *args: Any, input_signature: Any = None, **options: Any) -> Any:
        """Export the model for inference elsewhere, as `keras.Model.export` does.

        By default its input is float images `(n, height, width, channels)` in [0, 1].
        """
        signature = self.input_signature() if input_signature is None else input_signature
        return super().export(filepath, *args, input_signature=signature, **options)

    def input_signature(self) -> list[Any]:
        """Return the default input signature of an exported model."""
        return [keras.InputSpec(shape=(None, *self.image_shape), dtype="float32")]

    def fit(self, x: Batches = None, y: Any = None, **options: Any) -> History:
        """Train as `keras.Model.fit` does."""
        source, y = readable(self, x, y, options, shuffle=options.get("shuffle", True))
        if isinstance(source, Epochs):
            options["shuffle"] = False  # Epochs shuffles by itself.
        if keras.backend.backend() == "torch" and not is_plain():
            keep_freed_memory()
            drop_denormals(getattr(self, "optimizer", None))
        with restored(self):
            return super().fit(for_keras(self, source), y, **options)

    def evaluate(self, x: Batches = None, y: Any = None, **options: Any) -> Logs:
        """Return the loss and the metrics as `keras.Model.evaluate` does."""
        source, y = readable(self, x, y, options, shuffle=False)
        with restored(self):
            return super().evaluate(for_keras(self, source), y, **options)

    def train_on_batch(self, x: Batches, y: Any = None, *args: Any, **options: Any) -> Logs:
        """Train on one batch as `keras.Model.train_on_batch` does.

        Raises:
            ImagesError, ArgumentError: The same errors as in `fit`.
        """
        with checked(self.check_data, x, y):
            return super().train_on_batch(x, y, *args, **options)

    def test_on_batch(self, x: Batches, y: Any = None, *args: Any, **options: Any) -> Logs:
        """Evaluate one batch as `keras.Model.test_on_batch` does.

        Raises:
            ImagesError, ArgumentError: The same errors as in `fit`.
        """
        with checked(self.check_data, x, y):
            return super().test_on_batch(x, y, *args, **options)

    def check_data(self, x: Any, y: Any) -> None:
        """Check NumPy inputs and targets; by default nothing, subclasses override it."""
