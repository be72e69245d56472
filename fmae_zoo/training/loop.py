"""`fit` and `evaluate` on arrays: Keras' own, without its input pipelines.

Keras' pipelines cost a dense network as much as its training step, and on TensorFlow run in
threads that the step then lacks. The loop takes the batches from arrays itself, and calls what
Keras made of the model's `train_step`, and Keras' callbacks, as Keras calls them. What it does
not know, it leaves to Keras' own `fit`: the results are the same.
"""

import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from fmae_zoo.layers.plain import is_plain
from fmae_zoo.memory import keep_freed_memory
from fmae_zoo.training.inputs import Epochs

EVALUATE_OPTIONS = {"batch_size", "callbacks", "return_dict", "sample_weight", "verbose"}
FIT_OPTIONS = EVALUATE_OPTIONS - {"return_dict"} | {
    "epochs",
    "initial_epoch",
    "shuffle",
    "validation_batch_size",
    "validation_data",
    "validation_split",
}
BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


def fit(model: Any, x: Any = None, y: Any = None, **options: Any) -> Any:
    """Return what `keras.Model.fit` does, and do the same to the model.

    Instead of arrays, x may be `Epochs`.
    """
    asked = {name: value for name, value in options.items() if value is not None}
    data, size = (x, y, asked.get("sample_weight")), asked.get("batch_size", 32)
    ours = asked.keys() <= FIT_OPTIONS and isinstance(asked.get("shuffle", True), bool)
    # This callback tells Keras' own loop, by a private name, where to go on.
    ours = ours and not _has(asked.get("callbacks"), keras.callbacks.BackupAndRestore)
    if not (ours and _is_known(model) and (isinstance(x, Epochs) or _are_arrays(data, size))):
        with restored(model):
            return keras.Model.fit(model, x, y, **options)
    asked.pop("sample_weight", None)
    if isinstance(x, Epochs):
        return _fit(model, x, shuffle=False, **asked)
    share = asked.pop("validation_split", 0.0)
    if share and "validation_data" not in asked:
        kept = math.floor(len(x) * (1.0 - share))
        if not 0 < kept < len(x):
            return keras.Model.fit(model, x, y, **options)  # Which says what is wrong.
        asked["validation_data"] = _rows(data, slice(kept, None))
        data = _rows(data, slice(kept))
    asked.pop("batch_size", None)
    arrays = _trimmed(data)
    return _fit(model, Epochs(lambda epoch: arrays, size), **{"shuffle": True, **asked})


def evaluate(model: Any, x: Any = None, y: Any = None, **options: Any) -> Any:
    """Return what `keras.Model.evaluate` does."""
    asked = {name: value for name, value in options.items() if value is not None}
    data, size = (x, y, asked.get("sample_weight")), asked.get("batch_size", 32)
    ours = asked.keys() <= EVALUATE_OPTIONS and _is_known(model)
    if not (ours and _are_arrays(data, size)):
        with restored(model):
            return keras.Model.evaluate(model, x, y, **options)
    arrays = _trimmed(data)
    _create_state(model, arrays)
    callbacks = _callback_list(model, asked, len(x), size, epochs=1)
    model.stop_evaluating = False
    callbacks.on_test_begin()
    model.reset_metrics()
    logs = _take(model, arrays, _batches(len(x), size, None), callbacks, "test")
    callbacks.on_test_end(logs)
    return logs if asked.get("return_dict") else _in_order(model, logs)


def _is_known(model: Any) -> bool:
    """Whether a model is compiled, and is not run eagerly, in parts or on several devices."""
    if is_plain() or not model.compiled or model.run_eagerly or model.steps_per_execution != 1:
        return False
    limits = (keras.config.max_epochs(), keras.config.max_steps_per_epoch())
    if limits != (None, None) or keras.distribution.distribution() is not None:
        return False
    if keras.backend.backend() == "torch":
        # `torch.compile` fails where what it compiles creates state; Keras creates it before.
        return not model.jit_compile
    if keras.backend.backend() == "jax":
        return True
    import tensorflow as tf

    return not tf.distribute.has_strategy() and (
        model.distribute_strategy is tf.distribute.get_strategy()
    )


def _are_arrays(data: tuple[Any, Any, Any], batch_size: Any) -> bool:
    """Whether x, y and sample weights are arrays of numbers, of one length that is not 0."""
    if data[1] is None and data[2] is not None:
        return False
    arrays = tree.flatten([each for each in data if each is not None])
    whole = isinstance(batch_size, int | np.integer) and batch_size > 0
    plain = isinstance(data[0], np.ndarray) and all(
        isinstance(array, np.ndarray) and array.ndim and array.dtype.kind in "biuf"
        for array in arrays
    )
    return bool(whole and plain) and {len(array) for array in arrays} == {len(data[0])} != {0}


