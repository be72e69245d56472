"""The model card of an entry: the README.md of its repo, made from its spec and manifest.

`figures.py` lists the figures and how each was measured, `metadata.py` writes what the Hub reads,
`template.md` and `body.py` what people read, and `document.py` keeps what a person has written.
"""

import re
from collections.abc import Sequence

from fmae_zoo.card.body import body_of
from fmae_zoo.card.document import BEGIN, END, Document
from fmae_zoo.card.metadata import MODEL_INDEX, OTHER, disowned, eval_results_of, metadata_of
from fmae_zoo.entry import Entry
from fmae_zoo.errors import ArgumentError, SpecError
from fmae_zoo.hub.address import check_repo
from fmae_zoo.layout import CARD_FILE
from fmae_zoo.manifest import Manifest

_MERGED = ("tags", "datasets")
"""Metadata lists to which a person may add."""


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
    manifest = entry.manifest
    card = Document.parse(existing or "", f"{repo}: {CARD_FILE}")
    head = entry.head
    metadata = metadata_of(entry.spec, manifest, repo, head is not None)
    for key in _MERGED:
        merged = {*metadata.get(key, ()), *card.items(key)} - disowned(manifest)
        metadata |= {key: sorted(merged)} if merged else {}
    card = card.with_metadata(metadata, ("license_name", MODEL_INDEX, *_MERGED))
    text = card.with_block(body_of(entry.spec, manifest, repo, pictures, head)).text
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

    metadata = Document.parse(text, source).metadata()
    if not metadata:
        raise SpecError(f"{source}: it has no metadata; expected a license at least")
    try:
        results = ModelCardData(**metadata).eval_results or []
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SpecError(f"{source}: its metadata cannot be read: {error}") from None
    key = "license_name" if metadata.get("license") == OTHER else "license"
    licence = metadata.get(key)
    if not isinstance(licence, str) or not licence.strip():
        raise SpecError(
            f"{source}: {key}: expected the name of a licence, as apache-2.0; received {licence!r}"
        )
    if manifest is None:
        return
    expected = eval_results_of(manifest)
    for result in results:
        name = f"{source}: {MODEL_INDEX}: {result.metric_name or result.metric_type}"
        same = (each for each in expected if each.metric_name == result.metric_name)
        ours = next(same, None)
        if ours is None:
            raise SpecError(f"{name}: the manifest has no such figure, or the card has it twice")
        expected.remove(ours)
        if result.metric_value != ours.metric_value:
            raise SpecError(
                f"{name}: expected {ours.metric_value!r}, as the manifest has it; "
                f"received {result.metric_value!r}"
            )
        if result != ours:
            raise SpecError(f"{name}: its task, data or settings are not the manifest's")
    if expected:
        missing = "; ".join(str(each.metric_name) for each in expected)
        raise SpecError(f"{source}: {MODEL_INDEX}: figures of the manifest are missing: {missing}")


__all__ = ["BEGIN", "END", "card_of", "check_card"]
