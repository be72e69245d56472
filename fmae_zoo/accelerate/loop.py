"""`fit` and `evaluate` on arrays, without Keras' input pipelines."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Protocol, TypeAlias

import keras
import numpy as np
from keras import tree
from keras.src.utils.python_utils import is_default, pythonify_logs

from fmae_zoo.accelerate.calls import accelerated
from fmae_zoo.accelerate.plain import is_plain

Rows: TypeAlias = slice | np.ndarray
"""Which of the images are a batch."""


_JIT_BY_DEFAULT = {"torch": False, "jax": True}
"""What Keras' "auto" is; on TensorFlow it is what suits the device, whatever was asked for."""


class Steps(Protocol):
    """Steps of a model on arrays: `fmae_zoo.accelerate.on_torch.Steps` and the others."""

    at_once: int
    """Steps that one call takes best."""

    def __init__(self, model: Any, arrays: tuple[Any, ...], training: bool) -> None: ...

    def start(self) -> None:
        """Begin an epoch."""
        ...

    def __call__(self, batches: list[Rows]) -> dict[str, Any]:
        """Take a step for each batch, all of one size; return the last one's logs."""
        ...

    def finish(self) -> None:
        """Give the model back what the steps hold of its state."""
        ...


def fit(model: Any, x: Any = None, y: Any = None, **options: Any) -> Any:
    """Return what `keras.Model.fit` does; anything but arrays and a compiled model is Keras' own.

    A call takes several steps of a dense network, unless a callback wants to see each.
    """
    known = {"batch_size", "epochs", "verbose", "callbacks", "validation_data", "shuffle"}
    known |= {"initial_epoch", "validation_batch_size", "validation_freq"}
    asked = {name: value for name, value in options.items() if value is not None}
    check = asked.get("validation_data")
    ours = asked.keys() <= known and _is_ours(model, x, y, asked.get("batch_size", 32))
    if check is not None:
        pair = isinstance(check, tuple | list) and len(check) == 2
        size = asked.get("validation_batch_size", 32)
        ours = ours and pair and _is_ours(model, check[0], check[1], size)
    ours = ours and isinstance(options.get("shuffle", True), bool)
    if not ours:
        with accelerated(model):
            return keras.Model.fit(model, x, y, **options)
    with accelerated(model):
        return _fit(model, _arrays(x, y), **asked)


def evaluate(model: Any, x: Any = None, y: Any = None, **options: Any) -> Any:
    """Return what `keras.Model.evaluate` does; anything but arrays is Keras' own."""
    asked = {name: value for name, value in options.items() if value is not None}
    known = {"batch_size", "verbose", "return_dict"}
    if not (asked.keys() <= known and _is_ours(model, x, y, asked.get("batch_size", 32))):
        with accelerated(model):
            return keras.Model.evaluate(model, x, y, **options)
    verbose = asked.pop("verbose", "auto")
    callbacks = keras.callbacks.CallbackList(
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=1,
        steps=_count_steps(x, asked.get("batch_size", 32)),
        model=model,
    )
    return_dict = asked.pop("return_dict", False)
    with accelerated(model):
        logs = _evaluate(model, _arrays(x, y), callbacks=callbacks, **asked)
    return logs if return_dict else model._flatten_metrics_in_order(logs)


def _is_ours(model: Any, x: Any, y: Any, batch_size: Any) -> bool:
    """Whether arrays and a compiled model are all that there is to take into account."""
    arrays = [x, *tree.flatten(y)] if y is not None else [x]
    return (
        not is_plain()
        and model.compiled
        and all(
            getattr(type(model), name) is getattr(keras.Model, name)
            for name in ("make_train_function", "make_test_function")
        )
        and not model.run_eagerly
        and model.steps_per_execution == 1
        and model.jit_compile == _JIT_BY_DEFAULT.get(keras.backend.backend(), model.jit_compile)
        and keras.distribution.distribution() is None
        and getattr(model, "_distribute_strategy", None) is None
        and keras.config.max_epochs() is None
        and keras.config.max_steps_per_epoch() is None
        and all(isinstance(array, np.ndarray) and array.ndim for array in arrays)
        and all(array.dtype.kind in "biuf" for array in arrays)
        and {len(array) for array in arrays} == {len(x)} != {0}
        and isinstance(batch_size, int | np.integer)
        and bool(batch_size > 0)
    )


