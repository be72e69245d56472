"""What a finished training run returns."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.datasets import Dataset
from fmae_zoo.manifest import TrainingRecord
from fmae_zoo.spec import ModelSpec


@dataclass
class History:
    """A finished training run.

    Attributes:
        model: Trained model in float32, with the weights of the best epoch.
        rows: One dictionary for each epoch: epoch, loss and terms, the same with the prefix `val_`,
            learning_rate, and seconds.
        record: Training record for the manifest.
        folder: Folder that the model was saved in, or None.
    """

    model: Autoencoder
    rows: list[dict[str, float]]
    record: TrainingRecord
    folder: Path | None = None


def golden_images(spec: ModelSpec, data: Dataset) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return images and labels for the goldens; both None if the package's own images fit.

    Data without test images give validation images without labels; `save` then uses each class
    in turn.
    """
    if spec.takes_fashion_mnist:
        return None, None
    if len(data.test_images):
        return data.test_images, data.test_labels
    _, validation = data.split
    return data.train_images[validation], None
