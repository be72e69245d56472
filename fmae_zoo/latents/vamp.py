"""A Gaussian posterior, with a prior that is the mixture of posteriors of learned images."""

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from fmae_zoo.latents.mixture_prior import MixturePriorLatent, some_of
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer


class VampLatent(MixturePriorLatent):
    """`size` independent Gaussians; the prior is `p(z) = mean_k q(z | u_k)`.

    The pseudo-inputs `u_k` are images: the sigmoid of learned logits. They start as random training
    images, or as grey noise if `prepare` is not called. In training they pass through the encoder
    together with the images of the batch.

    Source: Tomczak and Welling 2018, VAE with a VampPrior, arXiv 1705.07120.

    Attributes:
        pseudo_inputs: Number of learned images; all of them pass through the encoder in each step.
    """

    type: Literal["vamp"]
    pseudo_inputs: int = Field(default=128, ge=1, le=65_536)

    def build(self, layer: "LatentLayer", seeds: "Seeds") -> None:
        """Create the logits of the pseudo-inputs, `(pseudo_inputs, height, width, channels)`."""
        layer.pseudo_inputs = layer.add_weight(
            shape=(self.pseudo_inputs, *layer.image_shape),
            initializer=seeds.normal(stddev=1.0),
            name="pseudo_inputs",
        )

    def prepare(self, layer: "LatentLayer", images: np.ndarray, seed: int) -> None:
        """Initialise the pseudo-inputs with training images, clipped to [0.02, 0.98]."""
        begun = np.clip(some_of(images, self.pseudo_inputs, layer, seed), 0.02, 0.98)
        layer.pseudo_inputs.assign(np.log(begun / (1.0 - begun)))

    def prior_images(self, layer: "LatentLayer") -> Tensor:
        """Return the pseudo-inputs, `(pseudo_inputs, height, width, channels)` in [0, 1]."""
        from keras import ops

        return ops.sigmoid(ops.convert_to_tensor(layer.pseudo_inputs))

    def components_of(
        self, parameters: dict[str, Tensor], layer: "LatentLayer"
    ) -> tuple[Tensor, Tensor]:
        """Return means and log-variances `(pseudo_inputs, size)`."""
        return parameters["mean"], parameters["log_variance"]