def _arrays(x: Any, y: Any) -> tuple[Any, ...]:
    def with_floats(array: np.ndarray) -> np.ndarray:
        if np.issubdtype(array.dtype, np.floating):
            return array.astype(keras.config.floatx(), copy=False)
        return array

    return tree.map_structure(with_floats, (x,) if y is None else (x, y))


def _count_steps(x: Any, batch_size: int) -> int:
    return -(-len(x) // batch_size)


def _fit(
    model: Any,
    arrays: tuple[Any, ...],
    batch_size: int = 32,
    epochs: int = 1,
    verbose: Any = "auto",
    callbacks: Any = None,
    validation_data: Any = None,
    shuffle: bool = True,
    initial_epoch: int = 0,
    validation_batch_size: int | None = None,
    validation_freq: Any = 1,
) -> Any:
    count = len(arrays[0])
    steps = _steps(model, arrays, training=True)
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks = keras.callbacks.CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            verbose=verbose,
            epochs=epochs,
            steps=_count_steps(arrays[0], batch_size),
            model=model,
        )
    at_once = _at_once(steps, callbacks, "train")
    model.stop_training = False
    callbacks.on_train_begin()
    # A callback may have restored a run that was stopped.
    initial_epoch = model._initial_epoch or initial_epoch
    checks = None if validation_data is None else _arrays(*validation_data)
    logs: dict[str, Any] = {}
    for epoch in range(initial_epoch, epochs):
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        order = np.random.permutation(count) if shuffle else None
        steps.start()
        for first, batches in _grouped(count, batch_size, order, at_once):
            callbacks.on_train_batch_begin(first)
            step_logs = steps(batches)
            callbacks.on_train_batch_end(first + len(batches) - 1, step_logs)
            if model.stop_training:
                break
        steps.finish()
        logs = dict(model._get_metrics_result_or_logs(step_logs))
        if checks is not None and model._should_eval(epoch, validation_freq):
            found = _evaluate(model, checks, validation_batch_size or batch_size, callbacks)
            logs |= {f"val_{name}": value for name, value in found.items()}
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    if isinstance(model.optimizer, keras.optimizers.Optimizer) and epochs > 0:
        model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end(logs)
    return model.history


def _sees_batches(callback: Any, kind: str) -> bool:
    """Whether a callback is to be called after each batch of a kind, before the next."""
    hooks = [f"on_{kind}_batch_begin", f"on_{kind}_batch_end"]
    if kind == "train":
        hooks += ["on_batch_begin", "on_batch_end"]
    own = any(not is_default(getattr(callback, hook)) for hook in hooks)
    shows = isinstance(callback, keras.callbacks.ProgbarLogger)
    return own and not shows and not getattr(callback, "async_safe", False)


def _at_once(steps: Steps, callbacks: Any, kind: str) -> int:
    seen = any(_sees_batches(callback, kind) for callback in callbacks.callbacks)
    return 1 if seen else steps.at_once


def _evaluate(
    model: Any, arrays: tuple[Any, ...], batch_size: int = 32, callbacks: Any = None
) -> dict[str, Any]:
    steps = _steps(model, arrays, training=False)
    at_once = _at_once(steps, callbacks, "test")
    model.stop_evaluating = False
    callbacks.on_test_begin()
    model.reset_metrics()
    steps.start()
    for first, batches in _grouped(len(arrays[0]), batch_size, None, at_once):
        callbacks.on_test_batch_begin(first)
        step_logs = steps(batches)
        callbacks.on_test_batch_end(first + len(batches) - 1, step_logs)
        if model.stop_evaluating:
            break
    steps.finish()
    logs: dict[str, Any] = pythonify_logs(model._get_metrics_result_or_logs(step_logs))
    callbacks.on_test_end(logs)
    return logs


def _steps(model: Any, arrays: tuple[Any, ...], training: bool) -> Steps:
    model._symbolic_build(data_batch=tree.map_structure(lambda array: array[:1], arrays))
    module = import_module(f"fmae_zoo.accelerate.on_{keras.backend.backend()}")
    steps: Steps = module.Steps(model, arrays, training)
    return steps


def _grouped(
    count: int, batch_size: int, order: np.ndarray | None, at_once: int
) -> Iterator[tuple[int, list[Rows]]]:
    """Give the number of the first step of a group, and the batches of the group."""
    whole = count // batch_size

    def rows(step: int) -> Rows:
        part = slice(step * batch_size, min((step + 1) * batch_size, count))
        return part if order is None else order[part]

    for first in range(0, whole, at_once):
        yield first, [rows(step) for step in range(first, min(first + at_once, whole))]
    if count % batch_size:
        yield whole, [rows(whole)]
