"""A diagonal Gaussian posterior (Kingma and Welling 2013, arXiv 1312.6114)."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from fmae_zoo.latents.base import Draw, LatentComponent
from fmae_zoo.latents.deterministic import flattened, projected
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer


class GaussianLatent(LatentComponent):
    """`size` independent Gaussians; the prior is standard normal."""

    gives: ClassVar[frozenset[str]] = frozenset(
        {"mean", "log_variance", "kl", "log_ratio", "prior"}
    )

    type: Literal["gaussian"]

    @property
    def noise_size(self) -> int:
        """Number of noise values per code: `size`, as the prior's codes are the noise itself."""
        return self.size

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `{"mean": (n, size), "log_variance": (n, size)}`."""
        return gaussian_parameters(features, self.size, seeds)

    def draw(
        self,
        parameters: dict[str, Tensor],
        layer: "LatentLayer",
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return `mean + exp(log_variance / 2) * noise`, or the mean if no noise is used."""
        from keras import ops

        mean, log_variance = parameters["mean"], parameters["log_variance"]
        kl = 0.5 * ops.sum(ops.square(mean) + ops.exp(log_variance) - 1.0 - log_variance, axis=-1)
        shape = (ops.shape(mean)[0], samples, self.size)
        if noise is None:
            random = training or samples > 1
            noise = layer.noise(shape) if random else ops.zeros(shape, "float32")
        spread = log_variance[:, None]
        code = mean[:, None] + ops.exp(0.5 * spread) * noise
        # The terms log(2 pi) / 2 of the two densities cancel.
        log_ratio = 0.5 * ops.sum(ops.square(code) - ops.square(noise) - spread, axis=-1)
        return Draw(code, log_ratio, kl, dict(parameters))


def gaussian_parameters(features: Tensor, size: int, seeds: "Seeds") -> dict[str, Tensor]:
    """Connect features of any rank to `{"mean": (n, size), "log_variance": (n, size)}`."""
    features = flattened(features)
    log_variance = projected(features, size, "latent_log_variance", seeds)
    return {
        "mean": projected(features, size, "latent", seeds),
        "log_variance": bounded(log_variance),
    }


def bounded(log_variance: Tensor) -> Tensor:
    """Return log-variances within +-10: `x / (1 + |x| / 10)`.

    The KL then cannot overflow in early steps. Unlike tanh, the slope falls slowly, so that a
    variance that drifted away while the KL had weight 0 can return once the weight is positive.
    """
    from keras import ops

    return 10.0 * ops.softsign(log_variance / 10.0)


def log_density(code: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the log-density of diagonal Gaussians in nats, summed over the last axis."""
    from keras import ops

    squares = ops.square(code - mean) * ops.exp(-log_variance)
    return -0.5 * ops.sum(squares + log_variance + math.log(2.0 * math.pi), axis=-1)
