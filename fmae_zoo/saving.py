"""The function `save`, which writes a model as the folder of an entry."""

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

    Files are written to a temporary folder first and then moved, the manifest last. So a full disk
    does not change the old files, and an interruption never leaves a manifest that does not match.
    `load("local:FOLDER")` reads the model back.

    Args:
        model: An autoencoder, or a classifier on the encoder of one. A classifier keeps its
            labels, its precision, and whether its encoder is trainable.
        folder: Folder of the entry, created if it does not exist.
        training: Record of the training, or None.
        images: Images for the goldens, as the model takes them. The first eight are saved and
            published with the model. The default is resized images of Fashion-MNIST.
        labels: Array of the images' classes, for a model whose spec has classes; each class in
            turn by default.

    Returns:
        The folder.

    Raises:
        WeightsError: A weight is NaN or infinite; such a file could not be loaded.
        ImagesError: The images have a shape, dtype or range that the model does not take.
        ArgumentError: The model has the wrong type or layers that its spec does not give; or the
            folder is a file, or holds another spec or the other kind of model.
        OSError: The folder cannot be written, or the disk is full.
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
    """Yield an empty folder for the files of an entry; on success move them into `folder`.

    The old manifest is removed first and the new one moved last, so an interruption leaves none.
    Old samplers are removed too, because they were fitted to the codes of other weights.
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
    """Raise if saving a model of this spec into a folder would overwrite another model.

    Raises:
        ArgumentError: The folder is a file, holds another spec, or holds an autoencoder while a
            classifier is to be saved or the other way round.
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
    """Return the manifest with the current sizes and digests of the files in the folder."""
    files = {}
    for name in RECORDED_FILES:
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            files[name] = FileRecord(sha256=sha256_of(content), size=len(content))
    return manifest.model_copy(update={"files": files})


def golden_of(
    model: "Autoencoder | Classifier", images: Any = None, labels: Any = None
) -> dict[str, np.ndarray]:
    """Return a few images and the outputs that every backend must give, computed in float32.

    The outputs are the codes and reconstructions of an autoencoder (with the labels if its spec
    has classes), or the probabilities of a classifier.

    Raises:
        ImagesError: The images have a shape, dtype or range that the model does not take.
        ArgumentError: The labels are neither integers in the range of the classes nor one-hot.
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
    """Return the first images of the sample, resized; in colour, each channel is another image."""
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
