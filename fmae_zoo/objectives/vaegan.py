"""A VAE trained with a critic that compares images and distinguishes decoded from real ones."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fmae_zoo.component import LAYOUT, Width
from fmae_zoo.objectives.base import Batch, ObjectiveComponent
from fmae_zoo.objectives.stateless import call_fixed, decode_again
from fmae_zoo.types import Model, Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.spec import ModelSpec


class VAEGAN(ObjectiveComponent):
    """KL, squared error in the features of a critic, and the adversarial losses of that critic.

    The critic distinguishes images from reconstructions and from images decoded from prior draws.
    One optimizer trains all parts, but each term changes only some of them: `features` the encoder
    and decoder, `kl` the encoder, `adversary` the decoder, `critic` the critic. The paper weights
    the decoder's feature term by gamma. Here its adversary term is weighted by `1 / gamma`: the
    gradient has the same direction, and optimizers that normalise gradients take the same step.

    Source: Larsen et al. 2015, Autoencoding beyond Pixels Using a Learned Similarity Metric,
    arXiv 1512.09300; the decoder's loss is the non-saturating one of Goodfellow et al. 2014,
    arXiv 1406.2661.

    Attributes:
        kl_weight: Weight of the KL to the prior, in nats.
        adversary_weight: Weight of the decoder's cross-entropies, in nats, for reconstructions and
            for images from the prior; half the summed squared distance of features has weight 1.
        filters: Numbers of filters of the critic's 3x3 convolutions. The map is halved between
            them, and the last map is the features.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"kl", "prior"})
    of_batches: ClassVar[bool] = True
    term_names: ClassVar[tuple[str, ...]] = ("features", "kl", "adversary", "critic")
    loss_label: ClassVar[str] = "squared error of a critic's features, KL, and the critic"

    type: Literal["vaegan"]
    kl_weight: float = Field(default=1.0, gt=0.0, le=1e6)
    adversary_weight: float = Field(default=10.0, gt=0.0, le=1e6)
    filters: tuple[Width, ...] = Field(default=(32, 64, 64), min_length=1, max_length=8)

    def module(self, spec: "ModelSpec", seeds: "Seeds") -> Model:
        """Return the critic, from images to `features` `(n, values)` and `logits` `(n, 1)`.

        The logits are high for real images. There is no BatchNorm, so the outputs for an image
        do not depend on other images.
        """
        import keras
        from keras import layers

        from fmae_zoo.layers import family

        own = family()
        image = keras.Input(spec.shape, name="image")
        x = image
        for number, width in enumerate(self.filters, 1):
            if number > 1 and min(x.shape[1:3]) > 1:
                pool = own.AveragePooling2D
                x = pool(2, data_format=LAYOUT, name=f"pool{number}", dtype="float32")(x)
            x = own.Conv2D(
                width,
                3,
                padding="same",
                data_format=LAYOUT,
                kernel_initializer=seeds.he_normal(),
                name=f"conv{number}",
                dtype="float32",
            )(x)
            x = layers.LeakyReLU(0.2, name=f"leaky{number}", dtype="float32")(x)
        features = layers.Flatten(data_format=LAYOUT, name="features", dtype="float32")(x)
        initial = seeds.glorot_uniform()
        logits = own.Dense(1, kernel_initializer=initial, name="logits", dtype="float32")(features)
        return keras.Model(image, {"features": features, "logits": logits}, name="critic")

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the four terms of each image, `(n,)`; the last three are in nats."""
        from keras import ops

        real = ops.reshape(batch["target"], (-1, *model.spec.shape))
        code = ops.stop_gradient(draw.code[:, 0])
        noise = model.latent.noise((ops.shape(code)[0], model.spec.latent.noise_size))
        # A second call of the decoder, so that the adversary sends no gradient to the encoder.
        codes = ops.concatenate([code, ops.stop_gradient(model.latent.prior(noise))], axis=0)
        made = decode_again(model, codes, batch)

        features = call_fixed(model.critic, ops.concatenate([real, ops.sigmoid(logits[:, 0])]))
        of_real, of_reconstruction = ops.split(features["features"], 2)
        distance = 0.5 * ops.sum(ops.square(of_real - of_reconstruction), axis=1)

        taken = ops.split(call_fixed(model.critic, made)["logits"][:, 0], 2)
        judged = model.critic(ops.concatenate([real, ops.stop_gradient(made)]))["logits"][:, 0]
        for_real, *for_made = ops.split(judged, 3)
        return {
            "features": distance,
            "kl": draw.kl,
            "adversary": sum(ops.softplus(-each) for each in taken),
            "critic": ops.softplus(-for_real) + sum(ops.softplus(each) for each in for_made),
        }

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term."""
        return {
            "features": 1.0,
            "kl": self.kl_weight,
            "adversary": self.adversary_weight,
            "critic": 1.0,
        }
