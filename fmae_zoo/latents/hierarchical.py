"""Two layers of Gaussian variables, the lower one conditioned on the upper one."""

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fmae_zoo.component import Width
from fmae_zoo.latents.base import Draw
from fmae_zoo.latents.gaussian import bounded, gaussian_parameters, log_density
from fmae_zoo.latents.sampled import SampledLatent
from fmae_zoo.types import Initializer, Layer, Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer


class HierarchicalLatent(SampledLatent):
    """Codes `(z1, z2)` with prior `p(z2) p(z1|z2)` and posterior `q(z2|x) q(z1|x, z2)`.

    `p(z2)` is standard normal, and a small network computes the Gaussian `p(z1|z2)`. The posterior
    `q(z1|x, z2)` combines the encoder's Gaussian of z1 with `p(z1|z2)`, weighted by their
    precisions. If the image gives no information on z1, the posterior equals the prior.

    Source: Sonderby et al. 2016, Ladder Variational Autoencoders, arXiv 1602.02282; Kingma et al.
    2016, arXiv 1606.04934, for the free bits.

    Attributes:
        top: Number of values of z2; z1 has the other `size - top`.
        units: Width of the network's hidden layer.
        free_bits: Lower limit, in nats, of each layer's mean KL over the batch in training; a
            smaller KL is not rewarded. 0 gives the ELBO.
    """

    gives: ClassVar[frozenset[str]] = SampledLatent.gives | {"kl_top", "kl_bottom"}

    type: Literal["hierarchical"]
    top: Width = 8
    units: Width = 128
    free_bits: float = Field(default=0.0, ge=0.0, le=1e6)

    @model_validator(mode="after")
    def _both_layers_have_values(self) -> Self:
        if self.top >= self.size:
            raise ValueError(f"top: {self.top}, but both layers together have size = {self.size}")
        return self

    @property
    def bottom(self) -> int:
        """Number of values of z1."""
        return self.size - self.top

    @property
    def noise_size(self) -> int:
        """Number of noise values per code: one for each value of the code."""
        return self.size

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `mean` and `log_variance`, `(n, size)`, first of z1, then of z2."""
        return gaussian_parameters(features, self.size, seeds)

    def build(self, layer: "LatentLayer", seeds: "Seeds") -> None:
        """Create the network of `p(z1|z2)`, which is close to a standard normal at first."""
        from fmae_zoo.layers import family

        def dense(
            inputs: int, units: int, name: str, activation: str, initial: Initializer
        ) -> Layer:
            made = family().Dense(
                units, activation, kernel_initializer=initial, name=name, dtype="float32"
            )
            made.build((None, inputs))
            return made

        layer.hidden = dense(self.top, self.units, "prior_hidden", "relu", seeds.he_normal())
        sizes = (self.units, self.bottom)
        layer.prior_mean = dense(*sizes, "prior_mean", "linear", seeds.normal())
        layer.prior_spread = dense(*sizes, "prior_log_variance", "linear", seeds.normal())

    def code(self, parameters: dict[str, Tensor], layer: "LatentLayer") -> Tensor:
        """Return the mean of z1 given the mean of z2, then that mean of z2: `(n, size)`."""
        from keras import ops

        top = parameters["mean"][:, self.bottom :]
        posterior, _ = self._below(parameters, top, layer)
        return ops.concatenate([posterior[0], top], axis=-1)

    def at(self, parameters: dict[str, Tensor], layer: "LatentLayer", noise: Tensor) -> Draw:
        """Return z1 and z2, each its mean plus its standard deviation times noise.

        `kl_top`, the KL of z2, is exact. `kl_bottom` is the exact KL of z1 given z2, averaged over
        the draws of z2. Both are `(n,)`.
        """
        from keras import ops

        wide = {name: values[:, None] for name, values in parameters.items()}
        top_mean = wide["mean"][..., self.bottom :]
        top_spread = wide["log_variance"][..., self.bottom :]
        top = top_mean + ops.exp(0.5 * top_spread) * noise[..., self.bottom :]
        (mean, spread), (prior_mean, prior_spread) = self._below(wide, top, layer)
        low = mean + ops.exp(0.5 * spread) * noise[..., : self.bottom]
        nothing = ops.zeros_like(top_mean)
        log_ratio = (
            log_density(top, top_mean, top_spread)
            - log_density(top, nothing, nothing)
            + log_density(low, mean, spread)
            - log_density(low, prior_mean, prior_spread)
        )
        kl_top = _divergence(top_mean, top_spread, nothing, nothing)[:, 0]
        kl_bottom = ops.mean(_divergence(mean, spread, prior_mean, prior_spread), axis=1)
        extra = {"mean": parameters["mean"], "kl_top": kl_top, "kl_bottom": kl_bottom}
        code = ops.concatenate([low, top], axis=-1)
        return Draw(code, log_ratio, kl_top + kl_bottom, extra)

    def draw(
        self,
        parameters: dict[str, Tensor],
        layer: "LatentLayer",
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return codes as `LatentComponent.draw` does; in training `kl` includes free bits."""
        draw = super().draw(parameters, layer, samples, training, noise)
        if not training or not self.free_bits:
            return draw
        layers = (draw.extra["kl_top"], draw.extra["kl_bottom"])
        return draw._replace(kl=sum(_at_least(self.free_bits, each) for each in layers))

    def prior(self, noise: Tensor, layer: "LatentLayer") -> Tensor:
        """Return codes `(z1, z2)` of the prior; z2 is the last `top` numbers of the noise."""
        from keras import ops

        top = noise[:, self.bottom :]
        mean, spread = self._of_prior(top, layer)
        low = mean + ops.exp(0.5 * spread) * noise[:, : self.bottom]
        return ops.concatenate([low, top], axis=-1)

    def _of_prior(self, top: Tensor, layer: "LatentLayer") -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of `p(z1|z2)` for z2 `(..., top)`."""
        hidden = layer.hidden(top)
        return layer.prior_mean(hidden), bounded(layer.prior_spread(hidden))

    def _below(
        self, parameters: dict[str, Tensor], top: Tensor, layer: "LatentLayer"
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return mean and log-variance of `q(z1|x, z2)`, then those of `p(z1|z2)`."""
        from keras import ops

        own_mean, own_spread = (
            parameters[name][..., : self.bottom] for name in ("mean", "log_variance")
        )
        prior_mean, prior_spread = self._of_prior(top, layer)
        share = ops.sigmoid(prior_spread - own_spread)
        mean = share * own_mean + (1.0 - share) * prior_mean
        spread = own_spread - ops.softplus(own_spread - prior_spread)
        return (mean, spread), (prior_mean, prior_spread)


def _divergence(mean: Tensor, spread: Tensor, prior_mean: Tensor, prior_spread: Tensor) -> Tensor:
    """Return the KL in nats of diagonal Gaussians, given their means and log-variances."""
    from keras import ops

    squares = ops.square(mean - prior_mean) * ops.exp(-prior_spread)
    change = spread - prior_spread
    return 0.5 * ops.sum(ops.exp(change) + squares - 1.0 - change, axis=-1)


def _at_least(least: float, values: Tensor) -> Tensor:
    """Return values `(n,)`, or `least` for each of them if their mean is below `least`."""
    from keras import ops

    return ops.where(ops.mean(values) < least, least * ops.ones_like(values), values)
