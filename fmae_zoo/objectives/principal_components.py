"""Squared error, minimised in closed form by principal components."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from fmae_zoo.component import Affine
from fmae_zoo.errors import DataError
from fmae_zoo.objectives.squared_error import SquaredError
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.spec import ModelSpec

MAX_EXACT = 1024
"""Most values of an image for which components are exact; the time grows with their cube."""


class PrincipalComponents(SquaredError):
    """Squared error on [0, 1] images, summed over pixels and minimised over affine maps.

    The code is `z = (x - m) W` and the reconstruction `m + z W'`, where m is the mean of the
    training images and the columns of W are the eigenvectors of their covariance with the largest
    eigenvalues. The network clips pixels to [0, 1], which lowers the error slightly.

    Source: Hotelling 1933, "Analysis of a Complex of Statistical Variables into Principal
    Components", Journal of Educational Psychology 24; Jolliffe 2002, "Principal Component
    Analysis".
    """

    needs: ClassVar[frozenset[str]] = frozenset({"affine"})
    solves: ClassVar[Affine | None] = "pixels"

    type: Literal["principal_components"]  # type: ignore[assignment]  # another name

    def check(self, spec: "ModelSpec") -> None:
        """Raise an error if there are more components than values in an image.

        Raises:
            ValueError: There are more components.
        """
        values = math.prod(spec.shape)
        if spec.latent.size > values:
            raise ValueError(
                f"latent.size: {spec.latent.size}, but images of {values} values have no more "
                "principal components than that"
            )

    def solve(self, model: "Autoencoder", images: np.ndarray, rng: np.random.Generator) -> None:
        """Set the weights of a model to the principal components of images.

        Raises:
            DataError: There are fewer images than components.
        """
        size = model.spec.latent.size
        if len(images) < size:
            raise DataError(
                f"{len(images)} training images have no {size} principal components: train on "
                "more, or by a copy of the spec with a smaller latent.size"
            )
        pca = principal_components(images.reshape(len(images), -1), size)
        kernel = pca.components_.T
        model.posterior.set_weights([kernel, -pca.mean_ @ kernel])
        model.decoder.set_weights([pca.components_, pca.mean_])


def principal_components(rows: np.ndarray, size: int) -> Tensor:
    """Return scikit-learn's `PCA`, with `size` components, fitted to rows `(n, values)`.

    The weight of largest absolute value in each component is positive.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    solver = "covariance_eigh" if rows.shape[1] <= MAX_EXACT else "randomized"
    # With several threads the order of sums, and so the last digits, would vary between runs.
    with threadpool_limits(1):
        return PCA(size, svd_solver=solver, random_state=0).fit(rows)
