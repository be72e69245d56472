"""Squared error, and a code that tells the clusters of the images apart."""

from typing import Any, Literal

import numpy as np
from pydantic import Field

from fmae_zoo.errors import DataError
from fmae_zoo.objectives.base import Annotations, ObjectiveComponent
from fmae_zoo.objectives.squared_error import squared_error

PRINCIPAL_COMPONENTS = 64
"""Of the gradient histograms, that are clustered."""


class ClusteredSquaredError(ObjectiveComponent):
    """Squared error, plus the cross-entropy of each image's cluster.

    Before training, k-means divides the training images by their histograms of oriented
    gradients; no label is used. The first `clusters` values of a code are then trained to be
    the logits of the image's cluster. A decoder alone is content with a code in which classes
    lie apart along curved borders; this term makes borders straight, so that a linear
    classifier finds them.

    Source: clusters as labels are Caron et al. 2018, Deep Clustering for Unsupervised Learning
    of Visual Features, arXiv 1807.05520, here of a fixed descriptor: Dalal and Triggs 2005,
    Histograms of Oriented Gradients for Human Detection.

    Attributes:
        clusters: number of clusters; at most the values of the code.
        cluster_weight: of the cross-entropy, in nats, beside the squared error summed over
            pixels.
        final_weight: the weight after `final_after_steps` training steps, and in validation;
            `cluster_weight` by default. A lower one polishes the reconstruction.
        final_after_steps: training steps with `cluster_weight`.
    """

    type: Literal["clustered_squared_error"]
    clusters: int = Field(default=32, ge=2, le=1024)
    cluster_weight: float = Field(default=0.3, gt=0.0, le=1e6)
    final_weight: float | None = Field(default=None, ge=0.0, le=1e6)
    final_after_steps: int = Field(default=0, ge=0, le=10**9)

    @property
    def needs_posterior(self) -> bool:
        """Whether the latent must give a log-variance."""
        return False

    @property
    def least_latent_size(self) -> int:
        """Values that a code must have at least."""
        return self.clusters

    @property
    def loss_label(self) -> str:
        """What the loss is, and its unit."""
        return "squared error, summed over pixels, and clusters"

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms, in the order they are reported."""
        return ("reconstruction", "clusters")

    def annotations(
        self, training: np.ndarray, validation: np.ndarray, seed: int
    ) -> tuple[Annotations, Annotations]:
        """Return the `cluster` of each image, int32 `(n,)`, by k-means of the training images.

        Raises:
            DataError: there are fewer training images than clusters.
        """
        if len(training) < self.clusters:
            raise DataError(
                f"{len(training)} training images cannot be divided into {self.clusters} clusters: "
                "train on more, or set objective.clusters"
            )
        from sklearn.cluster import KMeans
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from threadpoolctl import threadpool_limits

        histograms = gradient_histograms(training)
        size = min(PRINCIPAL_COMPONENTS, *histograms.shape)
        model = make_pipeline(
            PCA(size, svd_solver="covariance_eigh"),
            KMeans(self.clusters, n_init=1, max_iter=100, random_state=seed),
        )
        # With several threads the sums, and so the clusters, depend on which is first.
        with threadpool_limits(1):
            found = model.fit_predict(histograms)
            others = model.predict(gradient_histograms(validation))
        return {"cluster": found.astype(np.int32)}, {"cluster": others.astype(np.int32)}

    def terms(self, images: Any, outputs: dict[str, Any]) -> dict[str, Any]:
        """Return each term of each image, `(n,)`, for images `(n, 28, 28, 1)` and the outputs.

        Without a `cluster` among the outputs there is no such term, and it is 0.
        """
        from keras import ops

        reconstruction = squared_error(images, outputs["logits"])
        clusters = ops.zeros_like(reconstruction)
        if "cluster" in outputs:
            logits = outputs["mean"][:, : self.clusters]
            truth = ops.one_hot(ops.reshape(outputs["cluster"], (-1,)), self.clusters)
            clusters = -ops.sum(truth * ops.log_softmax(logits), axis=-1)
        return {"reconstruction": reconstruction, "clusters": clusters}

    def weights(self, step: Any = None) -> dict[str, Any]:
        """Return the weight of each term after `step` (a float tensor) training steps.

        Without a step, as in validation, the final ones.
        """
        from keras import ops

        final = self.cluster_weight if self.final_weight is None else self.final_weight
        if step is not None and final != self.cluster_weight:
            final = ops.where(step < self.final_after_steps, self.cluster_weight, final)
        return {"reconstruction": 1.0, "clusters": final}


def gradient_histograms(images: np.ndarray) -> np.ndarray:
    """Return the histograms of oriented gradients of images: float32 `(n, 1800)`.

    Eight orientations in cells of 4x4 pixels, of the square root of the intensity, normalised
    over blocks of 3x3 cells.
    """
    from skimage.feature import hog

    return np.stack(
        [
            hog(
                image,
                orientations=8,
                pixels_per_cell=(4, 4),
                cells_per_block=(3, 3),
                transform_sqrt=True,
            ).astype(np.float32)
            for image in images
        ]
    )
