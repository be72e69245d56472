"""`evaluate`: measure the figures of a model, each by its own protocol.

To add a figure, write a file with a `Figure`, and add the file to `FIGURES`.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fmae_zoo.arguments import check_seed
from fmae_zoo.errors import ArgumentError, DataError, UnknownModelError
from fmae_zoo.evaluation import (
    clustering,
    code_use,
    denoising,
    elbo,
    few_labels,
    few_labels_fine_tuned,
    fid,
    fine_tuned,
    frozen_head,
    generation,
    heads,
    inpainting,
    knn,
    linear_probe,
    nll,
    reconstruction,
    umap_clustering,
)
from fmae_zoo.evaluation.figure import Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.datasets import Dataset

FIGURES: dict[str, Figure] = {
    module.FIGURE.name: module.FIGURE
    for module in (
        reconstruction,
        linear_probe,
        knn,
        heads,
        frozen_head,
        fine_tuned,
        few_labels,
        few_labels_fine_tuned,
        clustering,
        umap_clustering,
        elbo,
        nll,
        denoising,
        inpainting,
        code_use,
        generation,
        fid,
    )
}
"""All figures by name, in the order in which they are measured and shown."""


def protocols() -> list[Protocol]:
    """Return the protocols of all figures."""
    return [protocol for figure in FIGURES.values() for protocol in figure.protocols]


def columns() -> dict[str, Measure]:
    """Return the measures that lists of models show, by the key of their column."""
    shown = [measure for each in protocols() for measure in each.results if measure.column]
    return {measure.column_key: measure for measure in shown}


def evaluate(
    model: "Autoencoder",
    figures: str | Iterable[str] | None = None,
    *,
    data: "Dataset | None" = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda figure: None,
    done: Callable[[str, dict[str, Any]], None] = lambda figure, result: None,
    advance: Callable[[int, int], None] = lambda done, count: None,
) -> dict[str, Any]:
    """Measure a model on the test set; every choice is made on the validation split.

    Args:
        model: Autoencoder, as `load` returns it.
        figures: Names from `FIGURES`. By default all except those that are measured only if named:
            `nll`, which takes minutes for a dense decoder and hours for a convolutional one, and
            `fid`, which needs the weights of an Inception network. Without labels in the data, the
            default leaves out figures that need them. `frozen_head` and `fine_tuned` train a
            classifier, which takes minutes.
        data: Data set; by default the one that the model's spec names.
        seed: Seed of the heads, the posterior samples and the generated images.
        progress: Function called with the name of each figure before it is measured.
        done: Function called with the name and the result of each figure that applies.
        advance: Function that slow figures call with the number of finished images and of all.

    Returns:
        A dictionary of numbers for each figure that applies: MSE over pixels of images in [0, 1],
        PSNR in dB, accuracies in [0, 1], ELBO terms, negative log-likelihood and KL in nats.

    Raises:
        UnknownModelError: One of the names is not that of a figure.
        ArgumentError: `model` is not an `Autoencoder`, `data` is not a `Dataset`, `figures` are
            not names, or the seed is out of range.
        DataError: There are fewer than two training images or no test images; or labels that a
            figure needs are missing, all of one class, or out of range.
        NoWeightsError: `fid` is named, and the weights of the Inception network are missing.
    """
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.datasets import check_dataset, load_named

    if not isinstance(model, Autoencoder):
        raise ArgumentError(
            f"Expected an Autoencoder, as fmae_zoo.load(NAME, pretrained=True) gives it; "
            f"received {type(model).__name__}"
        )
    check_dataset(data)
    check_seed(seed)
    if figures is not None and not isinstance(figures, Iterable):
        raise ArgumentError(f"Expected names of figures; received {figures!r}")
    if figures is None:
        names = [name for name, figure in FIGURES.items() if not figure.on_request]
    else:
        names = [figures] if isinstance(figures, str) else list(figures)
    for name in names:
        if not isinstance(name, str) or name not in FIGURES:
            raise UnknownModelError(
                f"There is no figure {name!r}; expected some of {', '.join(FIGURES)}"
            )
    subject = Subject(model, data or load_named(model.spec.data), seed, advance=advance)
    if not len(subject.data.test_images):
        raise DataError(f"{subject.data.name}: no test images to measure on")
    if figures is None and subject.data.train_labels is None:
        names = [name for name in names if not FIGURES[name].needs_labels]
    results: dict[str, Any] = {}
    for name in names:
        progress(name)
        result = FIGURES[name].measure(subject)
        if result is not None:
            results[name] = result
            done(name, result)
    return results


__all__ = ["FIGURES", "Figure", "Measure", "Protocol", "Subject", "columns", "evaluate"]
