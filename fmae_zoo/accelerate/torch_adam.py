"""PyTorch: Keras' Adam by torch's fused operation."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import torch


def has_fused_adam(optimizer: Any) -> bool:
    """Whether torch's fused operation is an optimizer's update of the variables."""
    return (
        isinstance(optimizer, keras.optimizers.Adam)
        and hasattr(torch, "_fused_adam_")
        and hasattr(optimizer, "_parallel_update_step")
        and not optimizer.amsgrad
    )


def is_plain_adam(optimizer: Any) -> bool:
    """Whether that update is all that an optimizer does with gradients."""
    if not _is_adam(optimizer) or not has_fused_adam(optimizer):
        return False
    clips = (optimizer.clipnorm, optimizer.clipvalue, optimizer.global_clipnorm)
    extras = (optimizer.weight_decay, optimizer.loss_scale_factor)
    steps = optimizer.gradient_accumulation_steps
    return not optimizer.use_ema and all(each is None for each in (*clips, *extras, steps))


def _is_adam(optimizer: Any) -> bool:
    """Whether an optimizer is of the class that Keras makes of its Adam on this backend."""
    return type(optimizer) is _adam()


@functools.cache
def _adam() -> type:
    return type(keras.optimizers.Adam())


def update_of(optimizer: Any) -> Callable[..., None]:
    """Return Keras' `_parallel_update_step` by the fused operation."""
    own = type(optimizer)._parallel_update_step

    def update(gradients: list[Any], variables: list[Any], learning_rate: Any) -> None:
        if not _are_fit(variables):
            own(optimizer, gradients, variables, learning_rate)
            return
        step = int(keras.ops.convert_to_numpy(optimizer.iterations)) + 1
        _update(optimizer, _tensors(optimizer, variables), gradients, step, float(learning_rate))

    return update


def adam_of(optimizer: Any, variables: Any) -> Callable[[Any], None]:
    """Return `optimizer.apply` for the gradients of these variables, always the same ones."""
    variables = list(variables)
    constrained = any(variable.constraint is not None for variable in variables)
    plain = is_plain_adam(optimizer) and _are_fit(variables) and not constrained
    if not plain or any(variable.overwrite_with_gradient for variable in variables):
        return lambda gradients: optimizer.apply(list(gradients), variables)
    tensors = _tensors(optimizer, variables)

    def update(gradients: Any) -> None:
        iterations = optimizer.iterations._value
        rate = float(optimizer._get_current_learning_rate())
        _update(optimizer, tensors, gradients, iterations.item() + 1, rate)
        iterations += 1

    return update


def _are_fit(variables: list[Any]) -> bool:
    values = [variable._value for variable in variables]
    return all(each.dtype == torch.float32 and each.device.type == "cpu" for each in values)


def _tensors(optimizer: Any, variables: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the values of variables, and their first and second moments."""
    indices = [optimizer._get_variable_index(variable) for variable in variables]
    return (
        [variable._value for variable in variables],
        [optimizer._momentums[index]._value for index in indices],
        [optimizer._velocities[index]._value for index in indices],
    )


def _update(optimizer: Any, tensors: Any, gradients: Any, step: int, rate: float) -> None:
    """Update values and moments.

    torch adds epsilon to the root of the corrected velocity, Keras to that of the plain one: the
    same, for an epsilon that is divided by the correction.
    """
    values, momentums, velocities = tensors
    torch._fused_adam_(
        values,
        gradients,
        momentums,
        velocities,
        [],
        [torch.tensor(float(step))] * len(values),
        lr=rate,
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        weight_decay=0.0,
        eps=optimizer.epsilon / (1.0 - optimizer.beta_2**step) ** 0.5,
        amsgrad=False,
        maximize=False,
    )
