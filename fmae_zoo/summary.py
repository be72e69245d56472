"""Row of figures of an entry, for lists, tables and the README."""

from typing import Any

from fmae_zoo.entry import Entry
from fmae_zoo.errors import SpecError
from fmae_zoo.evaluation import columns
from fmae_zoo.evaluation.published import figures_of
from fmae_zoo.registry import short_name


def summary_of(entry: Entry) -> dict[str, Any]:
    """Return name, sizes and published test figures by column; a missing value is None.

    If several protocols fill one column, the last one with a value counts: `frozen_head` is the
    accuracy on the spatial features of a convolutional encoder, else on the latent.

    Raises:
        SpecError: A figure in the manifest is not a number.
    """
    manifest = entry.manifest if entry.pretrained else None
    row: dict[str, Any] = {
        "name": short_name(entry),
        "latent": entry.spec.latent.size,
        "parameters": sum(manifest.parameters.values()) if manifest else None,
        "epochs": manifest.training.epochs if manifest and manifest.training else None,
        **dict.fromkeys(columns()),
    }
    try:
        for figure in figures_of(manifest) if manifest else ():
            for measure in figure.protocol.results:
                if measure.column and measure.key in figure.values:
                    row[measure.column_key] = figure.values[measure.key]
    except SpecError as error:
        raise SpecError(f"{entry.folder}/{error}") from None
    return row | {"weights": manifest is not None}
