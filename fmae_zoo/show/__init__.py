"""One HTML page of pictures of a model: draws, reconstructions, and the use of its codes."""

from dataclasses import replace
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np

import fmae_zoo
from fmae_zoo.arguments import check_seed
from fmae_zoo.datasets import Dataset
from fmae_zoo.errors import DataError
from fmae_zoo.evaluation import columns
from fmae_zoo.show.sections import SECTIONS, Looked

if TYPE_CHECKING:
    from fmae_zoo.entry import Entry

SEARCHED = 10_000
"""Maximum number of training images that are encoded."""


def page_of(
    model: Any, entry: "Entry", data: Dataset, seed: int = 0
) -> tuple[str, list[str], dict[str, str]]:
    """Return a self-contained HTML page of pictures, and what it shows and leaves out.

    Args:
        model: Autoencoder to show.
        entry: Entry that the model was built from; its published figures are at the top.
        data: Data set whose images are shown; at most 10,000 training images are encoded.
        seed: Seed of the draws, and of the choice of images.

    Returns:
        The page; the titles of its sections; and the reason for each section that the model or the
        data cannot have, by title.

    Raises:
        DataError: If there are fewer than two training or test images; or if the decoder is told
            classes, and the data have no labels or more classes.
        ImagesError: If the images have another shape than the model's.
        ArgumentError: If the seed is out of range.
    """
    from fmae_zoo.card.body import counted, images_of, parameters_of
    from fmae_zoo.summary import summary_of

    check_seed(seed)
    count = len(data.train_images)
    if min(count, len(data.test_images)) < 2:
        raise DataError(f"{data.source}: expected two training and two test images at least")
    some = np.sort(np.random.default_rng(seed).permutation(count)[:SEARCHED])
    labels = None if data.train_labels is None else data.train_labels[some]
    fewer = replace(data, train_images=data.train_images[some], train_labels=labels, validation=0)
    looked = Looked(model, fewer, seed)
    sections = [section(looked) for section in SECTIONS]
    shown = [each for each in sections if each.pictures]
    absent = {each.title: each.words for each in sections if not each.pictures}
    spec, row = entry.spec, summary_of(entry)
    facts = [parameters_of(entry.manifest), f"codes of {counted(spec.latent.size, 'value')}"]
    facts = [*filter(None, facts), images_of(spec), f"pictures of {data.name}"]
    figures = {
        measure.column: measure.shown(row[key])
        for key, measure in columns().items()
        if row[key] is not None
    }
    note = "The full data were not found: all pictures are of the small sample in the package."
    template = Template(files("fmae_zoo").joinpath("show/page.html").read_text(encoding="utf-8"))
    page = template.substitute(
        name=escape(row["name"]),
        summary=escape(spec.summary),
        facts=" · ".join(map(escape, facts)),
        figures=_listed("figures", figures),
        note=f'<p class="note">{note}</p>' if data.is_sample else "",
        sections="\n".join(each.html for each in shown),
        absent=f"<section>\n<h2>Left out</h2>\n{_listed('absent', absent)}</section>"
        * bool(absent),
        version=escape(fmae_zoo.__version__),
        seed=seed,
    )
    return page, [each.title for each in shown], absent


def _listed(kind: str, items: dict[str, str]) -> str:
    rows = (f"<div><dt>{escape(key)}</dt><dd>{escape(items[key])}</dd></div>" for key in items)
    return f'<dl class="{kind}">{"".join(rows)}</dl>' if items else ""


__all__ = ["page_of"]
