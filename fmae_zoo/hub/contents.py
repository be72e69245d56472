"""The files of a repo of the zoo: an entry's folder, prepared for publishing and checked."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from fmae_zoo.autoencoder import Autoencoder
from fmae_zoo.card import card_of
from fmae_zoo.classifier import Classifier
from fmae_zoo.entry import Entry
from fmae_zoo.errors import PushRefusedError
from fmae_zoo.files import write_text
from fmae_zoo.head import HEAD_FILE
from fmae_zoo.layers import stock
from fmae_zoo.layout import (
    CARD_FILE,
    DRAWS_FILE,
    GOLDEN_FILE,
    INTERPOLATIONS_FILE,
    KERAS_FILES,
    LOGS_FOLDER,
    PICTURE_FILES,
    RECONSTRUCTIONS_FILE,
    RECORDED_FILES,
    REPORT_FILES,
    SAMPLERS_FILE,
    TRAINING_FILES,
    TRAVERSALS_FILE,
    VALUE_FILE,
)
from fmae_zoo.manifest import MANIFEST_FILE, HubRecord
from fmae_zoo.registry import find_entry
from fmae_zoo.saving import record_files, save
from fmae_zoo.spec import SPEC_FILE
from fmae_zoo.training.checkpoint import BEST_FILE, CHECKPOINT_FILE
from fmae_zoo.types import Model
from fmae_zoo.verification import check_entry
from fmae_zoo.weights import read_tensors

REPO_FILES = (SPEC_FILE, MANIFEST_FILE, *RECORDED_FILES, CARD_FILE)
"""Names of the files that `push` writes into a repo, and may remove from it."""

_UNRECORDED = (SPEC_FILE, CARD_FILE)
_LEFT_AT_HOME = (CHECKPOINT_FILE, BEST_FILE, *REPORT_FILES, VALUE_FILE)
_PICTURED, _DRAWN, _COLUMNS = 10, 36, 9
_SECRETS = {
    "a Hugging Face token": rb"\b(?:hf|api_org)_[A-Za-z0-9]{30,}",
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----",
    "an AWS key": rb"\bAKIA[0-9A-Z]{16}\b",
    "a GitHub token": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{40,})",
    "a Slack token": rb"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    "an API key": rb"\bsk-[A-Za-z0-9_-]{40,}",
}


def stage(source: str | Path | Autoencoder | Classifier, folder: Path) -> Entry:
    """Write all files of an entry's repo, except its card, into an empty folder.

    Args:
        source: An `Autoencoder`, a `Classifier`, a registered name or a folder.
        folder: Empty folder to write to.

    Returns:
        The entry in the folder. Its manifest pins no Hub commit, since it becomes part of one.

    Raises:
        PushRefusedError: The entry is incomplete, has unknown files, or fails a check.
        UnknownModelError, SpecError, NoWeightsError: There is no such entry with weights.
        WeightsError: A weight of the model is NaN or infinite.
        ArgumentError: The encoder of a classifier does not belong to a spec.
    """
    if isinstance(source, (Autoencoder, Classifier)):
        save(source, folder)
        entry = Entry.read(folder)
    else:
        entry = find_entry(source)
        if entry.folder is not None:
            _check_known(entry.folder)
    manifest = entry.manifest
    needed = (*entry.weights_files, GOLDEN_FILE)
    missing = [name for name in needed if name not in manifest.files]
    if missing:
        raise PushRefusedError(f"{entry.folder}: its manifest records no {', '.join(missing)}")
    checks, model = check_entry(entry)
    failed = [f"  {check.name}: {check.detail}" for check in checks if check.passed is False]
    if failed or model is None:
        raise PushRefusedError(
            f"{entry.folder}: not what its manifest says; nothing was sent.\n" + "\n".join(failed)
        )
    assert entry.folder is not None
    if entry.folder != folder:
        for name in (SPEC_FILE, CARD_FILE, HEAD_FILE, SAMPLERS_FILE, *needed, *TRAINING_FILES):
            if (entry.folder / name).is_file() and (name in manifest.files or name in _UNRECORDED):
                shutil.copy(entry.folder / name, folder / name)
    if isinstance(model, Classifier):
        _write_keras(model.as_functional(), folder)
    else:
        _write_keras(model.encoder, folder)
        _draw(model, folder)
    changes: dict[str, Any] = {"hub": HubRecord()}
    if manifest.training is not None:
        # Folders of the user's machine are not published.
        source = manifest.training.data_source.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
        changes["training"] = manifest.training.model_copy(update={"data_source": source})
    record_files(folder, manifest.model_copy(update=changes)).write(folder)
    return Entry.read(folder)


def pictures_in(folder: Path) -> list[str]:
    """Return the names of the pictures in a staged folder, for its card."""
    return [name for name in (*PICTURE_FILES, TRAINING_FILES[1]) if (folder / name).is_file()]


def contents_of(entry: Entry, repo: str, existing: str | None = None) -> dict[str, bytes]:
    """Return the contents of a staged entry's files and of its card, by name.

    Args:
        entry: Entry that `stage` returned.
        repo: Name of the repo, `NAMESPACE/NAME`.
        existing: Card in the repo, whose other texts are kept; by default the entry's own.

    Raises:
        SpecError: The existing card is damaged.
    """
    assert entry.folder is not None
    existing = entry.card() if existing is None else existing
    card = card_of(entry, repo, pictures=pictures_in(entry.folder), existing=existing)
    files = {path.name: path.read_bytes() for path in sorted(entry.folder.iterdir())}
    return {**files, CARD_FILE: card.encode()}


def check_secrets(contents: dict[str, bytes], token: str | None) -> None:
    """Raise an error if a content holds a secret, such as a token or private key.

    Args:
        contents: Contents by name.
        token: Token in use, which must not be in a content either.

    Raises:
        PushRefusedError: There is a secret; the message names the content and the kind of secret.
    """
    for name, content in contents.items():
        found = [kind for kind, pattern in _SECRETS.items() if re.search(pattern, content)]
        if token and token.encode() in content:
            found.append("the token in use")
        if found:
            raise PushRefusedError(f"{name} holds {', '.join(found)}; nothing was sent")


def _check_known(folder: Path) -> None:
    """Raise an error if a folder holds anything that is neither published nor left at home."""
    known = {*REPO_FILES, *_LEFT_AT_HOME}
    unknown = sorted(
        path.name
        for path in folder.iterdir()
        if not (path.name.startswith(".") or path.name == LOGS_FOLDER)
        and (path.name not in known or not path.is_file() or path.is_symlink())
    )
    if unknown:
        raise PushRefusedError(
            f"{folder}: {', '.join(unknown)}: not a file of an entry; nothing was sent. Take it "
            "out of the folder, or push the model from another."
        )


def _write_keras(model: Model, folder: Path) -> None:
    """Write a model in Keras' own format; the same weights give the same bytes.

    All layers are Keras' own. Keras would write the time and memory addresses into the files, so
    that a repeated push could not be recognised.
    """
    import keras

    new = folder / "native"
    keras.saving.save_model(stock(model), str(new), zipped=False)
    config, metadata, weights = KERAS_FILES
    content = json.dumps(json.loads((new / config).read_text(encoding="utf-8")), indent=1)
    known: dict[str, int] = {}
    content = re.sub(
        r'(?<="shared_object_id": )\d+',
        lambda found: str(known.setdefault(found[0], len(known) + 1)),
        content,
    )
    write_text(folder / config, content + "\n")
    versions = {"keras_version": keras.version()}
    write_text(folder / metadata, json.dumps(versions) + "\n")
    (new / weights).rename(folder / weights)
    shutil.rmtree(new)


def _draw(model: Autoencoder, folder: Path) -> None:
    """Draw the card's pictures: of one image of each class, or of the golden images.

    They are reconstructions; generated images, if there is a sampler; and, if there are two images
    or more, traversals of the most used values of a code, and interpolations unless the decoder
    reads a class.
    """
    import numpy as np

    from fmae_zoo.datasets import load_sample
    from fmae_zoo.plots import plot_grid, plot_reconstructions

    golden = read_tensors(folder / GOLDEN_FILE)
    images, labels = golden["images"], golden.get("labels")
    many = images
    if model.spec.takes_fashion_mnist:
        sample = load_sample()
        of_each = [int(np.argmax(sample.labels[1] == label)) for label in range(_PICTURED)]
        images, many = sample.test_images[of_each], sample.train_images
        labels = None if labels is None else sample.labels[1][of_each]
    pairs = model.reconstruct(images, label=labels)
    plot_reconstructions(images, pairs, folder / RECONSTRUCTIONS_FILE)
    if model.sampler is not None:
        plot_grid(model.generate(_DRAWN), folder / DRAWS_FILE, columns=_COLUMNS)
    if len(many) < 2:
        return
    label = None if labels is None else int(labels[0])
    rows = {TRAVERSALS_FILE: model.traverse(images[0], steps=_COLUMNS, images=many, label=label)}
    if labels is None:
        half = len(images) // 2
        rows[INTERPOLATIONS_FILE] = model.interpolate(images[:half], images[-half:], _COLUMNS)
    for name, made in rows.items():
        plot_grid(made.reshape(-1, *made.shape[2:]), folder / name, columns=_COLUMNS)
