"""A posterior of categorical variables, which are relaxed in training."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from fmae_zoo.latents.base import Draw, LatentComponent
from fmae_zoo.latents.deterministic import projected
from fmae_zoo.latents.sampled import quantiles
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.layers.initial import Seeds
    from fmae_zoo.layers.latent import LatentLayer


class CategoricalLatent(LatentComponent):
    """Independent one-hot variables of `categories` values each, with a uniform prior.

    In training a draw is relaxed: it is the softmax of `(log-probabilities + Gumbel noise) /
    temperature`, which becomes one hot as the temperature goes to 0. Outside training a draw is
    one hot, and the code without noise has the most likely categories. The gradient of that code
    is the gradient of the probabilities.

    Source: Jang et al. 2016, "Categorical Reparameterization with Gumbel-Softmax",
    arXiv 1611.01144; Maddison et al. 2016, "The Concrete Distribution", arXiv 1611.00712.

    Attributes:
        categories: Number of categories of a variable; `size` is a multiple of it.
        temperature: Temperature of relaxed draws at the start of training.
        final_temperature: Temperature at the end of the exponential fall; `temperature` by default.
        temperature_steps: Number of training steps over which the temperature falls.
    """

    gives: ClassVar[frozenset[str]] = frozenset(
        {"mean", "log_probabilities", "index", "kl", "log_ratio", "prior"}
    )

    type: Literal["categorical"]
    categories: int = Field(default=8, ge=2, le=65_536)
    temperature: float = Field(default=1.0, ge=0.01, le=100.0)
    final_temperature: float | None = Field(default=None, ge=0.01, le=100.0)
    temperature_steps: int = Field(default=10_000, ge=1, le=10**7)

    @model_validator(mode="after")
    def _variables_are_whole(self) -> Self:
        if self.size % self.categories:
            raise ValueError(f"size: {self.size} is no multiple of categories, {self.categories}")
        return self

    @property
    def variables(self) -> int:
        """Number of categorical variables."""
        return self.size // self.categories

    @property
    def noise_size(self) -> int:
        """One normal number for each category of each variable."""
        return self.size

    @property
    def kinds(self) -> int:
        """Number of possible codes of a variable, one for each category."""
        return self.categories

    def parameters(self, features: Tensor, seeds: "Seeds") -> dict[str, Tensor]:
        """Connect features to `mean`, the probabilities, and `log_probabilities`, `(n, size)`."""
        from keras import ops

        logits = self._by_variable(projected(features, self.size, "latent", seeds))
        log_probabilities = ops.reshape(ops.log_softmax(logits, axis=-1), (-1, self.size))
        return {"mean": ops.exp(log_probabilities), "log_probabilities": log_probabilities}

    def build(self, layer: "LatentLayer", seeds: "Seeds") -> None:
        """Create the layer that names the code, and a step counter if the temperature falls."""
        import keras

        layer.named = keras.layers.Identity(name="code", dtype="float32")
        if self.final_temperature is not None:
            options = {"initializer": "zeros", "trainable": False}
            layer.steps = layer.add_weight(shape=(), name="steps", **options)

    def code(self, parameters: dict[str, Tensor], layer: "LatentLayer") -> Tensor:
        """Return the most likely category of each variable, one hot: `(n, size)`."""
        from keras import ops

        likeliest = self._one_hot(self._by_variable(parameters["log_probabilities"]))
        passed = parameters["mean"] - ops.stop_gradient(parameters["mean"])
        return layer.named(ops.reshape(likeliest, (-1, self.size)) + passed)

    def draw(
        self,
        parameters: dict[str, Tensor],
        layer: "LatentLayer",
        samples: int = 1,
        training: bool = False,
        noise: Tensor = None,
    ) -> Draw:
        """Return relaxed draws in training, else one-hot draws or one code without noise.

        `kl` is the exact KL of the categories. `log_ratio` compares probabilities; for a relaxed
        draw it compares the densities of posterior and prior, both relaxed with the same
        temperature, which cancels (Maddison et al. 2016). `index` holds the most likely
        categories, `(n, variables)`.
        """
        from keras import ops

        uniform = math.log(self.categories)
        flat = parameters["log_probabilities"]
        log_p = self._by_variable(flat)
        kl = ops.sum(parameters["mean"] * (flat + uniform), axis=-1)
        shape = (-1, samples, self.variables, self.categories)
        if noise is None and (training or samples > 1):
            noise = layer.noise((ops.shape(flat)[0], samples, self.size))
        log_p = log_p[:, None]
        if noise is None:
            code = ops.reshape(self.code(parameters, layer), shape)
            log_ratio = ops.sum(code * (log_p + uniform), axis=(2, 3))
        else:
            gumbel = gumbel_of(ops.reshape(noise, shape))
            if training:
                code = ops.softmax((log_p + gumbel) / self._temperature(layer), axis=-1)
                of_prior = ops.logsumexp(-gumbel - log_p, axis=-1)
                of_posterior = ops.logsumexp(-gumbel, axis=-1)
                each = ops.sum(log_p, axis=-1) + self.categories * (of_prior - of_posterior)
                log_ratio = ops.sum(each, axis=-1)
            else:
                code = self._one_hot(log_p + gumbel)
                log_ratio = ops.sum(code * (log_p + uniform), axis=(2, 3))
        index = ops.argmax(self._by_variable(flat), axis=-1)
        codes = ops.reshape(code, (-1, samples, self.size))
        return Draw(codes, log_ratio, kl, {**parameters, "index": index})

    def prior(self, noise: Tensor, layer: "LatentLayer") -> Tensor:
        """Return one-hot codes `(n, size)` for standard normal noise of the same shape.

        The position of the largest of independent standard normal numbers is uniform.
        """
        from keras import ops

        return ops.reshape(self._one_hot(self._by_variable(noise)), (-1, self.size))

    def nearest(self, codes: Tensor, layer: "LatentLayer") -> Tensor:
        """Return the category with the largest value of each variable, one hot."""
        from keras import ops

        return ops.reshape(self._one_hot(self._by_variable(codes)), (-1, self.size))

    def code_of(self, index: np.ndarray, layer: "LatentLayer") -> np.ndarray:
        """Return the one-hot codes of indices `(n, variables)`."""
        hot = index[..., None] == np.arange(self.categories)
        return hot.reshape(len(index), -1).astype(np.float32)

    def _by_variable(self, values: Tensor) -> Tensor:
        from keras import ops

        return ops.reshape(values, (-1, self.variables, self.categories))

    def _one_hot(self, scores: Tensor) -> Tensor:
        from keras import ops

        return ops.one_hot(ops.argmax(scores, axis=-1), self.categories, dtype="float32")

    def _temperature(self, layer: "LatentLayer") -> Tensor:
        """Return the temperature of this training step, and count the step."""
        from keras import ops

        if self.final_temperature is None:
            return self.temperature
        share = ops.minimum(layer.steps / float(self.temperature_steps), 1.0)
        layer.steps.assign_add(1.0)
        fall = math.log(self.final_temperature / self.temperature)
        return self.temperature * ops.exp(share * fall)


def gumbel_of(normal: Tensor) -> Tensor:
    """Convert standard normal numbers to standard Gumbel numbers by their quantiles."""
    from keras import ops

    # Far enough from 0 and 1 that both logarithms are finite in float32.
    uniform = ops.clip(quantiles(normal), 2.0**-23, 1.0 - 2.0**-23)
    return -ops.log(-ops.log(uniform))
