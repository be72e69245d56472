"""The base class of latents whose KL to the prior is estimated from draws."""

import math
from typing import TYPE_CHECKING, ClassVar

from fmae_zoo.latents.base import Draw, LatentComponent
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.latent import LatentLayer


class SampledLatent(LatentComponent):
    """Base of latents that compute codes from standard normal noise and have no closed-form KL.

    A subclass overrides `at`. Even for a code without noise, the KL is estimated from a code with
    noise: at the mode of the posterior the estimate would be too high.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"mean", "kl", "log_ratio", "prior"})

    def at(self, parameters: dict[str, Tensor], layer: "LatentLayer", noise: Tensor) -> Draw:
        """Return the codes for noise `(n, samples, draw_noise_size)`."""
        raise NotImplementedError

    def draw(
        self,
        parameters: dict[str, Tensor],
        layer: "LatentLayer",
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return codes as `LatentComponent.draw` does; the KL is random also outside training."""
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
    """Return the quantiles of standard normal numbers, which are uniform in [0, 1]."""
    from keras import ops

    return 0.5 * (1.0 + ops.erf(normal / math.sqrt(2.0)))
