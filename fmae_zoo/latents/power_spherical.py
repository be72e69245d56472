"""Codes on a sphere."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from fmae_zoo.latents.base import Draw, LatentComponent
from fmae_zoo.latents.deterministic import flattened, projected
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer


class PowerSphericalLatent(LatentComponent):
    """Directions: `q(z|x)` is in proportion to `(1 + mean . z)^concentration`, `p(z)` uniform.

    A code is a point of the unit sphere in `size` dimensions. Of `t = mean . z`, `(1 + t) / 2` is
    `Beta(b + concentration, b)` with `b = (size - 1) / 2`, and exactly a function of noise: a
    `Beta(a, 1)` is `exp(-E / a)` of an exponential E, a `Beta(a, 1/2)` comes of the polar form of
    Student's t (Bailey 1994, Polar Generation of Random Variates with the t-Distribution), and
    `Beta(a, b + c)` is `Beta(a, b)` times `Beta(a + b, c)`.

    Source: De Cao and Aziz 2020, The Power Spherical Distribution, arXiv 2006.04437; autoencoders
    with such codes are Davidson et al. 2018, Hyperspherical Variational Auto-Encoders,
    arXiv 1804.00891, with concentrations of 1 and more.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"mean", "kl", "log_ratio", "prior"})

    type: Literal["power_spherical"]
    size: int = Field(ge=2, le=65_536)

    @property
    def noise_size(self) -> int:
        """The prior's codes are the directions of the noise."""
        return self.size

    @property
    def draw_noise_size(self) -> int:
        """One half is for the direction in which a code leaves the mean, the other for how far."""
        return 2 * self.size

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `{"mean": (n, size), "concentration": (n, 1)}`.

        The mean is a unit vector; the concentration is a softplus, plus 1.
        """
        from keras import layers

        features = flattened(features)
        least = layers.Rescaling(1.0, offset=1.0, name="concentration", dtype="float32")
        spread = projected(features, 1, "latent_concentration", seeds, activation="softplus")
        return {
            "mean": _unit(projected(features, self.size, "latent", seeds)),
            "concentration": least(spread),
        }

    def draw(
        self,
        parameters: dict[str, Tensor],
        layer: "LatentLayer",
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return points around the mean; the mean, where no noise is asked for."""
        from keras import ops

        mean, concentration = parameters["mean"], parameters["concentration"]
        log_gammas, digammas = self._gammas(0.5 * (self.size - 1) + concentration)
        # Of the surface of the sphere and the distribution's constant, what no code changes.
        constant = (2 - self.size) * math.log(2.0) + 0.5 * math.log(math.pi)
        constant -= math.lgamma(0.5 * self.size)
        normaliser = log_gammas + constant
        kl = normaliser - concentration * digammas
        if noise is None and not training and samples == 1:
            code, log_share = mean[:, None], ops.zeros_like(concentration)
        else:
            shape = (ops.shape(mean)[0], samples, self.draw_noise_size)
            noise = layer.noise(shape) if noise is None else noise
            log_share = self._log_share(concentration, noise[..., self.size :])
            code = _around(mean[:, None], log_share, noise[..., : self.size])
        log_ratio = concentration * log_share + normaliser
        return Draw(code, log_ratio, kl[:, 0], dict(parameters))

    def prior(self, noise: Tensor, layer: "LatentLayer") -> Tensor:
        """Return the directions of noise."""
        return _unit(noise)

    def nearest(self, codes: Tensor, layer: "LatentLayer") -> Tensor:
        """Return the directions of codes."""
        return _unit(codes)

    def _log_share(self, concentration: Tensor, noise: Tensor) -> Tensor:
        """Return `log((1 + t) / 2)`, `(n, K)`, of noise `(n, K, size)`."""
        from keras import ops

        squares, whole = ops.square(noise), (self.size - 1) // 2
        first = 0.5 * (self.size - 1) + concentration
        exponentials = 0.5 * (squares[..., :whole] + squares[..., whole : 2 * whole])
        steps = (first + ops.arange(whole, dtype="float32"))[:, None]
        log_share = -ops.sum(exponentials / steps, axis=-1)
        if self.size % 2 == 0:
            exponential = 0.5 * (squares[..., -2] + squares[..., -1])
            cosine = squares[..., -1] / ops.maximum(2.0 * exponential, 1e-12)
            growth = ops.expm1(exponential / (first + whole))
            log_share = log_share - ops.log1p(growth * cosine)
        return log_share

    def _gammas(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """Return `log gamma(a + b) - log gamma(a)`, and the same of digamma, `b = (size - 1) / 2`.

        Whole steps are exact. A half one is the asymptotic series, four steps further on, where
        its first term left out is below 1e-8.
        """
        from keras import ops

        whole = (self.size - 1) // 2
        steps = first + ops.arange(whole, dtype="float32")
        log_gammas = ops.sum(ops.log(steps), axis=-1, keepdims=True)
        digammas = ops.sum(1.0 / steps, axis=-1, keepdims=True)
        if self.size % 2 == 0:
            steps = first + ops.arange(whole, whole + 4, dtype="float32")
            halves = ops.sum(ops.log1p(0.5 / steps), axis=-1, keepdims=True)
            log_gammas = log_gammas - halves
            digammas = digammas + ops.sum(0.5 / (steps * (steps + 0.5)), axis=-1, keepdims=True)
            far = first + (whole + 4)
            inverse = 1.0 / far
            log_gammas = log_gammas + 0.5 * ops.log(far) - inverse / 8.0
            log_gammas = log_gammas + inverse**3 / 192.0 - inverse**5 / 640.0
            digammas = digammas + inverse / 2.0 + inverse**2 / 8.0
            digammas = digammas - inverse**4 / 64.0 + inverse**6 / 128.0
        return log_gammas, digammas


def _unit(vectors: Tensor) -> Tensor:
    """Return vectors of length 1; zeros stay zeros, with a gradient that is finite."""
    from keras import ops

    return vectors * ops.rsqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-8)


def _around(mean: Tensor, log_share: Tensor, noise: Tensor) -> Tensor:
    """Return points `(n, K, size)` of the sphere with `mean . z = 2 exp(log_share) - 1`.

    They leave the mean in the direction of the part of noise that is at right angles to it.
    """
    from keras import ops

    aside = noise
    # Again, because of what rounding leaves where noise is nearly along the mean.
    for _ in range(2):
        aside = _unit(aside - ops.sum(aside * mean, axis=-1, keepdims=True) * mean)
    rest = -ops.expm1(log_share)[..., None]
    sine = 2.0 * ops.sqrt(ops.maximum(rest * (1.0 - rest), 1e-12))
    return (1.0 - 2.0 * rest) * mean + sine * aside
