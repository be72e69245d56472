"""JAX: steps in one compiled call; convolutions and pools that XLA compiles well."""

import functools
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
from keras import layers, ops, tree
from keras.src.backend.jax import trainer

from fmae_zoo.accelerate.calls import is_on_cpu, is_resident, kept_steps
from fmae_zoo.accelerate.plain import is_plain

STEPS_AT_ONCE = 8
"""Training steps in one call of a network without convolutions, which else waits for calls."""


class Steps:
    """Steps of a model; while they run, they hold its state, and its variables nothing."""

    def __init__(self, model: Any, arrays: tuple[Any, ...], training: bool) -> None:
        self.at_once = STEPS_AT_ONCE if not _is_convolutional(model) else 1
        self._model, self._training = model, training
        moved = not is_on_cpu() and is_resident(arrays)
        self._arrays = jax.device_put(arrays) if moved else arrays
        kept = kept_steps(model)
        if training not in kept:
            kept[training] = _function(model, training)
        self._function = kept[training]

    def start(self) -> None:
        """Nothing is to be done: the first call takes the model's state."""

    def __call__(self, batches: list[Any]) -> dict[str, Any]:
        """Take a step for each batch; return the last one's logs."""
        model = self._model
        if model._jax_state_synced:
            self._state = model._get_jax_state(
                trainable_variables=True,
                non_trainable_variables=True,
                optimizer_variables=self._training,
                metrics_variables=True,
                purge_model_variables=True,
            )
            model._jax_state_synced = False
            self._hand_over()
        cuts = map(operator.itemgetter, batches)
        data = [tree.map_structure(cut, self._arrays) for cut in cuts]
        logs, self._state = self._function(self._state, data)
        self._hand_over()
        return dict(logs)

    def finish(self) -> None:
        """Give the model its state."""
        self._model.jax_state_sync()
        self._model._jax_state = None

    def _hand_over(self) -> None:
        """Let Keras give the model this state when a callback asks for the model."""
        names = ("trainable", "non_trainable", "optimizer", "metrics")
        held = zip(names if self._training else names[:2] + names[3:], self._state)
        self._model._jax_state = {f"{name}_variables": values for name, values in held}


def _function(model: Any, training: bool) -> Any:
    step = model.train_step if training else model.test_step

    def steps(state: Any, data: list[Any]) -> Any:
        logs = {}
        with fast_calls(model):
            for batch in data:
                logs, state = step(state, batch)
        return logs, state

    return jax.jit(steps, donate_argnums=0, compiler_options=compiler_options())


def _is_convolutional(model: Any) -> bool:
    return any(isinstance(layer, layers.Conv2D) for layer in model._flatten_layers())


@contextmanager
def fast_calls(model: Any) -> Iterator[None]:
    """Trace the block with means over an axis for average pools: XLA's windows are slower."""
    changed = []
    for layer in model._flatten_layers():
        whole = type(layer) is layers.AveragePooling2D and layer.padding == "valid"
        plain = whole and layer.strides == layer.pool_size
        if plain and layer.data_format == "channels_last" and "call" not in layer.__dict__:
            layer.__dict__["call"] = functools.partial(_average_pool, layer.pool_size)
            changed.append(layer)
    try:
        yield
    finally:
        for layer in changed:
            layer.__dict__.pop("call", None)


def _average_pool(size: tuple[int, int], inputs: Any) -> Any:
    count, *extents, channels = inputs.shape
    (high, rows), (wide, columns) = ((step, extent // step) for step, extent in zip(size, extents))
    whole = inputs[:, : rows * high, : columns * wide]
    return whole.reshape(count, rows, high, columns, wide, channels).mean((2, 4))


@functools.cache
def compiler_options() -> dict[str, Any]:
    """Return the options by which JAX compiles for this device, empty where it knows none."""
    if not is_on_cpu():
        return {}
    # Of XLA's YNN library the matrix products, without its slower convolutions.
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT"}
    try:
        jax.jit(lambda value: value, compiler_options=options)(0.0)
    except Exception:  # An XLA without the option; its class differs between versions.
        return {}
    return options


@contextmanager
def compiled_well() -> Iterator[None]:
    """Compile with `compiler_options` the functions that Keras makes inside the block."""
    if is_plain() or getattr(trainer, "jit", None) is not jax.jit:
        yield
        return
    jit: Any = jax.jit
    trainer.jit = functools.partial(jit, compiler_options=compiler_options())
    try:
        yield
    finally:
        trainer.jit = jit


@contextmanager
def restored(model: Any) -> Iterator[None]:
    """Give variables that an error left without a value the one that they came with.

    Those of the model, of its metrics and of its optimizer.
    """
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *model.metrics_variables]
    variables += optimizer.variables if optimizer is not None else []
    before = [(variable, ops.copy(variable.value)) for variable in variables]
    try:
        yield
    except BaseException:
        model.jax_state_sync()
        for variable, value in before:
            held = variable._value
            if held is None or held.is_deleted():
                variable.assign(value)
        model._jax_state_synced, model._jax_state = True, None
        raise
