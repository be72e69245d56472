"""`evaluate`: the figures of a model, each by its own protocol.

To add a figure: a file with a function from a `Subject` to a dictionary, and its line in
`FIGURES`.
"""

from collections.abc import Callable, Iterable
from typing import Any

from fmae_zoo.arguments import check_seed
from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.datasets import Dataset, check_dataset, load_named
from fmae_zoo.errors import ArgumentError, DataError, UnknownModelError
from fmae_zoo.evaluation.elbo import elbo
from fmae_zoo.evaluation.head import fine_tuned, frozen_head
from fmae_zoo.evaluation.knn import knn
from fmae_zoo.evaluation.linear_probe import linear_probe
from fmae_zoo.evaluation.reconstruction import reconstruction
from fmae_zoo.evaluation.subject import Subject

FIGURES: dict[str, Callable[[Subject], dict[str, Any] | None]] = {
    "reconstruction": reconstruction,
    "linear_probe": linear_probe,
    "knn": knn,
    "frozen_head": frozen_head,
    "fine_tuned": fine_tuned,
    "elbo": elbo,
}
"""Every figure by name; a function returns None where the figure does not apply."""

NEED_LABELS = {"linear_probe", "knn", "frozen_head", "fine_tuned"}


def evaluate(
    model: Autoencoder,
    figures: str | Iterable[str] | None = None,
    *,
    data: Dataset | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda figure: None,
    done: Callable[[str, dict[str, Any]], None] = lambda figure, result: None,
) -> dict[str, Any]:
    """Measure a model on the test set, with every choice made on the validation split.

    Args:
        model: an autoencoder, as `load` returns it.
        figures: names from `FIGURES`; all by default, or all that need no labels where the data
            has none. `frozen_head` and `fine_tuned` train a classifier, which takes minutes.
        data: what the model's spec names by default.
        seed: of the heads, and of the posterior samples.
        progress: called with the name of each figure before it is measured.
        done: called with the name and the result of each figure that applies, once it is there.

    Returns:
        For each figure that applies a dictionary of numbers: MSE over pixels of [0, 1]
        images, PSNR in dB, accuracies in [0, 1], ELBO terms in nats.

    Raises:
        UnknownModelError: there is no figure of a name.
        ArgumentError: the model is no `Autoencoder`, data no `Dataset`, figures no names, or
            the seed out of range.
        DataError: there are fewer than two training images, or no test images; or a figure is
            named that needs labels, and there are none.
    """
    if not isinstance(model, Autoencoder):
        raise ArgumentError(
            f"Expected an Autoencoder, as fmae_zoo.load(NAME, pretrained=True) gives it; "
            f"received {type(model).__name__}"
        )
    check_dataset(data)
    check_seed(seed)
    if figures is not None and not isinstance(figures, Iterable):
        raise ArgumentError(f"Expected names of figures; received {figures!r}")
    names = [figures] if isinstance(figures, str) else list(FIGURES if figures is None else figures)
    for name in names:
        if not isinstance(name, str) or name not in FIGURES:
            raise UnknownModelError(
                f"There is no figure {name!r}; expected some of {', '.join(FIGURES)}"
            )
    subject = Subject(model, data or load_named(model.spec.data), seed)
    if not len(subject.data.test_images):
        raise DataError(f"{subject.data.name}: no test images to measure on")
    if figures is None and subject.data.train_labels is None:
        names = [name for name in names if name not in NEED_LABELS]
    results: dict[str, Any] = {}
    for name in names:
        progress(name)
        figure = FIGURES[name](subject)
        if figure is not None:
            results[name] = figure
            done(name, figure)
    return results


__all__ = ["FIGURES", "Subject", "evaluate"]
