"""The base class of latents whose prior is a mixture around the codes of images."""

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fmae_zoo.latents.base import Draw
from fmae_zoo.latents.gaussian import gaussian_parameters, log_density
from fmae_zoo.latents.sampled import SampledLatent, quantiles
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer

PRIOR = "prior_"
"""Prefix of the names of parameters that belong to the prior's images."""


class MixturePriorLatent(SampledLatent):
    """Base of latents with a diagonal Gaussian posterior and an equal Gaussian mixture as prior.

    A subclass overrides `prior_images` and `components_of`.
    """

    gives: ClassVar[frozenset[str]] = SampledLatent.gives | {"log_variance"}

    @property
    def noise_size(self) -> int:
        """Number of noise values per code: `size` for the draw, and one for the component."""
        return self.size + 1

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `{"mean": (n, size), "log_variance": (n, size)}`."""
        return gaussian_parameters(features, self.size, seeds)

    def encoded(
        self, images: Tensor, layer: "LatentLayer", training: bool = False
    ) -> dict[str, Tensor]:
        """Return the parameters of images; in training also those of the prior's images.

        The latter, named `prior_mean` for example, come from the same pass through the encoder.
        BatchNorm then normalises both with the same statistics, as at inference. Otherwise training
        can lower the loss by changing weights faster than the moving statistics follow.
        """
        from keras import ops

        if not training:
            return layer.parameters_of(images)
        of_prior = ops.cast(self.prior_images(layer), images.dtype)
        both = layer.parameters_of(ops.concatenate([of_prior, images]), training=True)
        count = of_prior.shape[0]
        own = {name: each[count:] for name, each in both.items()}
        # The number of images of a batch may be unknown, that of the prior's images is not.
        return own | _of_prior(
            {
                name: ops.reshape(each[:count], (count, *each.shape[1:]))
                for name, each in both.items()
            }
        )

    def shared_parameters(self, layer: "LatentLayer") -> dict[str, Tensor]:
        """Return the parameters of the prior's images, by names such as `prior_mean`."""
        return _of_prior(layer.parameters_of(self.prior_images(layer)))

    def at(self, parameters: dict[str, Tensor], layer: "LatentLayer", noise: Tensor) -> Draw:
        """Return `mean + exp(log_variance / 2) * noise`."""
        own = {name: each for name, each in parameters.items() if not name.startswith(PRIOR)}
        found = {name[len(PRIOR) :]: parameters[name] for name in parameters.keys() - own.keys()}
        components = self.components_of(found, layer) if found else self.components(layer)
        return gaussian_draw(own, noise, *components)

    def prior(self, noise: Tensor, layer: "LatentLayer") -> Tensor:
        """Return draws from the components that the last column of `noise` chooses."""
        return mixture_draw(noise, *self.components(layer))

    def components(self, layer: "LatentLayer") -> tuple[Tensor, Tensor]:
        """Return means and log-variances of the mixture, `(components, size)`."""
        return self.components_of(layer.parameters_of(self.prior_images(layer)), layer)

    def prior_images(self, layer: "LatentLayer") -> Tensor:
        """Return the images of the prior, `(components, height, width, channels)` in [0, 1]."""
        raise NotImplementedError

    def components_of(
        self, parameters: dict[str, Tensor], layer: "LatentLayer"
    ) -> tuple[Tensor, Tensor]:
        """Return the mixture as `components` does, given the parameters of the prior's images."""
        raise NotImplementedError


def _of_prior(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return parameters under the names that those of the prior's images have."""
    return {f"{PRIOR}{name}": each for name, each in parameters.items()}


def some_of(images: np.ndarray, count: int, layer: "LatentLayer", seed: int) -> np.ndarray:
    """Return `count` random images, float32 in [0, 1]; with repeats if there are too few."""
    from fmae_zoo.images import as_images

    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(images), count, replace=len(images) < count)
    return as_images(images[chosen], layer.image_shape)


def gaussian_draw(
    parameters: dict[str, Tensor], noise: Tensor, mean: Tensor, log_variance: Tensor
) -> Draw:
    """Return codes of Gaussian posteriors whose prior is an equal mixture of Gaussians.

    Args:
        parameters: Mean and log-variance of the posteriors: `mean` and `log_variance`, `(n, size)`.
        noise: Standard normal numbers, `(n, K, size)`.
        mean: Means of the components, `(m, size)`.
        log_variance: Log-variances of the components, `(m, size)`.
    """
    from keras import ops

    own_mean, own_log_variance = (parameters[name][:, None] for name in ("mean", "log_variance"))
    code = own_mean + ops.exp(0.5 * own_log_variance) * noise
    components = log_density(code[:, :, None], mean, log_variance)
    log_prior = ops.logsumexp(components, axis=-1) - math.log(mean.shape[0])
    log_ratio = log_density(code, own_mean, own_log_variance) - log_prior
    return Draw(code, log_ratio, ops.mean(log_ratio, axis=1), dict(parameters))


def mixture_draw(noise: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return codes `(n, size)` drawn from an equal mixture of Gaussians.

    The quantile of the last number in each row of `noise`, `(n, size + 1)`, chooses the
    component; the other numbers are the noise of the draw from it.
    """
    from keras import ops

    count = mean.shape[0]
    index = ops.minimum(ops.cast(ops.floor(quantiles(noise[:, -1]) * count), "int32"), count - 1)
    spread = ops.exp(0.5 * ops.take(log_variance, index, axis=0))
    return ops.take(mean, index, axis=0) + spread * noise[:, :-1]