def _rows(parts: Any, rows: Any) -> Any:
    """Return the rows of each array; None stays."""
    take = operator.itemgetter(rows)
    return tuple(None if part is None else tree.map_structure(take, part) for part in parts)


def _trimmed(data: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    """Return the parts that there are, their floats in Keras' float type."""

    def with_floats(array: np.ndarray) -> np.ndarray:
        floats = np.issubdtype(array.dtype, np.floating)
        return array.astype(keras.config.floatx(), copy=False) if floats else array

    count = 3 if data[2] is not None else 2 if data[1] is not None else 1
    return tuple(
        None if part is None else tree.map_structure(with_floats, part) for part in data[:count]
    )


def _fit(
    model: Any,
    data: Epochs,
    shuffle: bool,
    epochs: int = 1,
    initial_epoch: int = 0,
    validation_data: Any = None,
    validation_batch_size: int | None = None,
    **asked: Any,
) -> Any:
    arrays = data.arrays(initial_epoch)
    count, size = len(arrays[0]), data.batch_size
    _create_state(model, arrays)
    callbacks = _callback_list(model, asked, count, size, epochs, add_history=True)
    model.stop_training = False
    callbacks.on_train_begin()
    logs: dict[str, Any] = {}
    for epoch in range(initial_epoch, epochs):
        model.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        order = np.random.permutation(count) if shuffle else None
        batches = _batches(count, size, order)
        logs = _take(model, data.arrays(epoch), batches, callbacks, "train")
        if validation_data is not None:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(validation_data)
            found = model.evaluate(
                x,
                y,
                sample_weight=sample_weight,
                batch_size=validation_batch_size or size,
                callbacks=callbacks,
                return_dict=True,
            )
            logs |= {f"val_{name}": value for name, value in found.items()}
        callbacks.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    if epochs > 0:
        model.optimizer.finalize_variable_values(model.trainable_weights)
    callbacks.on_train_end(logs)
    return model.history


def _batches(count: int, size: int, order: np.ndarray | None) -> Iterator[Any]:
    """Give which rows are each batch."""
    for start in range(0, count, size):
        rows = slice(start, min(start + size, count))
        yield rows if order is None else order[rows]


def _take(
    model: Any, arrays: Any, batches: Iterator[Any], callbacks: Any, kind: str
) -> dict[str, Any]:
    """Take the steps of an epoch; return its logs as Python's numbers."""
    getattr(model, f"make_{kind}_function")()
    begin = getattr(callbacks, f"on_{kind}_batch_begin")
    end = getattr(callbacks, f"on_{kind}_batch_end")
    stop = {"train": "stop_training", "test": "stop_evaluating"}[kind]
    take = {"jax": _jax_steps, "torch": _torch_steps, "tensorflow": _tensorflow_steps}
    with take[keras.backend.backend()](model, kind, _are_watched(callbacks, kind)) as step:
        for number, rows in enumerate(batches):
            begin(number)
            logs = step(_rows(arrays, rows))
            end(number, logs)
            if getattr(model, stop):
                break
    return {name: _number(value) for name, value in logs.items()}


@contextmanager
def _tensorflow_steps(model: Any, kind: str, watched: bool) -> Iterator[Any]:
    function = getattr(model, f"{kind}_function")
    yield lambda batch: function([batch])


@contextmanager
def _torch_steps(model: Any, kind: str, watched: bool) -> Iterator[Any]:
    function = getattr(model, f"{kind}_function")
    keep_freed_memory()
    model.train(kind == "train")
    if kind == "train":
        _drop_denormals(model.optimizer)

    def own(array: np.ndarray) -> Any:
        # A layer may write to a tensor, and what is a part of the user's array is copied.
        return ops.convert_to_tensor(array if array.flags.owndata else array.copy())

    yield lambda batch: function([tree.map_structure(own, batch)])
    model.eval()


@contextmanager
def _jax_steps(model: Any, kind: str, watched: bool) -> Iterator[Any]:
    """Carry the state from step to step, and give it to the model at the end of the epoch.

    Until then the model's variables keep the values that they had, so that a model in training
    can be used and an error costs it nothing. Where callbacks may look at the model, its
    variables are set after each step.
    """
    function = getattr(model, f"{kind}_function")
    groups = [model.trainable_variables, model.non_trainable_variables, model.metrics_variables]
    if kind == "train":
        groups.insert(2, model.optimizer.variables)
    state: Any = None

    def keep() -> None:
        for variables, values in zip(groups, state or ()):
            for variable, value in zip(variables, values):
                variable.assign(value)

    def step(batch: Any) -> Any:
        nonlocal state
        if watched or state is None:
            # Copies: a step uses its state up.
            state = tuple([ops.copy(each.value) for each in variables] for variables in groups)
        logs, state = function(state, iter([batch]))
        if watched:
            keep()
        return logs

    try:
        yield step
    finally:
        keep()


def _drop_denormals(optimizer: Any) -> None:
    """Make zeros of numbers that are too small for float32's full precision.

    The moments of weights that get no gradient any more decay to such numbers, and stay so; CPUs
    take up to a hundred times as long for each. TensorFlow and JAX make them zeros in every step.
    """
    import torch

    with torch.no_grad():
        for variable in optimizer.variables:
            value = variable.value
            if value.is_floating_point():
                value.masked_fill_(value.abs() < torch.finfo(torch.float32).tiny, 0.0)


def _create_state(model: Any, arrays: tuple[Any, ...]) -> None:
    """Create the state that Keras creates late: of the optimizer, the metrics, several losses."""
    new = model.optimizer is not None and not model.optimizer.built
    several = new and len(getattr(model, "outputs", None) or []) > 1
    if new:
        model.optimizer.build(model.trainable_variables)
    built = all(getattr(metric, "built", True) for metric in model.metrics)
    if built and not several:
        return
    image = tree.map_structure(ops.convert_to_tensor, _rows(arrays, slice(1)))
    x, y, weight = keras.utils.unpack_x_y_sample_weight(image)
    shaped = model.compute_output_spec(keras.KerasTensor(x.shape, arrays[0].dtype.name))
    outputs = tree.map_structure(lambda spec: ops.zeros(spec.shape, spec.dtype), shaped)
    if several:
        model.compute_loss(x, y, outputs, weight, training=False)
    if not built:
        model.compute_metrics(x, y, outputs, weight)
    model.reset_metrics()


def _callback_list(
    model: Any,
    asked: dict[str, Any],
    count: int,
    size: int,
    epochs: int,
    add_history: bool = False,
) -> Any:
    callbacks, verbose = asked.get("callbacks"), asked.get("verbose", "auto")
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return keras.callbacks.CallbackList(
        callbacks,
        add_history=add_history,
        add_progbar=verbose != 0,
        verbose=verbose,
        epochs=epochs,
        steps=-(-count // size),
        model=model,
    )


def _are_watched(callbacks: Any, kind: str) -> bool:
    """Whether a callback may look at the model after a step: one that has hooks of its own."""
    hooks = BATCH_HOOKS if kind == "train" else ("on_test_batch_begin", "on_test_batch_end")
    own = keras.callbacks.Callback
    return any(
        getattr(getattr(callback, hook), "__func__", None) is not getattr(own, hook)
        for callback in callbacks.callbacks
        # These two look at the logs alone.
        if type(callback) is not keras.callbacks.ProgbarLogger
        and not getattr(callback, "reads_logs_alone", False)
        for hook in hooks
    )


def _has(callbacks: Any, kind: type) -> bool:
    held = getattr(callbacks, "callbacks", callbacks) or []
    held = held if isinstance(held, list | tuple) else [held]
    return any(isinstance(callback, kind) for callback in held)


def _number(value: Any) -> Any:
    """Return a scalar tensor as a float, and any other metric's result as an array."""
    array = ops.convert_to_numpy(value)
    return float(array) if array.ndim == 0 else array


def _in_order(model: Any, logs: dict[str, Any]) -> Any:
    """Return logs as a list in the order of the model's metrics; a single one by itself."""
    metrics = [part for metric in model.metrics for part in getattr(metric, "metrics", [metric])]
    known = [metric.name for metric in metrics if metric.name in logs]
    found = [logs[name] for name in [*known, *sorted(logs.keys() - set(known))]]
    return found[0] if len(found) == 1 else found


@contextmanager
def restored(model: Any) -> Iterator[None]:
    """On JAX, give a model back the values that an error in Keras' own loop took from it.

    While Keras runs a model on JAX, the model's variables hold nothing.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and model.built and not optimizer.built:
        optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.metrics_variables]
    variables += optimizer.variables if optimizer is not None else []
    before = [ops.copy(variable.value) for variable in variables]
    try:
        yield
    except BaseException:
        model.jax_state_sync()
        for variable, value in zip(variables, before):
            if not _is_held(variable):
                variable.assign(value)
        raise


def _is_held(variable: Any) -> bool:
    try:
        value = variable.value
    except TypeError:  # Keras, at a variable without a value, calls an initializer that is None.
        return False
    return value is not None and not value.is_deleted()
