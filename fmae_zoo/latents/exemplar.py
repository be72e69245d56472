"""A Gaussian posterior, with a mixture prior around the codes of training images."""

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from fmae_zoo.latents.gaussian import bounded
from fmae_zoo.latents.mixture_prior import MixturePriorLatent, some_of
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer


class ExemplarLatent(MixturePriorLatent):
    """`size` independent Gaussians; the prior is `p(z) = mean_k N(mean(x_k), variance)`.

    The exemplars `x_k` are training images, drawn once before the first step. In training they pass
    through the encoder together with the batch. Their variance is one learned number. In the paper
    all training images are exemplars, each step uses the nearest ones, and an image is left out of
    its own prior. Here a few hundred exemplars are fixed and none is left out: another prior.
    Exemplars are weights: whoever has the model has these images.

    Source: Norouzi et al. 2020, Exemplar VAE: Linking Generative Models, Nearest Neighbor
    Retrieval, and Data Augmentation, arXiv 2004.04795.

    Attributes:
        exemplars: Number of exemplars; all of them pass through the encoder in each step.
    """

    type: Literal["exemplar"]
    exemplars: int = Field(default=256, ge=1, le=65_536)

    def build(self, layer: "LatentLayer", seeds: "Seeds") -> None:
        """Create the exemplars, which are black until `prepare`, and their log-variance."""
        layer.exemplars = layer.add_weight(
            shape=(self.exemplars, *layer.image_shape),
            initializer="zeros",
            trainable=False,
            name="exemplars",
        )
        layer.spread = layer.add_weight(shape=(1,), initializer="zeros", name="spread")

    def prepare(self, layer: "LatentLayer", images: np.ndarray, seed: int) -> None:
        """Draw the exemplars from the training images."""
        layer.exemplars.assign(some_of(images, self.exemplars, layer, seed))

    def prior_images(self, layer: "LatentLayer") -> Tensor:
        """Return the exemplars, `(exemplars, height, width, channels)` in [0, 1]."""
        from keras import ops

        return ops.convert_to_tensor(layer.exemplars)

    def components_of(
        self, parameters: dict[str, Tensor], layer: "LatentLayer"
    ) -> tuple[Tensor, Tensor]:
        """Return means and log-variances `(exemplars, size)`; log-variances are within +-10."""
        from keras import ops

        mean = parameters["mean"]
        spread = bounded(ops.convert_to_tensor(layer.spread))
        return mean, spread * ops.ones_like(mean)
