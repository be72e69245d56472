"""Autoencoder: the encoder, latent and decoder of a spec as one Keras model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import keras
from keras import ops

from fmae_zoo.arguments import check_seed
from fmae_zoo.coding import Coding
from fmae_zoo.errors import WeightsError
from fmae_zoo.images import in_unit_range
from fmae_zoo.layers.initial import Seeds
from fmae_zoo.layers.latent import LatentLayer
from fmae_zoo.looking import Looking
from fmae_zoo.pretrained import Pretrained
from fmae_zoo.samplers.generating import Generating
from fmae_zoo.spec import ModelSpec
from fmae_zoo.training.autoencoding import Autoencoding
from fmae_zoo.training.batch import named
from fmae_zoo.types import Tensor
from fmae_zoo.weights import named_in, named_variables

_one_at_a_time = threading.RLock()
"""Lock held while a model is built, because Keras' dtype policy is global to the process."""


@keras.saving.register_keras_serializable(package="fmae_zoo")
class Autoencoder(Coding, Generating, Looking, Pretrained, Autoencoding, keras.Model):
    """The Keras model that a spec describes.

    The input is images `(n, height, width, channels)` of the spec's shape, floats in [0, 1] or
    uint8 in 0..255. If the spec has classes, it is a dictionary of these as `image` and integers
    `(n,)` as `label`. The output is a dictionary of everything that the loss needs: the outputs of
    the latent (`mean`, `log_variance` if it has a Gaussian posterior, and `kl` and `log_ratio` as
    in `latents.Draw`), the `code`, and the decoder's `logits`, whose sigmoid is the image. If the
    objective draws several codes per image, they are on the second axis of `code`, `logits` and
    `log_ratio`.

    Attributes:
        spec: Spec that the model was built from.
        encoder: Functional model from images to codes `(n, latent size)`. The latent reads its
            layer `features`. Its attribute `spec` lets a `Classifier` on it be saved.
        posterior: Model from images to all parameters of the latent; shares the encoder's layers.
        latent: `LatentLayer` with the other weights of the latent.
        decoder: Functional model from codes `(n, latent size)` to logits; if the spec has
            classes, from a dictionary of them as `code` and their classes as `label`.
        critic: Keras model of the objective's own weights, or None.

    Args:
        spec: A `ModelSpec`, or a spec as a dictionary.
        seed: Seed of the weights and of the sampling noise.
    """

    def __init__(self, spec: ModelSpec | dict[str, Any], seed: int = 0, **kwargs: Any) -> None:
        if not isinstance(spec, ModelSpec):
            spec = ModelSpec.from_dict(spec)
        kwargs.setdefault("name", spec.name.replace("-", "_"))
        super().__init__(**kwargs)
        self.spec = spec
        check_seed(seed)
        self.seed = int(seed)
        seeds = Seeds(seed)
        with _one_at_a_time, _policy(self.dtype_policy):
            image = keras.Input(spec.shape, name="image")
            parameters = spec.latent.parameters(spec.network.encode(image, seeds), seeds)
            code = keras.Input((spec.latent.size,), name="code")
            read, told = code, code
            if spec.classes is not None:
                label = keras.Input((), dtype="int32", name="label")
                read = {"code": code, "label": label}
                told = ops.concatenate([code, ops.one_hot(label, spec.classes)], axis=-1)
            logits = spec.network.decode(told, spec.shape, seeds)
            self.latent = LatentLayer(spec.latent, self.seed, seeds, spec.shape)
            # The entry's name lets parts of two entries be used in one Functional model.
            named = f"{self.name}_encoder"
            self.encoder = keras.Model(image, self.latent.code(parameters), name=named)
            self.encoder.spec = spec
            self.posterior = keras.Model(image, parameters, name=f"{self.name}_posterior")
            self.decoder = keras.Model(read, logits, name=f"{self.name}_decoder")
            # A function rather than the model, because the layer must not own these weights.
            self.latent.parameters_of = self._parameters_of
            self.critic = spec.objective.module(spec, seeds)
        self.fitted = {}
        self.sampler = None
        self.track_terms()
        self.built = True

    def parts(self) -> dict[str, dict[str, Any]]:
        """Return every variable of the model to be saved, by part and name.

        Each part is saved in a file of its own: `encoder` (with the latent's own weights),
        `decoder`, and `critic` if the objective has one.

        Raises:
            WeightsError: A variable of the model belongs to no part and would be lost.
        """
        own = {f"{self.latent.name}.{key}": each for key, each in named_in(self.latent).items()}
        parts = {
            "encoder": named_variables(self.posterior) | own,
            "decoder": named_variables(self.decoder),
        }
        if self.critic is not None:
            parts["critic"] = named_variables(self.critic)
        counters = (self.steps, self.first_bad_step)
        known = {id(each) for part in parts.values() for each in part.values()}
        known |= {id(each) for each in counters}
        lost = [each.path for each in self.weights if id(each) not in known]
        if lost:
            raise WeightsError(f"{self.name}: in no part of the model: {', '.join(lost)}")
        return parts

    def _parameters_of(self, images: Tensor, training: bool = False) -> dict[str, Tensor]:
        return self.posterior(images, training=training)

    def call(self, inputs: Any, training: bool = False) -> dict[str, Any]:
        """Return the outputs of the latent, the code and the logits."""
        batch = named(inputs, self.spec.classes)
        parameters = self.latent.encoded(in_unit_range(batch["image"]), training)
        samples = self.spec.objective.codes
        noise = None
        if self.latent.always_draws and not training:
            count = ops.shape(parameters["mean"])[0]
            noise = self.latent.noise((count, samples, self.spec.latent.draw_noise_size))
        draw = self.latent.draw(parameters, samples, training, noise)
        flat = ops.reshape(draw.code, (-1, self.spec.latent.size))
        read = flat
        if self.spec.classes is not None:
            read = {"code": flat, "label": ops.repeat(batch["label"], samples, axis=0)}
        logits = self.decoder(read, training=training)
        outputs = {"code": flat, "logits": logits, "log_ratio": draw.log_ratio[:, 0]}
        if samples > 1:
            logits = ops.reshape(logits, (-1, samples, *logits.shape[1:]))
            outputs = {"code": draw.code, "logits": logits, "log_ratio": draw.log_ratio}
        return {**draw.extra, "kl": draw.kl, **outputs}

    def input_signature(self) -> list[Any]:
        """Return the default inputs of an exported model."""
        [image] = super().input_signature()
        if self.spec.classes is None:
            return [image]
        return [{"image": image, "label": keras.InputSpec(shape=(None,), dtype="int32")}]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "spec": self.spec.model_dump(mode="json"),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Build the model from the dictionary of `get_config`."""
        return cls(**config)


@contextmanager
def _policy(policy: Any) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
