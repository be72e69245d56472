"""The Frechet Inception distance (FID), for users who have the weights of the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fmae_zoo._backend import keras_home
from fmae_zoo.component import LAYOUT
from fmae_zoo.errors import NoWeightsError
from fmae_zoo.evaluation.figure import GENERATION, Figure, Measure, Protocol
from fmae_zoo.evaluation.generation import COUNT, frechet
from fmae_zoo.evaluation.subject import Subject
from fmae_zoo.types import Model

SIDE = 299
"""Height and width in pixels of the network's input."""

_WEIGHTS = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"


def fid(subject: Subject) -> dict[str, Any] | None:
    """Return the FID of 10,000 generated images, and of the reconstructions of the test images.

    It is the Frechet distance of `generation`, in the 2,048 pooled features of Inception v3 (Heusel
    et al. 2017, arXiv 1706.08500). Return None if there are fewer than 10,000 test images, if the
    model has no sampler, or if its loss is on hidden pixels alone, so that its decoder makes no
    whole images.

    Raises:
        NoWeightsError: Keras' cache does not hold the weights of Inception v3.
    """
    model, images = subject.model, subject.data.test_images
    if len(images) < COUNT or model.sampler is None or model.spec.objective.reads_mask:
        return None
    inception = load_inception()
    real = features_of(inception, images[:COUNT])
    decoded = subject.test_reconstructions[:COUNT]
    drawn = model.generate(COUNT, seed=subject.seed)
    return {
        "fid": frechet(features_of(inception, drawn), real),
        "fid_reconstructions": frechet(features_of(inception, decoded), real),
        "sampler": model.sampler,
        "latent_size": subject.latent_size,
    }


def weights_file() -> Path:
    """Return the path to which Keras downloads the weights of Inception v3."""
    return keras_home() / "models" / _WEIGHTS


def load_inception() -> Model:
    """Return Inception v3 up to its pooled features, with the weights in Keras' cache.

    Raises:
        NoWeightsError: The cache does not hold the weights.
    """
    from keras.applications import InceptionV3

    path = weights_file()
    if not path.is_file():
        raise NoWeightsError(
            f"fid: no weights of Inception v3 at {path}. Keras downloads them, 84 MB: "
            'python -c "import keras; keras.applications.InceptionV3(include_top=False)"'
        )
    shape = (SIDE, SIDE, 3)
    with _as_its_weights_are():
        return InceptionV3(include_top=False, weights=str(path), input_shape=shape, pooling="avg")


@contextmanager
def _as_its_weights_are() -> Iterator[None]:
    """Use channels last and float32 in a block, whatever the user has set."""
    from keras import config

    layout, policy = config.image_data_format(), config.dtype_policy()
    config.set_image_data_format(LAYOUT)
    config.set_dtype_policy("float32")
    try:
        yield
    finally:
        config.set_image_data_format(layout)
        config.set_dtype_policy(policy)


def features_of(inception: Model, images: np.ndarray, chunk: int = 100) -> np.ndarray:
    """Return the network's features of grey or colour images: float64 `(n, 2048)`.

    Args:
        inception: Network, as `load_inception` returns it.
        images: Images `(n, height, width, channels)`, or grey ones `(n, height, width)`, uint8 or
            floats in [0, 1].
        chunk: Number of images per call.
    """
    from keras import ops

    from fmae_zoo.images import as_images

    found = []
    for start in range(0, len(images), chunk):
        some = images[start : start + chunk]
        shape = (*some.shape[1:3], some.shape[3] if some.ndim == 4 else 1)
        unit = ops.convert_to_tensor(as_images(some, shape))
        large = ops.image.resize(unit, inception.input_shape[1:3], "bilinear", data_format=LAYOUT)
        coloured = ops.broadcast_to(large, (*large.shape[:3], 3))
        found.append(inception.predict_on_batch(2.0 * coloured - 1.0))
    return np.concatenate(found).astype(np.float64)


FIGURE = Figure(
    fid,
    (
        Protocol(
            ("fid",),
            "10,000 images from the default sampler, in the features of Inception v3",
            "Frechet distance to the first 10,000 test images in the 2,048 pooled features of "
            "Inception v3 with Keras' ImageNet weights, images enlarged to 299 x 299 pixels; other "
            "weights give other numbers. Reconstructions of the test images beside it, measured in "
            "the same way",
            GENERATION,
            (Measure("fid", "FID", "{:.2f}", less_is_better=True),),
            (
                Measure(
                    "fid_reconstructions",
                    "FID of reconstructions of the test images",
                    "{:.2f}",
                    less_is_better=True,
                ),
            ),
        ),
    ),
    of_samplers=True,
    on_request=True,
)
