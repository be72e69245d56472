"""How unusual images are for a model, by their reconstruction and the density of their codes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fmae_zoo.arguments import check_seed
from fmae_zoo.errors import ArgumentError, ImagesError
from fmae_zoo.images import as_images
from fmae_zoo.types import Estimator

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder

FEWEST = 10
FOLDS = 5
"""One of so many normal images is held out, to normalise the density."""

COMPONENTS = 10
"""Maximum number of Gaussians in the density of the codes."""

CODES_PER_VALUE = 20
"""Number of codes that each Gaussian needs, for each value in a code; the first needs no more."""

MAX_WIDTH = 1024
"""Maximum number of values in a code; wider covariances are too large for so few codes."""


@dataclass(frozen=True)
class AnomalyScores:
    """How unusual each of n images is; a higher score is more unusual.

    Attributes:
        reconstruction: Squared error of the reconstruction, summed over the pixels: `(n,)`, 0 or
            more.
        density: Negative logarithm of the density of the code, in nats: `(n,)`.
        both: Sum of the two, each in standard deviations from its mean over the normal images:
            `(n,)`.
    """

    reconstruction: np.ndarray
    density: np.ndarray
    both: np.ndarray


class AnomalyDetector:
    """Scores of images, by what is normal for a model.

    The density of the codes is a mixture of at most 10 Gaussians with full covariances, fitted to
    the codes of normal images; of few images it is a single Gaussian. Each covariance is raised by
    as much of the identity as Ledoit and Wolf's shrinkage adds to that of all codes. Codes of a
    discrete latent, or on a sphere, have no such density, but it still tells common codes from
    rare ones.

    Sources: An and Cho 2015, Variational Autoencoder based Anomaly Detection using Reconstruction
    Probability, SNU Data Mining Center; Denouden et al. 2018, Improving Reconstruction Autoencoder
    Out-of-distribution Detection with Mahalanobis Distance, arXiv 1812.02765, for the sum.

    Args:
        model: Autoencoder.

    Raises:
        ArgumentError: The model is no autoencoder; its decoder is told the class, which an image
            alone does not have; its decoder only fills in hidden pixels; or its codes have more
            than 1,024 values.
    """

    def __init__(self, model: "Autoencoder") -> None:
        from fmae_zoo.autoencoder import Autoencoder

        if not isinstance(model, Autoencoder):
            raise ArgumentError(f"model is {model!r}; expected an Autoencoder")
        spec = model.spec
        reason = ""
        if spec.classes is not None:
            reason = "its decoder is told the class, which an image alone does not have"
        elif spec.objective.reads_mask:
            reason = "its decoder fills in hidden pixels, and does not reconstruct the others"
        elif spec.latent.size > MAX_WIDTH:
            reason = f"a density of codes of {spec.latent.size:,} values needs too many images"
        if reason:
            raise ArgumentError(f"{spec.name} cannot score images: {reason}. Take another model")
        self.model = model

    def fit(self, images: Any = None, seed: int = 0) -> Self:
        """Learn what is normal, and return this detector.

        Args:
            images: Ten or more normal images as for `Autoencoder.encode`, that the model was best
                not trained on. The default is the validation images of the data that the spec
                names.
            seed: Seed of the fit of the density.

        Raises:
            ImagesError: As for `Autoencoder.encode`; or there are fewer than ten images.
            ArgumentError: The seed is out of range.
            DataError: `images` is missing, and no source has the data.
        """
        from fmae_zoo.datasets import load_named

        check_seed(seed)
        if images is None:
            data = load_named(self.model.spec.data)
            images = data.train_images[data.split[1]]
        errors, codes = self._coded(images)
        if len(codes) < FEWEST:
            raise ImagesError(f"Expected {FEWEST} normal images or more; received {len(codes)}")
        # Codes that a density was fitted to seem too likely, so others say what is normal.
        held_out = np.arange(len(codes)) % FOLDS == 0
        tried = _density(codes[~held_out], seed)
        self.density = _density(codes, seed)
        normal = errors, -tried.score_samples(codes[held_out])
        self.mean = np.array([each.mean() for each in normal])
        self.deviation = np.array([max(each.std(), 1e-9) for each in normal])
        return self

    def scores(self, images: Any) -> AnomalyScores:
        """Return how unusual images are.

        Args:
            images: Images as for `Autoencoder.encode`.

        Raises:
            ImagesError: As for `Autoencoder.encode`.
            ArgumentError: The detector was not fitted.
        """
        if not hasattr(self, "density"):
            raise ArgumentError("Expected a fitted detector: call fit first")
        errors, codes = self._coded(images)
        density = -self.density.score_samples(codes) if len(codes) else errors
        parts = np.stack([errors, density], axis=1)
        return AnomalyScores(errors, density, ((parts - self.mean) / self.deviation).sum(axis=1))

    def _coded(self, images: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the errors of reconstructions `(n,)` and the codes `(n, latent size)`."""
        array = as_images(images, self.model.spec.shape)
        codes = self.model.encode(array)
        errors = np.square(array - self.model.decode(codes)).sum(axis=(1, 2, 3), dtype=np.float64)
        return errors, codes.astype(np.float64)


def _density(codes: np.ndarray, seed: int) -> Estimator:
    """Return a mixture of Gaussians fitted to codes `(n, latent size)`."""
    from sklearn.covariance import ledoit_wolf_shrinkage
    from sklearn.mixture import GaussianMixture

    enough = len(np.unique(codes, axis=0)) // (CODES_PER_VALUE * codes.shape[1])
    return GaussianMixture(
        min(max(enough, 1), COMPONENTS),
        tol=1e-2,
        reg_covar=max(ledoit_wolf_shrinkage(codes) * codes.var(axis=0).mean(), 1e-9),
        max_iter=300,
        random_state=seed,
    ).fit(codes)
