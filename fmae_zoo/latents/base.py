"""The base class of all latents, with defaults that suit most of them."""

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from fmae_zoo.component import Component, Width
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer


class Draw(NamedTuple):
    """K codes for each of n images, with the quantities that objectives need.

    Attributes:
        code: Codes that the decoder reads, `(n, K, size)`.
        log_ratio: `log q(z|x) - log p(z)` of each code, in nats, `(n, K)`.
        kl: KL divergence of the posterior from the prior, in nats, `(n,)`: exact if there is a
            closed form, else the mean of `log_ratio`.
        extra: Other outputs of the latent, `(n, ...)`, such as `mean`, `log_variance` or
            `commitment`.
    """

    code: Tensor
    log_ratio: Tensor
    kl: Tensor
    extra: dict[str, Any]


class LatentComponent(Component):
    """Base of all latents: how features become a code, and how codes are drawn without an image.

    A subclass defines a `type` and overrides what differs from the defaults. It creates its weights
    in `build`, on the `LatentLayer` that is passed to the methods.

    Attributes:
        size: Number of values in a code.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"mean"})
    """Names of what the latent provides to objectives.

    They are keys of `Draw.extra`, `kl` and `log_ratio` if they are not always zero, `prior` if
    codes can be drawn without an image, and `affine` if the code is one dense layer of features."""

    fixed_layers: ClassVar[frozenset[str]] = frozenset()
    """Names of encoder layers that stay fixed even when a `Classifier` trains the encoder."""

    of_batches: ClassVar[bool] = False
    """Whether a training step computes weights of the latent from the codes of the whole batch."""

    type: str
    size: Width

    @property
    def noise_size(self) -> int:
        """Number of standard normal numbers that `prior` needs per code; 0 without a prior."""
        return 0

    @property
    def draw_noise_size(self) -> int:
        """Number of standard normal numbers that `draw` needs per code."""
        return self.size

    @property
    def has_prior(self) -> bool:
        """True if codes can be drawn without an image."""
        return self.noise_size > 0

    @property
    def kinds(self) -> int:
        """Number of possible codes of a group of values, as in `index`; 0 if not discrete."""
        return 0

    def fits(self, features_size: int) -> bool:
        """Return whether the latent can read features with `features_size` values."""
        return True

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect a symbolic tensor of features by Keras layers to tensors `(n, ...)` by name.

        One of them is `mean`. Layers must be named, because weights are saved under these names.
        """
        raise NotImplementedError

    def encoded(
        self, images: Tensor, layer: "LatentLayer", training: bool = False
    ) -> dict[str, Tensor]:
        """Return the parameters of images in [0, 1], computed by the encoder."""
        return layer.parameters_of(images, training=training)

    def shared_parameters(self, layer: "LatentLayer") -> dict[str, Tensor]:
        """Return parameters that are the same for all images, so that they are computed once."""
        return {}

    def build(self, layer: "LatentLayer", seeds: "Seeds") -> None:
        """Create further weights of the latent, as sublayers or weights of `layer`."""

    def prepare(self, layer: "LatentLayer", images: np.ndarray, seed: int) -> None:
        """Initialise weights from the training images before the first step: here nothing.

        The result is kept in weights of the layer, so that it is saved and resumed. `train` calls
        this method; before training a model by `fit`, call `ae.latent.prepare`.

        Args:
            layer: Layer that owns the weights.
            images: Training images, float32 in [0, 1] or uint8 in 0..255, of shape
                `(n, height, width, channels)` or, if grey, `(n, height, width)`.
            seed: Seed of all random numbers.
        """

    def code(self, parameters: dict[str, Tensor], layer: "LatentLayer") -> Tensor:
        """Return the deterministic code `(n, size)`, by standard layers and `keras.ops` only.

        `encode` returns it, and a published encoder computes it in plain Keras.
        """
        return parameters["mean"]

    def draw(
        self,
        parameters: dict[str, Tensor],
        layer: "LatentLayer",
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return codes of images; by default one code per image, without noise.

        Args:
            parameters: Tensors `(n, ...)` by name, as returned by `parameters`.
            layer: Layer that owns the weights and the noise generator.
            samples: Number of codes per image.
            training: If True, noise is drawn also for a single code, and statistics are updated.
            noise: Standard normal numbers `(n, samples, draw_noise_size)` to use instead of drawn
                noise.
        """
        from keras import ops

        code = self.code(parameters, layer)
        nothing = ops.zeros_like(code[:, 0])
        codes = ops.repeat(code[:, None], samples, axis=1)
        ratio = ops.repeat(nothing[:, None], samples, axis=1)
        return Draw(codes, ratio, nothing, dict(parameters))

    def prior(self, noise: Tensor, layer: "LatentLayer") -> Tensor:
        """Return codes `(n, size)` of the prior, computed from normal noise `(n, noise_size)`."""
        return noise

    def nearest(self, codes: Tensor, layer: "LatentLayer") -> Tensor:
        """Return the nearest valid codes `(n, size)`; in most latents every code is valid."""
        return codes

    def code_of(self, index: np.ndarray, layer: "LatentLayer") -> np.ndarray:
        """Return the codes, float32 `(n, size)`, for the `index` of each group, `(n, groups)`.

        With another number of groups, the codes are longer or shorter in proportion.
        """
        raise NotImplementedError
