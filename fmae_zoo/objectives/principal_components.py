"""Squared error, minimised by principal components."""

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
"""Values of an image up to which components are exact: the time grows with their cube."""


class PrincipalComponents(SquaredError):
    """Squared error on [0, 1] images, summed over pixels, at its least among affine maps.

    The code is `(x - m) W` and the image `m + z W'`, with m the mean of the training images, and
    the columns of W the eigenvectors of their covariance with the greatest eigenvalues. Pixels
    that the network cuts off at 0 and 1 are a little nearer than those.

    Source: Hotelling 1933, "Analysis of a Complex of Statistical Variables into Principal
    Components", Journal of Educational Psychology 24; Jolliffe 2002, "Principal Component
    Analysis".
    """

    needs: ClassVar[frozenset[str]] = frozenset({"affine"})
    solves: ClassVar[Affine | None] = "pixels"

    type: Literal["principal_components"]  # type: ignore[assignment]  # another name

    def check(self, spec: "ModelSpec") -> None:
        """Refuse more components than an image has values.

        Raises:
            ValueError: there are.
        """
        values = math.prod(spec.shape)
        if spec.latent.size > values:
            raise ValueError(
                f"latent.size: {spec.latent.size}, but images of {values} values have no more "
                "principal components than that"
            )

    def solve(self, model: "Autoencoder", images: np.ndarray, rng: np.random.Generator) -> None:
        """Give a model the principal components of images.

        Raises:
            DataError: there are fewer images than components.
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
    """Return scikit-learn's `PCA` of rows `(n, values)`, with `size` components.

    Signs are such that the greatest weight of a component is positive.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    solver = "covariance_eigh" if rows.shape[1] <= MAX_EXACT else "randomized"
    # With several threads the last digits depend on which is first.
    with threadpool_limits(1):
        return PCA(size, svd_solver=solver, random_state=0).fit(rows)
