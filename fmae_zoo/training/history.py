"""What a finished training run returns."""

from dataclasses import dataclass
from pathlib import Path

from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.manifest import TrainingRecord


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
