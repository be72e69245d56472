"""What latents have in common whose divergence from the prior is known by draws alone."""

import math
from typing import TYPE_CHECKING, ClassVar

from fmae_zoo.latents.base import Draw, LatentComponent
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.latent import LatentLayer


class SampledLatent(LatentComponent):
    """Base of latents with a posterior of standard normal noise, and no closed form of the KL.

    A subclass overrides `at`. Where one code is drawn without noise, the KL is still that of a
    code drawn with noise: at the mode of the posterior it would be too high.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"mean", "kl", "log_ratio", "prior"})

    def at(self, parameters: dict[str, Tensor], layer: "LatentLayer", noise: Tensor) -> Draw:
        """Return the codes that noise `(n, samples, draw_noise_size)` stands for."""
        raise NotImplementedError

    def draw(
        self,
        parameters: dict[str, Tensor],
        layer: "LatentLayer",
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return codes as `LatentComponent.draw` says; outside training the KL is random."""
        from keras import ops

        if noise is not None:
            return self.at(parameters, layer, noise)
        count = ops.shape(parameters["mean"])[0]
        noise = layer.noise((count, samples, self.draw_noise_size))
        drawn = self.at(parameters, layer, noise)
        if training or samples > 1:
            return drawn
        still = self.at(parameters, layer, ops.zeros_like(noise))
        return still._replace(kl=drawn.kl, extra=drawn.extra)


def quantiles(normal: Tensor) -> Tensor:
    """Return of standard normal numbers their quantiles, which are uniform in [0, 1]."""
    from keras import ops

    return 0.5 * (1.0 + ops.erf(normal / math.sqrt(2.0)))
