"""Fitting of samplers to the codes of a trained model, and the choice of the best one."""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np

from fmae_zoo.arguments import check_seed
from fmae_zoo.datasets import Dataset, check_dataset, load_named
from fmae_zoo.errors import ArgumentError, DataError
from fmae_zoo.samplers import SAMPLERS

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder

CANDIDATES = 10_000
"""Maximum number of images that each sampler draws for the choice of the default."""


def fit_samplers(
    model: "Autoencoder",
    data: Dataset | None = None,
    seed: int = 0,
    names: str | Collection[str] = tuple(SAMPLERS),
    *,
    progress: Callable[[str], None] = lambda step: None,
    advance: Callable[[int, int], None] = lambda done, count: None,
) -> dict[str, float]:
    """Fit every sampler that suits a model to the codes of training images; choose its default.

    The model then has them as `fitted`, `generate` takes them by name, and `save` and `push` keep
    them. Samplers that the model already has stay, unless they are fitted again.

    On two cores the mixture takes seconds, the two-stage sampler up to a minute for 50,000 codes,
    and the autoregressive one, which is only for discrete codes, a few minutes.

    The default is the sampler whose images have the smallest Frechet distance to the validation
    images, in the features of the figure `generation`. These features exist for Fashion-MNIST
    only; for other data the default is the latent's prior, or else the first fitted sampler.

    Args:
        model: Autoencoder to fit samplers to.
        data: Data set; by default the one that the model's spec names.
        seed: Seed of the fits and the draws.
        names: Names of the samplers to fit; all by default.
        progress: Function called with what is done next, in words.
        advance: Function that slow fits call with the number of finished epochs and of all.

    Returns:
        The Frechet distance of each sampler, by name; empty if none was measured.

    Raises:
        DataError: If there are fewer than two images to fit to, besides the validation images; or
            the model has classes and the data have no labels.
        ArgumentError: If an argument has a wrong type or value, or codes are not finite; or if none
            of the samplers suits the codes (most often because they are too wide), and only some
            samplers were named or the latent has no prior.
    """
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.evaluation.generation import features_of, frechet, is_measured_on

    if not isinstance(model, Autoencoder):
        raise ArgumentError(f"model is {model!r}; expected an Autoencoder")
    check_seed(seed)
    check_dataset(data)
    names = (names,) if isinstance(names, str) else names
    if not isinstance(names, Collection):
        raise ArgumentError(f"names is {names!r}; expected some of {', '.join(SAMPLERS)}")
    unknown = ", ".join(str(name) for name in names if name not in [*SAMPLERS])
    if unknown:
        raise ArgumentError(f"names: {unknown}; expected some of {', '.join(SAMPLERS)}")
    data = data or load_named(model.spec.data)
    fit, validation = data.split
    if len(fit) < 2:
        raise DataError(f"{data.source}: {len(fit)} images to fit samplers to; two are the least")
    progress("encoding the training images")
    codes = model.encode(data.train_images[fit])
    if not np.isfinite(codes).all():
        raise ArgumentError(f"{model.spec.name}: its codes are NaN or infinite")
    kinds = {name: kind for name, kind in SAMPLERS.items() if name in names}
    labels = None
    if model.spec.classes is not None:
        labels = data.labels[0][fit][:, np.newaxis] == np.arange(model.spec.classes)
    tried = {}
    for name, kind in kinds.items():
        progress(f"fitting {name}")
        tried[name] = kind.fit(codes, model.latent, seed, labels, advance)
    fitted = {name: each for name, each in tried.items() if each is not None}
    if not fitted and not (model.spec.latent.has_prior and len(kinds) == len(SAMPLERS)):
        raise ArgumentError(
            f"{model.spec.name}: its {model.spec.latent.type} codes of {codes.shape[1]:,} values "
            f"suit none of the samplers {', '.join(kinds)}"
        )
    model.sampler, model.fitted = None, {**model.fitted, **fitted}
    if not is_measured_on(model.spec, data):
        return {}
    real = features_of(data.train_images[validation][:CANDIDATES])
    found = {}
    for name in model.samplers:
        progress(f"drawing from {name}")
        found[name] = frechet(features_of(model.generate(len(real), seed, sampler=name)), real)
    if found:
        model.sampler = min(found, key=lambda name: found[name])
    return found
