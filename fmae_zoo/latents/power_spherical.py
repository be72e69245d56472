"""Codes on the unit sphere, with a power spherical posterior and a uniform prior."""

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
    """Directions, with `q(z|x)` proportional to `(1 + mean . z)^concentration` and p(z) uniform.

    A code is a point on the unit sphere in `size` dimensions. With `t = mean . z`, `(1 + t) / 2`
    has the distribution `Beta(b + concentration, b)`, where `b = (size - 1) / 2`. It is computed
    exactly from noise: `exp(-E / a)` is `Beta(a, 1)` if E is exponential; a `Beta(a, 1/2)` follows
    from the polar form of Student's t (Bailey 1994, Polar Generation of Random Variates with the
    t-Distribution); and `Beta(a, b + c)` is `Beta(a, b)` times `Beta(a + b, c)`.

    Source: De Cao and Aziz 2020, The Power Spherical Distribution, arXiv 2006.04437; Davidson et
    al. 2018, Hyperspherical Variational Auto-Encoders, arXiv 1804.00891, for autoencoders with
    such codes and concentrations of 1 and more.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"mean", "kl", "log_ratio", "prior"})

    type: Literal["power_spherical"]
    size: int = Field(ge=2, le=65_536)

    @property
    def noise_size(self) -> int:
        """Number of noise values per code: `size`; the prior's codes are the noise's directions."""
        return self.size

    @property
    def draw_noise_size(self) -> int:
        """Number of noise values per draw: half for the direction from the mean, half for `t`."""
        return 2 * self.size

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `{"mean": (n, size), "concentration": (n, 1)}`.

        The mean is a unit vector; the concentration is a softplus plus 1.
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
        """Return points around the mean, or the mean itself if no noise is used."""
        from keras import ops

        mean, concentration = parameters["mean"], parameters["concentration"]
        log_gammas, digammas = self._gammas(0.5 * (self.size - 1) + concentration)
        # The part of log q(z|x) - log p(z) that depends on `size` only.
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
        """Return the unit vectors in the direction of the noise, `(n, size)`."""
        return _unit(noise)

    def nearest(self, codes: Tensor, layer: "LatentLayer") -> Tensor:
        """Return the unit vectors in the direction of the codes, `(n, size)`."""
        return _unit(codes)

    def _log_share(self, concentration: Tensor, noise: Tensor) -> Tensor:
        """Return `log((1 + t) / 2)`, `(n, K)`, computed from noise `(n, K, size)`."""
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
        """Return `log gamma(a + b) - log gamma(a)` and the same difference of digamma.

        `a` is `first` and `b = (size - 1) / 2`. The integer part of b is exact. A remaining half is
        computed by the asymptotic series at an argument larger by four, where the first omitted
        term is below 1e-8.
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
    """Return vectors scaled to length 1; zero vectors stay zero, with finite gradients."""
    from keras import ops

    return vectors * ops.rsqrt(ops.sum(ops.square(vectors), axis=-1, keepdims=True) + 1e-8)


def _around(mean: Tensor, log_share: Tensor, noise: Tensor) -> Tensor:
    """Return points `(n, K, size)` on the sphere with `mean . z = 2 exp(log_share) - 1`.

    Their direction from the mean is the component of the noise orthogonal to the mean.
    """
    from keras import ops

    aside = noise
    # Twice, because rounding errors remain if the noise is nearly parallel to the mean.
    for _ in range(2):
        aside = _unit(aside - ops.sum(aside * mean, axis=-1, keepdims=True) * mean)
    rest = -ops.expm1(log_share)[..., None]
    sine = 2.0 * ops.sqrt(ops.maximum(rest * (1.0 - rest), 1e-12))
    return (1.0 - 2.0 * rest) * mean + sine * aside
