"""New images from any autoencoder: a density fitted to its codes, and draws from it."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from fmae_zoo.arguments import check_integer, check_seed
from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.errors import ArgumentError, ImagesError
from fmae_zoo.images import to_numpy
from fmae_zoo.samplers.mixture import COMPONENTS, MAX_CODES, MAX_WIDTH, Mixture


@dataclass(frozen=True)
class CodeMixture:
    """A Gaussian mixture of the codes of images, fitted after the training.

    The codes of images do not fill the prior of a variational model, and a deterministic one
    has none; draws from their mixture decode to clearer images than draws from the prior.

    Source: Ghosh et al. 2020, From Variational to Deterministic Autoencoders, ICLR.

    Attributes:
        model: that codes are of.
        weights: of the components `(k,)`; they sum to one.
        means: `(k, latent size)`.
        factors: Cholesky factors of the covariances `(k, latent size, latent size)`.
    """

    model: Autoencoder
    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    @classmethod
    def fit(
        cls, model: Autoencoder, images: Any, components: int = COMPONENTS, seed: int = 0
    ) -> Self:
        """Fit a mixture to the codes of the first 20,000 images by expectation maximisation.

        Args:
            model: an autoencoder with codes of at most 256 values.
            images: as `model.encode` takes them; at least two for each component.
            components: Gaussians in the mixture, each with a full covariance.
            seed: of the first guess.

        Raises:
            ImagesError: images of another shape or type, or too few.
            ArgumentError: it is no `Autoencoder`, the codes are wider, or another argument is out
                of its range.
        """
        if not isinstance(model, Autoencoder):
            raise ArgumentError(f"model is {model!r}; expected an Autoencoder")
        check_integer("components", components, 1)
        check_seed(seed)
        size = model.spec.latent.size
        if size > MAX_WIDTH:
            raise ArgumentError(
                f"{model.spec.name}: codes of {size:,} values; a mixture takes {MAX_WIDTH} at most"
            )
        array = to_numpy(images)
        codes = model.encode(array[:MAX_CODES] if array.ndim else array)
        if len(codes) < 2 * components:
            raise ImagesError(f"{len(codes)} images; {components} components need twice as many")
        mixture = Mixture.fit(codes, seed, components)
        assert mixture is not None
        return cls(model, mixture.weights, mixture.means, mixture.factors)

    def codes(self, count: int, seed: int = 0) -> np.ndarray:
        """Return draws: float32 `(count, latent size)`.

        Raises:
            ArgumentError: count or seed is no integer of 0 or more.
        """
        check_integer("count", count, 0)
        check_seed(seed)
        return self._mixture.codes(count, np.random.default_rng(seed))

    @property
    def _mixture(self) -> Mixture:
        return Mixture(self.weights, self.means, self.factors)

    def generate(self, count: int, seed: int = 0, *, label: Any = None) -> np.ndarray:
        """Return images decoded from draws: float32 `(count, height, width, channels)` in [0, 1].

        Args:
            count: of images.
            seed: of the draws.
            label: as of `Autoencoder.generate`, for a model whose decoder is told the class.

        Raises:
            ArgumentError: as `codes`, and `Autoencoder.decode`.
        """
        check_integer("count", count, 0)
        check_seed(seed)
        rng = np.random.default_rng(seed)
        return self.model.decode_draws(self._mixture.codes(count, rng), rng, label)
