"""JAX: steps in one compiled call; convolutions and pools that XLA compiles well."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from keras import layers, ops
from keras.src.backend.jax import trainer

from fmae_zoo.accelerate.calls import (
    STEPS_AT_ONCE,
    batch_of,
    is_convolutional,
    is_on_cpu,
    is_resident,
    kept_steps,
    replaced,
    stacked,
)
from fmae_zoo.accelerate.memory import give_freed_memory_back
from fmae_zoo.accelerate.plain import is_plain


class Steps:
    """Steps of a model; while they run, they hold its state, and its variables nothing."""

    def __init__(self, model: Any, arrays: tuple[Any, ...], training: bool) -> None:
        self.at_once = 1 if is_convolutional(model) else STEPS_AT_ONCE
        self._model, self._training = model, training
        moved = not is_on_cpu() and is_resident(arrays)
        self._arrays = jax.device_put(arrays) if moved else arrays
        kept = kept_steps(model)
        if training not in kept:
            kept[training] = _functions(model, training)
        self._one, self._several = kept[training]

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
        if len(batches) == 1:
            logs, self._state = self._one(self._state, batch_of(self._arrays, batches[0]))
        else:
            data = stacked(self._arrays, batches)
            logs, self._state = self._several(self._state, data, len(batches))
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


def _functions(model: Any, training: bool) -> tuple[Any, Any]:
    """Return the compiled functions of one step, and of several in a loop."""
    plain_step = model.train_step if training else model.test_step

    def step(state: Any, batch: Any) -> Any:
        with fast_calls(model):
            return plain_step(state, batch)

    def steps(state: Any, data: Any, count: Any) -> Any:
        def take(number: Any, carried: Any) -> Any:
            return step(carried[1], batch_of(data, number))

        shapes, _ = jax.eval_shape(step, state, batch_of(data, 0))
        nothing = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
        return jax.lax.fori_loop(0, count, take, (nothing, state))

    return Compiled(step), Compiled(steps)


class Compiled:
    """A function of a state and of data, compiled for each kind of them.

    `jax.jit` takes the first step while the memory that the compiler worked with is still held:
    here that is given back between the two.
    """

    def __init__(self, function: Any) -> None:
        options = compiler_options()
        self._function = jax.jit(function, donate_argnums=0, compiler_options=options)
        self._kinds: dict[Any, Any] = {}

    def __call__(self, state: Any, data: Any, *rest: Any) -> Any:
        """Return what the function does; the state is used up."""
        leaves, structure = jax.tree.flatten((state, data))
        settings = (jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision)
        kind = (structure, *settings, *((leaf.shape, leaf.dtype) for leaf in leaves))
        if kind not in self._kinds:
            self._kinds[kind] = self._function.lower(state, data, *rest).compile()
            give_freed_memory_back()
        return self._kinds[kind](state, data, *rest)


@contextmanager
def fast_calls(model: Any) -> Iterator[None]:
    """Trace the block with means over an axis for average pools: XLA's windows are slower."""
    changes = []
    for layer in model._flatten_layers():
        whole = type(layer) is layers.AveragePooling2D and layer.padding == "valid"
        plain = whole and layer.strides == layer.pool_size
        if plain and layer.data_format == "channels_last" and "call" not in layer.__dict__:
            call = functools.partial(_average_pool, layer.pool_size)
            changes.append((layer, "call", call))
    with replaced(changes):
        yield


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
