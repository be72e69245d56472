"""Write fmae_zoo/sample.npz: the first images of each class of Fashion-MNIST."""

from pathlib import Path

import numpy as np

from fmae_zoo.datasets import find_data

TRAIN_PER_CLASS, TEST_PER_CLASS = 120, 40
TARGET = Path(__file__).parent.parent / "fmae_zoo" / "sample.npz"


def first_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the sorted indices of the first `count` images of each class."""
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))


def main() -> None:
    """Write the file and print its size."""
    data = find_data()
    if data is None:
        raise SystemExit("no source has Fashion-MNIST")
    train = first_of_each(data.train_labels, TRAIN_PER_CLASS)
    test = first_of_each(data.test_labels, TEST_PER_CLASS)
    np.savez_compressed(
        TARGET,
        train_images=data.train_images[train],
        train_labels=data.train_labels[train],
        test_images=data.test_images[test],
        test_labels=data.test_labels[test],
    )
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
