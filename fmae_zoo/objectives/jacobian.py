"""The norm of a network's Jacobian, estimated by finite differences."""

import math
from collections.abc import Callable

from fmae_zoo.types import Tensor


def squared_jacobian(
    function: Callable[[Tensor], Tensor], points: Tensor, noise: Tensor, step: float
) -> Tensor:
    """Return an estimate of the squared Frobenius norm of the Jacobian at each point: `(n,)`.

    For a random direction v of length sqrt(size), the mean of `|J v|^2` is `|J|^2`, because the
    mean of `v v'` is the identity (Hutchinson 1990, A Stochastic Estimator of the Trace of the
    Influence Matrix). `J v` is `(f(x + step v) - f(x - step v)) / (2 step)`. A finite difference is
    used because Keras has no second derivative that works on every backend.

    Both points of a pair go through one call, so that a BatchNorm in training normalises them by
    the same statistics. Randomness in the function, such as dropout, would be taken for slope.

    Args:
        function: Function of points `(2 n, ...)`; it returns a tensor `(2 n, ...)`.
        points: Points at which the Jacobian is taken, `(n, ...)`.
        noise: Standard normal numbers of the points' shape.
        step: Root mean square of the step over a point's values. If the function computes in
            bfloat16, with 8 significant bits, it must be large enough, such as 0.1.
    """
    from keras import ops

    axes, size = tuple(range(1, len(points.shape))), math.prod(points.shape[1:])
    length = ops.sqrt(ops.sum(ops.square(noise), axis=axes, keepdims=True))
    move = noise * (step * math.sqrt(size) / ops.maximum(length, 1e-12))
    outputs = function(ops.concatenate([points + move, points - move], axis=0))
    pairs = ops.reshape(outputs, (2, -1, math.prod(outputs.shape[1:])))
    return ops.sum(ops.square((pairs[0] - pairs[1]) / (2.0 * step)), axis=1)
