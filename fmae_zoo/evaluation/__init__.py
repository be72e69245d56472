"""`evaluate`: the figures of a model, each by its own protocol.

To add a figure: a file with a `Figure`, and its line in `FIGURES`.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fmae_zoo.arguments import check_seed
from fmae_zoo.datasets import Dataset, check_dataset, load_named
from fmae_zoo.errors import ArgumentError, DataError, UnknownModelError
from fmae_zoo.evaluation import (
    code_use,
    denoising,
    elbo,
    fid,
    fine_tuned,
    frozen_head,
    generation,
    inpainting,
    knn,
    linear_probe,
    nll,
    reconstruction,
)
from fmae_zoo.evaluation.figure import Figure, Measure, Protocol
from fmae_zoo.evaluation.subject import Subject

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder

FIGURES: dict[str, Figure] = {
    module.FIGURE.name: module.FIGURE
    for module in (
        reconstruction,
        linear_probe,
        knn,
        frozen_head,
        fine_tuned,
        elbo,
        nll,
        denoising,
        inpainting,
        code_use,
        generation,
        fid,
    )
}
"""Every figure by name, in the order in which they are measured and shown."""


def protocols() -> list[Protocol]:
    """Return how all figures are measured."""
    return [protocol for figure in FIGURES.values() for protocol in figure.protocols]


def columns() -> dict[str, Measure]:
    """Return the numbers that lists of models show, by the key of their column."""
    shown = [measure for each in protocols() for measure in each.results if measure.column]
    return {measure.column_key: measure for measure in shown}


def evaluate(
    model: "Autoencoder",
    figures: str | Iterable[str] | None = None,
    *,
    data: Dataset | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda figure: None,
    done: Callable[[str, dict[str, Any]], None] = lambda figure, result: None,
    advance: Callable[[int, int], None] = lambda done, count: None,
) -> dict[str, Any]:
    """Measure a model on the test set, with every choice made on the validation split.

    Args:
        model: an autoencoder, as `load` returns it.
        figures: names from `FIGURES`; by default all but those that are measured `on_request`
            alone (`nll`, which takes minutes for a dense decoder and hours for a convolutional
            one, and `fid`, which needs the weights of an Inception network), and where the data
            has no labels all of these that need none. `frozen_head` and `fine_tuned` train a
            classifier, which takes minutes.
        data: what the model's spec names by default.
        seed: of the heads, and of the posterior samples.
        progress: called with the name of each figure before it is measured.
        done: called with the name and the result of each figure that applies, once it is there.
        advance: called by a figure that takes long with the images done, and with all of them.

    Returns:
        For each figure that applies a dictionary of numbers: MSE over pixels of [0, 1]
        images, PSNR in dB, accuracies in [0, 1], ELBO terms and KL in nats.

    Raises:
        UnknownModelError: there is no figure of a name.
        ArgumentError: the model is no `Autoencoder`, data no `Dataset`, figures no names, or
            the seed out of range.
        DataError: there are fewer than two training images, or no test images; or a figure is
            named that needs labels, and there are none.
    """
    from fmae_zoo.autoencoder import Autoencoder

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
