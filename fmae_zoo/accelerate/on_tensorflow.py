"""TensorFlow: steps in a graph of its own operations, fused where there are fused ones."""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from fmae_zoo.accelerate.calls import has_plain_batch_norm, is_on_cpu, kept_steps


class Steps:
    """Steps of a model, traced once for batches of any size."""

    at_once = 1

    def __init__(self, model: Any, arrays: tuple[Any, ...], training: bool) -> None:
        self._arrays = arrays
        kept = kept_steps(model)
        signature = tree.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), arrays
        )
        key = (training, repr(signature))
        if key not in kept:
            kept[key] = _function(model, training, signature)
        self._function = kept[key]

    def start(self) -> None:
        """Nothing is to be done."""

    def __call__(self, batches: list[Any]) -> dict[str, Any]:
        """Take a step for each batch; return the last one's logs."""
        for rows in batches:
            logs = self._function(tree.map_structure(operator.itemgetter(rows), self._arrays))
        return dict(logs)

    def finish(self) -> None:
        """Nothing is held."""


def _function(model: Any, training: bool, signature: Any) -> Any:
    # XLA is the best of a GPU; of a CPU it makes a convolution slower than TensorFlow's own.
    on_gpu = not is_on_cpu() and model.jit_compile

    @tf.autograph.experimental.do_not_convert
    def step(data: Any) -> Any:
        with _fused_operations(model, jit=on_gpu):
            return model.train_step(data) if training else model.test_step(data)

    return tf.function(step, input_signature=[signature], jit_compile=on_gpu)


@contextmanager
def _fused_operations(model: Any, jit: bool) -> Iterator[None]:
    """Trace the block with fused operations; XLA fuses plain ones better."""
    if jit:
        yield
        return
    changed = []
    for layer in model._flatten_layers():
        if has_plain_batch_norm(layer) and "call" not in layer.__dict__:
            layer.__dict__["call"] = _batch_norm(layer)
            changed.append((layer, "call"))
    optimizer = model.optimizer
    if _has_fused_adam(optimizer) and "update_step" not in optimizer.__dict__:
        optimizer.__dict__["update_step"] = _adam(optimizer)
        changed.append((optimizer, "update_step"))
    try:
        yield
    finally:
        for owner, name in changed:
            owner.__dict__.pop(name, None)


def _batch_norm(layer: Any) -> Callable[..., Any]:
    """Return Keras' BatchNorm by TensorFlow's operation, which moves the variance unbiased."""

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if mask is not None:
            return type(layer).call(layer, inputs, training=training, mask=mask)
        training = bool(training) and layer.trainable
        image = inputs.shape.rank == 4
        maps = inputs if image else inputs[:, tf.newaxis, tf.newaxis, :]
        mean, variance = layer.moving_mean.value, layer.moving_variance.value
        none = tf.zeros((0,))
        outputs, new_mean, new_variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=maps,
            scale=layer.gamma.value,
            offset=layer.beta.value,
            mean=none if training else mean,
            variance=none if training else variance,
            epsilon=layer.epsilon,
            is_training=training,
        )
        if training:
            count = tf.cast(tf.size(maps) // tf.shape(maps)[-1], tf.float32)
            biased = new_variance * ((count - 1.0) / count)
            layer.moving_mean.assign(_moved(mean, new_mean, layer.momentum))
            layer.moving_variance.assign(_moved(variance, biased, layer.momentum))
        return outputs if image else outputs[:, 0, 0, :]

    return call


def _moved(value: Any, towards: Any, momentum: float) -> Any:
    return value * momentum + towards * (1.0 - momentum)


def _has_fused_adam(optimizer: Any) -> bool:
    own = keras.optimizers.Adam.update_step
    return (
        isinstance(optimizer, keras.optimizers.Adam)
        and type(optimizer).update_step is own
        and not optimizer.amsgrad
    )


def _adam(optimizer: Any) -> Callable[..., None]:
    """Return the update of one variable, by the formula of Keras, in one operation."""

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = optimizer._get_variable_index(variable)
        dtype = variable.dtype
        step = tf.cast(keras.ops.convert_to_tensor(optimizer.iterations) + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=optimizer._momentums[index].value.handle,
            v=optimizer._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(optimizer.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(optimizer.beta_2, dtype), step),
            lr=tf.cast(learning_rate, dtype),
            beta1=optimizer.beta_1,
            beta2=optimizer.beta_2,
            epsilon=optimizer.epsilon,
            grad=tf.cast(gradient, dtype),
        )

    return update_step
