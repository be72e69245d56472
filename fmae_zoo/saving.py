"""`save`: a model becomes the folder of an entry, whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.arguments import check_folder
from fmae_zoo.component import Shape
from fmae_zoo.errors import ArgumentError, SpecError
from fmae_zoo.files import SAVING, sha256_of, write_text
from fmae_zoo.head import Head
from fmae_zoo.layout import (
    CARD_FILE,
    CLASSIFIER_FILE,
    GOLDEN_FILE,
    RECORDED_FILES,
    SAMPLERS_FILE,
    TRAINING_FILES,
    weights_files_of,
)
from fmae_zoo.manifest import MANIFEST_FILE, FileRecord, Manifest, TrainingRecord
from fmae_zoo.spec import SPEC_FILE, ModelSpec

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.classifier import Classifier

GOLDEN_IMAGES = 8


def save(
    model: "Autoencoder | Classifier",
    folder: str | Path,
    training: TrainingRecord | None = None,
    images: Any = None,
    labels: Any = None,
) -> Path:
    """Write a model as an entry: spec, weights, goldens and manifest.

    Everything is written beside the folder first and then moved in, the manifest last, so a
    full disk leaves what was there, and a stop leaves no manifest that claims otherwise.
    `load("local:FOLDER")` reads it back.

    Args:
        model: the autoencoder; or a classifier on the encoder of one, which comes back with its
            labels, its precision, and its encoder frozen or not.
        folder: made where it does not exist.
        training: how the weights came to be.
        images: as the model takes them; the first eight go into the goldens, and with these to
            whoever gets the model. By default they are Fashion-MNIST's, made to fit.
        labels: of the images, an array, for a model whose decoder is told them; each class in turn
            by default.

    Returns:
        The folder.

    Raises:
        WeightsError: a weight is NaN or infinite: such a file would not load.
        ArgumentError: it is neither; its layers are not those of its spec; or the folder is a
            file, of another spec, or holds the one where the other is saved.
        OSError: the folder cannot be written, or the disk is full.
    """
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.classifier import Classifier
    from fmae_zoo.samplers import tensors_of
    from fmae_zoo.weights import count_of, named_variables, save_tensors, save_weights

    if not isinstance(model, (Autoencoder, Classifier)):
        raise ArgumentError(
            f"Expected an Autoencoder or a Classifier to save; received {type(model).__name__}"
        )
    folder = check_folder("folder", folder)
    head = Head.of(model) if isinstance(model, Classifier) else None
    spec = model.spec
    assert spec is not None
    check_folder_for(spec, folder, head is not None)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, Classifier):
        counts = {"encoder": model.encoder.count_params(), "head": model.head.count_params()}
        stored = {CLASSIFIER_FILE: named_variables(model)}
    else:
        parts = model.parts()
        counts = {name: count_of(variables) for name, variables in parts.items()}
        stored = {f"{name}.safetensors": variables for name, variables in parts.items()}
    manifest = Manifest(
        name=spec.name,
        tag=spec.tag,
        licence=spec.licence,
        spec_sha256=spec.digest,
        parameters=counts,
        training=training,
    )
    with prepared(folder) as new:
        if not (folder / SPEC_FILE).exists():
            write_text(new / SPEC_FILE, spec_toml(spec))
        if head is not None:
            head.write(new)
        for name, variables in stored.items():
            save_weights(variables, new / name)
        save_tensors(golden_of(model, images, labels), new / GOLDEN_FILE)
        if isinstance(model, Autoencoder) and model.fitted:
            save_tensors(tensors_of(model.fitted), new / SAMPLERS_FILE)
            manifest = manifest.model_copy(update={"sampler": model.sampler or ""})
        if training is not None:
            for name in TRAINING_FILES:
                if (folder / name).is_file():
                    shutil.copy(folder / name, new / name)
        record_files(new, manifest).write(new)
    return folder


@contextmanager
def prepared(folder: Path) -> Iterator[Path]:
    """Give an empty folder for the files of an entry; on success move them into `folder`.

    The old manifest goes first and the new one comes last: a stop in between leaves none. Samplers
    that were there go too, for they are of the codes of other weights.
    """
    with tempfile.TemporaryDirectory(prefix=SAVING, dir=folder) as temporary:
        new = Path(temporary)
        yield new
        for name in (MANIFEST_FILE, SAMPLERS_FILE):
            (folder / name).unlink(missing_ok=True)
        for name in (SPEC_FILE, *RECORDED_FILES, CARD_FILE, MANIFEST_FILE):
            if (new / name).is_file():
                os.replace(new / name, folder / name)


def check_folder_for(spec: ModelSpec, folder: Path, is_classifier: bool = False) -> None:
    """Refuse a folder that a model of this spec cannot be saved in without losing something.

    Raises:
        ArgumentError: it is a file; or holds another spec, which a person may have written; or
            an autoencoder where a classifier is saved, or the other way round.
    """
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"{folder}: a file is there; expected a folder")
    for name in weights_files_of(not is_classifier):
        if (folder / name).exists():
            kinds = ("an autoencoder", "a classifier")
            raise ArgumentError(
                f"{folder / name}: the folder holds {kinds[not is_classifier]}, and "
                f"{kinds[is_classifier]} is to be saved. Choose another folder."
            )
    path = folder / SPEC_FILE
    if not path.exists():
        return
    try:
        same = ModelSpec.from_toml(path) == spec
    except SpecError:
        same = False
    if not same:
        raise ArgumentError(
            f"{path}: holds another spec than the model's, and would be overwritten. "
            "Choose another folder."
        )


def record_files(folder: Path, manifest: Manifest) -> Manifest:
    """Return the manifest with the digests of the files as they are in the folder."""
    files = {}
    for name in RECORDED_FILES:
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            files[name] = FileRecord(sha256=sha256_of(content), size=len(content))
    return manifest.model_copy(update={"files": files})


def golden_of(
    model: "Autoencoder | Classifier", images: Any = None, labels: Any = None
) -> dict[str, np.ndarray]:
    """Return a few images, and the outputs every backend must give, computed in float32.

    They are the codes and reconstructions of an autoencoder, with the labels that its decoder is
    told where it is, and the probabilities of a classifier.

    Raises:
        ImagesError: the images are none, or of another shape or type than the model takes.
        ArgumentError: the labels are neither integers in the range of the classes nor one-hot.
    """
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.classifier import Classifier
    from fmae_zoo.images import array_shape, as_images, to_numpy
    from fmae_zoo.training.classification import class_numbers

    shape = model.image_shape
    images = _sample_images(shape) if images is None else to_numpy(images)[:GOLDEN_IMAGES]
    checked = as_images(images, shape)
    images = (images if images.dtype == np.uint8 else checked).reshape(-1, *array_shape(shape))
    if isinstance(model, Classifier):
        return {"images": images, "probabilities": model.in_float32().predict(images)}
    if model.dtype_policy.name != "float32":
        exact = Autoencoder(model.spec, dtype="float32")
        exact.set_weights(model.get_weights())
        model = exact
    golden = {"images": images, "codes": model.encode(images)}
    label = None
    if model.spec.classes is not None:
        in_turn = np.arange(len(images)) % model.spec.classes
        label = in_turn if labels is None else labels[: len(images)]
        label = golden["labels"] = class_numbers(label, len(images), model.spec.classes)
    return golden | {"reconstructions": model.decode(golden["codes"], label=label)}


def _sample_images(shape: Shape) -> np.ndarray:
    """Return the first images of the sample, resized; of colour, one in each channel."""
    from PIL import Image

    from fmae_zoo.datasets import load_sample
    from fmae_zoo.images import array_shape

    height, width, channels = shape
    images = load_sample().test_images[: GOLDEN_IMAGES + channels - 1]
    if images.shape[1:] != (height, width):
        pictures = [Image.fromarray(image).resize((width, height)) for image in images]
        images = np.stack([np.asarray(picture) for picture in pictures])
    shifted = [images[start : start + GOLDEN_IMAGES] for start in range(channels)]
    return np.stack(shifted, axis=-1).reshape(-1, *array_shape(shape))


def spec_toml(spec: ModelSpec) -> str:
    """Return a spec as TOML text."""
    import tomli_w

    return tomli_w.dumps(spec.model_dump(mode="json", exclude_none=True))
