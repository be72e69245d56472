"""The model card of an entry: the README.md of its repo, made from its spec and manifest.

`metadata.py` writes what the Hub reads, `template.md` and `body.py` what people read, and
`document.py` keeps what a person has written.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fmae_zoo.card.body import body_of
from fmae_zoo.card.document import BEGIN, END, Document
from fmae_zoo.card.metadata import FASHION_MNIST_TAG, OTHER, eval_results_of, metadata_of
from fmae_zoo.datasets import FASHION_MNIST_DIGEST, HUB_DATASET
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, SpecError
from fmae_zoo.hub.address import check_repo
from fmae_zoo.layout import CARD_FILE
from fmae_zoo.manifest import Manifest

if TYPE_CHECKING:
    from huggingface_hub import EvalResult


def card_of(
    entry: Entry, repo: str, *, pictures: Sequence[str] = (), existing: str | None = None
) -> str:
    """Return the text of README.md for an entry's repo on the Hub.

    Everything comes from the entry's spec and manifest. In an existing card, the text outside the
    markers and the metadata under other keys stay byte for byte, and tags and data sets that a
    person added are kept. The same arguments give the same bytes, and a card made again from itself
    is unchanged.

    Args:
        entry: Entry with a manifest.
        repo: Name of the repo on the Hub, `NAMESPACE/NAME`.
        pictures: Names of picture files in the repo, `reconstructions.png` for example.
        existing: Existing card, which a person may have edited. A byte order mark is removed.

    Raises:
        SpecError: The manifest has no licence, or a figure that is not a number; or the metadata or
            the markers of the existing card are damaged.
        NoWeightsError: The entry was never trained.
        ArgumentError: The name of the repo or of a picture is not valid.
    """
    check_repo(repo)
    for name in pictures:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
            raise ArgumentError(f"{name!r} is no picture; expected a file's name, without a folder")
    manifest, head = entry.manifest, entry.head
    card = Document.parse(existing or "", f"{repo}: {CARD_FILE}")
    metadata = metadata_of(entry.spec, manifest, repo, head is not None)
    of_other_data = manifest.training and manifest.training.data_digest != FASHION_MNIST_DIGEST
    not_ours = {HUB_DATASET, FASHION_MNIST_TAG} if of_other_data else set()
    for key in ("tags", "datasets"):
        metadata[key] = sorted({*metadata.get(key, ()), *card.items(key)} - not_ours) or None
    gone = dict.fromkeys({"license_name", "model-index"} - metadata.keys())
    card = card.with_metadata(metadata | gone)
    text = card.with_block(body_of(entry.spec, manifest, repo, pictures, head))
    check_card(text, manifest, card.source)
    return text


def check_card(text: str, manifest: Manifest | None = None, source: str = CARD_FILE) -> None:
    """Raise an error if the Hub or a reader of the model-index would misread a card's metadata.

    Args:
        text: Text of README.md.
        manifest: Manifest whose figures the card must have, and no others.
        source: Name of the text in error messages.

    Raises:
        SpecError: The metadata is missing, not valid YAML or not a table of keys; the licence is
            missing; the model-index cannot be read; a figure or its settings differ from the
            manifest's; or a figure of the manifest is missing.
    """
    from huggingface_hub import ModelCardData

    data = Document.parse(text, source).metadata(kind=ModelCardData)
    key = "license_name" if data.license == OTHER else "license"
    licence = data.get(key)
    if not isinstance(licence, str) or not licence.strip():
        raise SpecError(
            f"{source}: metadata: {key}: expected the name of a licence, as apache-2.0; "
            f"received {licence!r}"
        )
    if manifest is None:
        return
    expected, received = map(_by_name, (eval_results_of(manifest), data.eval_results or []))
    for name in expected | received:
        ours, theirs = expected.get(name, []), received.get(name, [])
        if ours != theirs:
            raise SpecError(f"{source}: model-index: {name}: {_difference(ours, theirs)}")


def _difference(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """Return in words how the results of one name differ from the manifest's."""
    if len(ours) != len(theirs):
        return f"expected {len(ours)} such figures, as in the manifest; received {len(theirs)}"
    keys = sorted({key for one, other in zip(ours, theirs) for key in one | other})
    return "; ".join(
        f"{key}: expected {one.get(key)!r}, as in the manifest; received {other.get(key)!r}"
        for one, other in zip(ours, theirs)
        for key in keys
        if one.get(key) != other.get(key)
    )


def _by_name(results: "list[EvalResult]") -> dict[str, list[dict[str, Any]]]:
    """Return what the results say, by the name of the metric, which should be there once."""
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        said = {key: value for key, value in vars(result).items() if value is not None}
        found.setdefault(str(said.pop("metric_name", "")), []).append(said)
    return found


__all__ = ["BEGIN", "END", "card_of", "check_card"]
