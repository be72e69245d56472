"""Generation of new images: a sampler draws codes, and the decoder decodes them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.arguments import PREDICT_BATCH, check_integer
from fmae_zoo.errors import ArgumentError, FmaeError, WeightsError
from fmae_zoo.samplers import PRIOR, Sampler, samplers_of, tensors_of

if TYPE_CHECKING:
    from fmae_zoo.layers.latent import LatentLayer
    from fmae_zoo.spec import ModelSpec

_Mixin: Any = object


class Generating(_Mixin):
    """A mixin for autoencoders: their samplers, and the generation of images."""

    spec: "ModelSpec"
    latent: "LatentLayer"
    decode: Any
    _class_numbers: Any

    @property
    def fitted(self) -> Mapping[str, Sampler]:
        """Samplers that were fitted to the codes after training, by name."""
        return self._fitted

    @fitted.setter
    def fitted(self, samplers: Mapping[str, Sampler]) -> None:
        for name, each in samplers.items():
            if each.classes not in (None, self.spec.classes):
                raise WeightsError(
                    f"{self.spec.name}: the sampler {name} is of {each.classes} classes; expected "
                    f"{self.spec.classes or 'none'}"
                )
        # Not a plain dictionary, because TensorFlow replaces dictionaries by its own type.
        self._fitted = MappingProxyType(dict(samplers))

    def forget_samplers(self) -> None:
        """Drop the fitted samplers, because training changes the codes."""
        if self.fitted:
            self.fitted, self.sampler = {}, None

    @property
    def samplers(self) -> tuple[str, ...]:
        """Names of the samplers: `prior` if the latent has one, then the fitted ones."""
        return (*((PRIOR,) if self.spec.latent.has_prior else ()), *self.fitted)

    @property
    def sampler(self) -> str | None:
        """Name of the sampler that `generate` uses by default; the first one if none is set."""
        return self._sampler or next(iter(self.samplers), None)

    @sampler.setter
    def sampler(self, name: str | None) -> None:
        if name is not None and name not in self.samplers:
            raise ArgumentError(
                f"{self.spec.name}: sampler is {name!r}; expected one of "
                f"{', '.join(self.samplers) or 'none, for it has none'}"
            )
        self._sampler = name

    def generate(
        self,
        count: int,
        seed: int = 0,
        batch_size: int = PREDICT_BATCH,
        *,
        sampler: str | None = None,
        label: Any = None,
    ) -> np.ndarray:
        """Return images decoded from codes that a sampler draws.

        Images are float32 `(count, height, width, channels)` in [0, 1]. NumPy draws the random
        numbers, so the same seed gives the same codes on every backend.

        Args:
            count: Number of images.
            seed: Seed of the draws.
            batch_size: Number of images in one call of the network.
            sampler: One of `samplers`; by default the model's own `sampler`, which for a published
                model is the one that its manifest names.
            label: If the spec has classes, the class of all images, or of each: integers
                `(count,)`; drawn uniformly by default.

        Raises:
            FmaeError: If no sampler was fitted and the latent has no prior, or `sampler` is `prior`
                and the latent has none.
            ArgumentError: If there is no sampler of that name, `count` or `seed` is not an integer
                of 0 or more, or `decode` refuses the label.
        """
        check_integer("count", count, 0)
        check_integer("seed", seed, 0)
        name = self.sampler if sampler is None else sampler
        if name is None or (name == PRIOR and PRIOR not in self.samplers):
            raise FmaeError(
                f"{self.spec.name} has a {self.spec.latent.type} latent, which has no prior to "
                "draw from. Fit a sampler: fmae_zoo.fit_samplers(model, data), or fmae samplers "
                "NAME --write; or take a variational entry: fmae list '*vae*'"
            )
        if name not in self.samplers:
            raise ArgumentError(
                f"{self.spec.name}: sampler is {name!r}; expected one of "
                f"{', '.join(self.samplers)}. Others are fitted by fmae_zoo.fit_samplers(model, "
                "data), or fmae samplers NAME --write"
            )
        rng = np.random.default_rng(seed)
        if label is None and self.spec.classes is not None:
            label = rng.integers(0, self.spec.classes, count)
        labels = self._class_numbers(count, label)
        if name == PRIOR:
            shape = (count, self.spec.latent.noise_size)
            codes = self.latent.prior(rng.standard_normal(shape).astype(np.float32))
        else:
            codes = self.fitted[name].codes(count, rng, labels)
        images: np.ndarray = self.decode(codes, batch_size, label=labels)
        return images

    def save_own_variables(self, store: Any) -> None:
        """Write the counters and the samplers into a Keras file."""
        super().save_own_variables(store)
        for name, tensor in tensors_of(self.fitted).items():
            store[f"samplers.{name}"] = tensor
        if self._sampler:
            store[f"default_sampler.{self._sampler}"] = np.zeros(1)

    def load_own_variables(self, store: Any) -> None:
        """Read what `save_own_variables` wrote."""
        arrays = {name: store[name] for name in list(store.keys())}
        own = {name: arrays.pop(name) for name in [*arrays] if name.isdecimal()}
        super().load_own_variables(own)
        parted = [(*name.partition(".")[::2], array) for name, array in arrays.items()]
        tensors = {key: np.array(array) for what, key, array in parted if what == "samplers"}
        self.fitted = samplers_of(tensors, self.spec.latent.size)
        self.sampler = next((key for what, key, _ in parted if what == "default_sampler"), None)
