"""What latents have in common, and what of it most of them leave as it is."""

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from fmae_zoo.component import Component, Width
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer


class Draw(NamedTuple):
    """Codes of n images, K of each, and what an objective may ask of them.

    Attributes:
        code: what the decoder reads, `(n, K, size)`.
        log_ratio: `log q(z|x) - log p(z)` of each code, in nats, `(n, K)`.
        kl: divergence of the posterior from the prior, in nats, `(n,)`: exact where there is a
            closed form, else the mean of `log_ratio`.
        extra: what else the latent gives, `(n, ...)`: `mean`, `log_variance`, `commitment`.
    """

    code: Tensor
    log_ratio: Tensor
    kl: Tensor
    extra: dict[str, Any]


class LatentComponent(Component):
    """Base of all latents: how features become a code, and where codes without an image come from.

    A subclass has a `type` and a `size`, and overrides what differs. What it learns it creates in
    `build`, on the `LatentLayer` that every method is given.

    Attributes:
        size: number of values in a code.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"mean"})
    """What an objective may need of it: keys of `Draw.extra`, `kl` or `log_ratio` where they are
    not zero, `prior` where codes can be drawn, and `affine` where the code is an affine map of the
    features by one dense layer."""

    fixed_layers: ClassVar[frozenset[str]] = frozenset()
    """Names of layers of an encoder that no gradient may move, also where it is trained."""

    type: str
    size: Width

    @property
    def noise_size(self) -> int:
        """Standard normal numbers that the prior makes a code of; 0 where there is no prior."""
        return 0

    @property
    def draw_noise_size(self) -> int:
        """Standard normal numbers that `draw` makes a code of an image of."""
        return self.size

    @property
    def has_prior(self) -> bool:
        """Whether codes can be drawn without an image."""
        return self.noise_size > 0

    @property
    def kinds(self) -> int:
        """Codes that a group of values may have, numbered by `index`; 0 where none is discrete."""
        return 0

    def fits(self, features_size: int) -> bool:
        """Whether it can read features of so many values."""
        return True

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect a symbolic tensor of features, by Keras' layers, to tensors `(n, ...)` by name.

        `mean` is among them. Layers are named, for their weights are saved under these names.
        """
        raise NotImplementedError

    def build(self, layer: "LatentLayer", seeds: "Seeds") -> None:
        """Create what the latent learns besides, as layers or weights of a layer."""

    def prepare(self, layer: "LatentLayer", images: np.ndarray, seed: int) -> None:
        """Take what the latent needs of the training images, before the first step: nothing.

        What it takes it keeps in weights of the layer that are not trained, so that it is saved
        and resumed. `train` calls it; for a model that is trained by `fit`, call
        `ae.latent.prepare`.

        Args:
            layer: which owns the weights.
            images: float32 in [0, 1], or uint8 in 0..255, `(n, height, width, channels)`, or grey
                ones `(n, height, width)`.
            seed: of anything random.
        """

    def code(self, parameters: dict[str, Tensor], layer: "LatentLayer") -> Tensor:
        """Return the deterministic code `(n, size)`, by stock layers and `keras.ops` alone.

        It is what `encode` returns, and what plain Keras reads in a published encoder.
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
        """Return codes of images; the same one each time, if nothing else is said.

        Args:
            parameters: as `parameters` names them, `(n, ...)`.
            layer: which owns the weights, and the generator of noise.
            samples: codes of each image.
            training: whether noise is drawn also for a single code, and statistics are moved.
            noise: standard normal numbers `(n, samples, draw_noise_size)` to take in the place of
                drawn ones.
        """
        from keras import ops

        code = self.code(parameters, layer)
        nothing = ops.zeros_like(code[:, 0])
        codes = ops.repeat(code[:, None], samples, axis=1)
        ratio = ops.repeat(nothing[:, None], samples, axis=1)
        return Draw(codes, ratio, nothing, dict(parameters))

    def prior(self, noise: Tensor, layer: "LatentLayer") -> Tensor:
        """Return the codes `(n, size)` of standard normal noise `(n, noise_size)`."""
        return noise

    def nearest(self, codes: Tensor, layer: "LatentLayer") -> Tensor:
        """Return the codes that the latent has nearest to any `(n, size)`: in most, they are."""
        return codes

    def code_of(self, index: np.ndarray, layer: "LatentLayer") -> np.ndarray:
        """Return the code, float32 `(n, size)`, of the `index` of each group, `(n, groups)`.

        Of other numbers of groups it is as much longer or shorter.
        """
        raise NotImplementedError
