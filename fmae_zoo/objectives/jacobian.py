"""The size of a network's Jacobian, by finite differences."""

import math
from collections.abc import Callable

from fmae_zoo.types import Tensor


def squared_jacobian(
    function: Callable[[Tensor], Tensor], points: Tensor, noise: Tensor, step: float
) -> Tensor:
    """Return an estimate of the squared Frobenius norm of the Jacobian at each point: `(n,)`.

    Along a random direction v of length sqrt(size), the mean of `|J v|^2` is `|J|^2`, for the mean
    of `v v'` is the identity (Hutchinson 1990, A Stochastic Estimator of the Trace of the Influence
    Matrix). `J v` is `(f(x + step v) - f(x - step v)) / (2 step)`: Keras has no gradient of a
    gradient that every backend knows, and a difference needs none.

    Both points of a pair are in one call, so that a BatchNorm in training normalises them by the
    same statistics. What is random in the function, dropout for example, would be taken for slope.

    Args:
        function: of points `(2 n, ...)`.
        points: `(n, ...)`.
        noise: standard normal numbers of the points' shape.
        step: root mean square of the difference in each of a point's values. Where the function
            computes in bfloat16, which has 8 bits, it must be large enough to be seen: 0.1.
    """
    from keras import ops

    axes, size = tuple(range(1, len(points.shape))), math.prod(points.shape[1:])
    length = ops.sqrt(ops.sum(ops.square(noise), axis=axes, keepdims=True))
    move = noise * (step * math.sqrt(size) / ops.maximum(length, 1e-12))
    outputs = function(ops.concatenate([points + move, points - move], axis=0))
    pairs = ops.reshape(outputs, (2, -1, math.prod(outputs.shape[1:])))
    return ops.sum(ops.square((pairs[0] - pairs[1]) / (2.0 * step)), axis=1)
