"""PyTorch: Keras' Adam by torch's fused operation."""

from collections.abc import Callable
from typing import Any

import keras
import torch
from keras.src.backend.torch.optimizers.torch_adam import Adam


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
    plain = type(optimizer) is Adam and "apply" not in vars(optimizer)
    if not plain or not has_fused_adam(optimizer):
        return False
    clips = (optimizer.clipnorm, optimizer.clipvalue, optimizer.global_clipnorm)
    extras = (optimizer.weight_decay, optimizer.loss_scale_factor)
    steps = optimizer.gradient_accumulation_steps
    return not optimizer.use_ema and all(each is None for each in (*clips, *extras, steps))


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


def apply_of(optimizer: Any, gradients: Any, variables: Any) -> Callable[[Any], None]:
    """Return `optimizer.apply` for gradients such as these, of always the same variables."""
    variables = list(variables)
    missing = any(gradient is None for gradient in gradients)
    special = any(each.constraint is not None or each.overwrite_with_gradient for each in variables)
    if missing or special or not is_plain_adam(optimizer) or not _are_fit(variables):
        return lambda gradients: optimizer.apply(list(gradients), variables)
    tensors = _tensors(optimizer, variables)

    def apply(gradients: Any) -> None:
        iterations = optimizer.iterations._value
        rate = float(optimizer._get_current_learning_rate())
        _update(optimizer, tensors, gradients, iterations.item() + 1, rate)
        iterations += 1

    return apply


def _are_fit(variables: list[Any]) -> bool:
    """Whether the fused operation, which reads memory in its order, takes these variables."""
    return all(
        value.dtype == torch.float32 and value.device.type == "cpu" and value.is_contiguous()
        for value in (variable._value for variable in variables)
    )


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
