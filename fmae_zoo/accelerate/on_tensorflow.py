"""TensorFlow: steps in a graph of its own operations, fused where there are fused ones.

Without convolutions XLA is faster than those: then it compiles a loop of several steps.
"""

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf
from keras import tree
from keras.src.trainers.trainer import model_supports_jit

from fmae_zoo.accelerate.calls import (
    STEPS_AT_ONCE,
    batch_of,
    has_plain_batch_norm,
    is_on_cpu,
    is_steady,
    kept_steps,
    replaced,
    stacked,
)
from fmae_zoo.latents.sampling import GaussianSampling


class Steps:
    """Steps of a model: one, traced once for batches of any size, or several in a loop."""

    def __init__(self, model: Any, arrays: tuple[Any, ...], training: bool) -> None:
        looped = training and is_steady(model) and model_supports_jit(model)
        self.at_once = STEPS_AT_ONCE if looped else 1
        self._arrays = arrays
        kept = kept_steps(model)
        signature = tree.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), arrays
        )
        key = (training, repr(signature))
        if key not in kept:
            kept[key] = _function(model, training, signature), looped and _loop(model)
        self._one, self._several = kept[key]

    def start(self) -> None:
        """Nothing is to be done."""

    def __call__(self, batches: list[Any]) -> dict[str, Any]:
        """Take a step for each batch; return the last one's logs."""
        if len(batches) == 1:
            return dict(self._one(batch_of(self._arrays, batches[0])))
        count = tf.constant(len(batches))
        return dict(self._several(stacked(self._arrays, batches), count))

    def finish(self) -> None:
        """Nothing is held."""


def _function(model: Any, training: bool, signature: Any) -> Any:
    # XLA is the best of a GPU; of a CPU it makes a convolution slower than TensorFlow's own.
    on_gpu = not is_on_cpu() and model.jit_compile

    @tf.autograph.experimental.do_not_convert
    def step(data: Any) -> Any:
        with _fused_operations(model, on_gpu):
            return model.train_step(data) if training else model.test_step(data)

    # A partial has no code that models share: TensorFlow warns where one is traced many times.
    return tf.function(functools.partial(step), input_signature=[signature], jit_compile=on_gpu)


def _loop(model: Any) -> Any:
    """Return the function of several training steps, compiled by XLA."""

    @tf.autograph.experimental.do_not_convert
    def steps(data: Any, count: Any) -> Any:
        def take(number: Any) -> Any:
            model.train_step(batch_of(data, number))
            return number + 1

        with _fused_operations(model, on_gpu=not is_on_cpu()):
            tf.while_loop(lambda number: number < count, take, [tf.constant(0)])
        return model.get_metrics_result()

    return tf.function(functools.partial(steps), jit_compile=True)


@contextmanager
def _fused_operations(model: Any, on_gpu: bool) -> Iterator[None]:
    """Trace the block with fused operations; of a GPU XLA fuses plain ones better."""
    if on_gpu:
        yield
        return
    changes: list[tuple[Any, str, Any]] = []
    for layer in model._flatten_layers():
        if has_plain_batch_norm(layer) and "call" not in layer.__dict__:
            changes.append((layer, "call", _batch_norm(layer)))
        if type(layer) is GaussianSampling and "noise" not in layer.__dict__:
            changes.append((layer, "noise", _noise(layer)))
    optimizer = model.optimizer
    if _has_fused_adam(optimizer) and "update_step" not in optimizer.__dict__:
        changes.append((optimizer, "update_step", _adam(optimizer)))
    with replaced(changes):
        yield


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


def _noise(layer: Any) -> Callable[[Any], Any]:
    """Return the noise that Keras has outside of XLA, which makes other numbers of the same bits.

    Source of numbers from bits: tensorflow/core/lib/random/random_distributions.h (Box and Muller
    1958).
    """

    def noise(shape: Any) -> Any:
        seed = layer.seed_generator.next()
        seed = tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)
        count = tf.reduce_prod(shape)
        # Left to choose an algorithm, XLA chooses this one, in a loop in more time than a step.
        bits = tf.random.stateless_uniform(
            (count // 2 + count % 2, 2), seed, None, None, tf.int32, alg="philox"
        )
        mantissa = tf.bitwise.bitwise_or(tf.bitwise.bitwise_and(bits, 0x7FFFFF), 0x3F800000)
        uniform, turn = tf.unstack(tf.bitcast(mantissa, tf.float32) - 1.0, axis=1)
        radius = tf.sqrt(-2.0 * tf.math.log(tf.maximum(uniform, 1e-7)))
        angle = 2.0 * math.pi * turn
        pairs = radius[:, tf.newaxis] * tf.stack([tf.sin(angle), tf.cos(angle)], axis=1)
        return tf.reshape(tf.reshape(pairs, (-1,))[:count], shape)

    return noise


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
