"""Squared error, plus a code from which the cluster of an image can be read."""

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from fmae_zoo.errors import DataError
from fmae_zoo.objectives.base import Annotations, Batch, ObjectiveComponent
from fmae_zoo.objectives.squared_error import squared_error
from fmae_zoo.types import Tensor

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.latents import Draw

CELLS = 7
"""Largest number of cells of the gradient histograms along each side of an image."""

PRINCIPAL_COMPONENTS = 64
"""Number of principal components of the gradient histograms that are clustered."""


class ClusteredSquaredError(ObjectiveComponent):
    """Squared error, plus the cross-entropy of each image's cluster.

    Before training, k-means clusters the training images by their histograms of oriented
    gradients; no label is used. The first `clusters` values of a code are then trained to be
    the logits of the image's cluster. With the squared error alone, the borders between classes
    in the code may be curved; this term straightens them for a linear classifier.

    Source: Caron et al. 2018, Deep Clustering for Unsupervised Learning of Visual Features,
    arXiv 1807.05520, for clusters as labels; Dalal and Triggs 2005, Histograms of Oriented
    Gradients for Human Detection, for the descriptor, which is fixed here.

    Attributes:
        clusters: Number of clusters, at most the number of values of a code.
        cluster_weight: Weight of the cross-entropy in nats; the squared error, summed over
            pixels, has weight 1.
        final_weight: Weight of the cross-entropy after `final_after_steps` training steps and in
            validation; `cluster_weight` by default. A lower one improves the reconstruction.
        final_after_steps: Number of training steps with `cluster_weight`.
    """

    term_names: ClassVar[tuple[str, ...]] = ("reconstruction", "clusters")
    loss_label: ClassVar[str] = "squared error, summed over pixels, and clusters"

    type: Literal["clustered_squared_error"]
    clusters: int = Field(default=32, ge=2, le=1024)
    cluster_weight: float = Field(default=0.3, gt=0.0, le=1e6)
    final_weight: float | None = Field(default=None, ge=0.0, le=1e6)
    final_after_steps: int = Field(default=0, ge=0, le=10**9)

    @property
    def least_latent_size(self) -> int:
        """Smallest number of values that a code may have."""
        return self.clusters

    def annotations(
        self, training: Annotations, validation: Annotations, seed: int
    ) -> tuple[Annotations, Annotations]:
        """Return the `cluster` of each image, int32 `(n,)`, by k-means on the training images.

        Raises:
            DataError: There are fewer training images than clusters.
        """
        images = training["image"]
        if len(images) < self.clusters:
            raise DataError(
                f"{len(images)} training images cannot be divided into {self.clusters} clusters: "
                "train on more, or by a copy of the spec with fewer objective.clusters"
            )
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from threadpoolctl import threadpool_limits

        histograms = gradient_histograms(images)
        size = min(PRINCIPAL_COMPONENTS, *histograms.shape)
        model = make_pipeline(
            PCA(size, svd_solver="covariance_eigh"),
            KMeans(self.clusters, n_init=1, max_iter=100, random_state=seed),
        )
        # With several threads the order of sums, and so the clusters, would vary between runs.
        with threadpool_limits(1):
            found = model.fit_predict(histograms)
            others = model.predict(gradient_histograms(validation["image"]))
        return {"cluster": found.astype(np.int32)}, {"cluster": others.astype(np.int32)}

    def terms(
        self, batch: Batch, draw: "Draw", logits: Tensor, model: "Autoencoder"
    ) -> dict[str, Tensor]:
        """Return the reconstruction and the clusters term of each image, `(n,)`.

        If the batch has no `cluster`, that term is 0.
        """
        from keras import ops

        reconstruction = squared_error(batch["target"], logits[:, 0])
        clusters = ops.zeros_like(reconstruction)
        if "cluster" in batch:
            of_clusters = draw.extra["mean"][:, : self.clusters]
            truth = ops.one_hot(ops.reshape(batch["cluster"], (-1,)), self.clusters)
            clusters = -ops.sum(truth * ops.log_softmax(of_clusters), axis=-1)
        return {"reconstruction": reconstruction, "clusters": clusters}

    def weights(self, step: Tensor = None) -> dict[str, Any]:
        """Return the weight of each term after `step` (a float tensor) training steps.

        Without a step, as in validation, return the final weights.
        """
        from keras import ops

        final = self.cluster_weight if self.final_weight is None else self.final_weight
        if step is not None and final != self.cluster_weight:
            final = ops.where(step < self.final_after_steps, self.cluster_weight, final)
        return {"reconstruction": 1.0, "clusters": final}


def gradient_histograms(images: np.ndarray) -> np.ndarray:
    """Return the histograms of oriented gradients of images: float32 `(n, size)`.

    They have eight orientations of the gradient of the square root of the intensity, in up to 7x7
    cells (of 4x4 pixels for 28x28 images), normalised over blocks of up to 3x3 cells. In colour,
    each pixel uses the channel with the steepest gradient.
    """
    from skimage.feature import hog

    cell = [max(2, math.ceil(side / CELLS)) for side in images.shape[1:3]]
    block = [min(3, side // size) for side, size in zip(images.shape[1:3], cell)]
    return np.stack(
        [
            hog(
                image,
                orientations=8,
                pixels_per_cell=cell,
                cells_per_block=block,
                transform_sqrt=True,
                channel_axis=-1 if images.ndim == 4 else None,
            ).astype(np.float32)
            for image in images
        ]
    )
