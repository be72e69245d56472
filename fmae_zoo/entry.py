"""An entry is a folder: read one, write one, build the model in it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmae_zoo.arguments import check_folder
from fmae_zoo.component import Shape
from fmae_zoo.errors import ArgumentError, NoWeightsError, SpecError, WeightsError
from fmae_zoo.files import SAVING, has_digest, sha256_of, write_text
from fmae_zoo.head import HEAD_FILE, Head
from fmae_zoo.hub.options import DEFAULT_OPTIONS, HubOptions
from fmae_zoo.manifest import MANIFEST_FILE, FileRecord, Manifest, TrainingRecord
from fmae_zoo.spec import SPEC_FILE, ModelSpec

if TYPE_CHECKING:
    from fmae_zoo.autoencoder import Autoencoder
    from fmae_zoo.classifier import Classifier

ENCODER_FILE = "encoder.safetensors"
DECODER_FILE = "decoder.safetensors"
CRITIC_FILE = "critic.safetensors"
"""What an objective learns itself, where it does."""
SAMPLERS_FILE = "samplers.safetensors"
"""Samplers that were fitted to the codes after the training."""
CLASSIFIER_FILE = "classifier.safetensors"
GOLDEN_FILE = "golden.safetensors"
GOLDEN_IMAGES = 8
PARTS = ("encoder", "decoder")
HISTORY_FILE = "history.csv"
CURVES_FILE = "curves.png"
TRAINING_FILES = (HISTORY_FILE, CURVES_FILE)
KERAS_FILES = ("config.json", "metadata.json", "model.weights.h5")
"""The encoder, or the classifier, in Keras' own format, which `push` adds."""
RECONSTRUCTIONS_FILE = "reconstructions.png"
DRAWS_FILE = "draws.png"
INTERPOLATIONS_FILE = "interpolations.png"
TRAVERSALS_FILE = "traversals.png"
PICTURE_FILES = (RECONSTRUCTIONS_FILE, DRAWS_FILE, INTERPOLATIONS_FILE, TRAVERSALS_FILE)
"""Of the model's images, which `push` draws for the card."""
REPORT_FILES = ("report.json", "confusion-frozen.png", "confusion-fine-tuned.png")
"""What `fmae classify` writes beside a classifier."""
CARD_FILE = "README.md"
RECORDED_FILES = (
    HEAD_FILE,
    ENCODER_FILE,
    DECODER_FILE,
    CRITIC_FILE,
    SAMPLERS_FILE,
    CLASSIFIER_FILE,
    GOLDEN_FILE,
    *TRAINING_FILES,
    *KERAS_FILES,
    *PICTURE_FILES,
)
"""The files whose digests the manifest holds, where they are there."""


@dataclass(frozen=True)
class Entry:
    """A spec, and where there is one the folder that it lies in.

    It is of an autoencoder; or of a classifier on the encoder of one, where the manifest records
    a description of its head.

    Attributes:
        spec: what a person wrote.
        folder: where weights and manifest are, or None for a spec without a folder.
        options: how the Hub is asked for what the folder does not have.
    """

    spec: ModelSpec
    folder: Path | None = None
    options: HubOptions = DEFAULT_OPTIONS

    @classmethod
    def read(cls, folder: str | Path) -> "Entry":
        """Read the entry in a folder.

        Raises:
            SpecError: there is no valid spec.toml in it.
        """
        folder = Path(folder)
        return cls(ModelSpec.from_toml(folder / SPEC_FILE), folder)

    @property
    def pretrained(self) -> bool:
        """Whether the folder records trained weights."""
        return self.folder is not None and (self.folder / MANIFEST_FILE).is_file()

    @property
    def manifest(self) -> Manifest:
        """What a program wrote about the entry, as it is in the folder now.

        Raises:
            NoWeightsError: the entry was never trained.
            SpecError: the manifest is damaged, or of another model.
        """
        if not self.pretrained:
            raise NoWeightsError(
                f"{self.spec.full_name} has no pretrained weights. Train it with: "
                f"fmae train {self.folder or self.spec.full_name}"
            )
        assert self.folder is not None
        manifest = Manifest.read(self.folder)
        if (manifest.name, manifest.tag) != (self.spec.name, self.spec.tag):
            raise SpecError(
                f"{self.folder / MANIFEST_FILE}: name, tag: expected {self.spec.full_name}; "
                f"received {manifest.name}.{manifest.tag}"
            )
        return manifest

    @property
    def is_classifier(self) -> bool:
        """Whether the weights are of a classifier on the spec's encoder.

        Raises:
            SpecError: as `manifest`.
        """
        return self.pretrained and HEAD_FILE in self.manifest.files

    @property
    def head(self) -> Head | None:
        """The description of a classifier's head, verified; None for an autoencoder.

        Raises:
            SpecError: it, or the manifest, is damaged.
            WeightsError: it is not the one that the manifest records.
            HubError: the Hub does not give it.
        """
        return Head.read(*self.file(HEAD_FILE)) if self.is_classifier else None

    @property
    def title(self) -> str:
        """The full name of the spec, and that it is a classifier on it where it is one."""
        return title_of(self.spec, self.is_classifier)

    @property
    def weights_files(self) -> tuple[str, ...]:
        """The names of the files that hold the weights."""
        own = weights_files_of(self.is_classifier)
        return (*own, CRITIC_FILE) if CRITIC_FILE in self.manifest.files else own

    @property
    def read_only(self) -> bool:
        """Whether nothing may be written into the folder."""
        return False

    def check_spec(self) -> None:
        """Refuse a spec that was edited after the weights were trained by it.

        Raises:
            NoWeightsError: the entry was never trained.
            SpecError: the manifest has the digest of another spec, or is damaged.
        """
        expected = self.manifest.spec_sha256
        if expected and expected != self.spec.digest:
            raise SpecError(
                f"{self.folder}: {SPEC_FILE} was edited: it is not the one that the weights were "
                f"trained by, whose digest {MANIFEST_FILE} has as spec_sha256.\n"
                f"  expected {expected}\n  received {self.spec.digest}\n"
                f"Put the {SPEC_FILE} of the training back, or train by this one: "
                f"fmae train {self.folder} -o ANOTHER_FOLDER"
            )

    def record(self, name: str) -> FileRecord:
        """Return size and digest that a file of the entry must have.

        Raises:
            NoWeightsError: the manifest records no such file.
        """
        return self._record_in(self.manifest, name)

    def _record_in(self, manifest: Manifest, name: str) -> FileRecord:
        record = manifest.files.get(name)
        if record is None:
            raise NoWeightsError(f"{self.spec.full_name}: its manifest records no {name}")
        return record

    def file(self, name: str) -> tuple[Path, str]:
        """Return the path of a file of the entry, and the digest that it must have.

        Raises:
            NoWeightsError: the manifest records no such file.
        """
        record = self.record(name)
        assert self.folder is not None
        return self.folder / name, record.sha256

    def obtain(self, *names: str) -> list[tuple[Path, str]]:
        """Return as `file`, but from the Hub where the folder's copy is not as recorded.

        The Hub is asked for the commit that the manifest pins, and for nothing where the entry
        is not published; a copy that is as recorded costs no request.

        Raises:
            NoWeightsError: the manifest records no such file.
            SpecError: the spec is not the one that the weights were trained by.
            HubError: the Hub does not give it.
        """
        self.check_spec()
        manifest = self.manifest
        assert self.folder is not None
        records = [self._record_in(manifest, name) for name in names]
        found = [(self.folder / name, record.sha256) for name, record in zip(names, records)]
        pin = manifest.hub
        if not pin.commit or all(has_digest(*each) for each in found):
            return found
        from fmae_zoo.hub.address import HubAddress
        from fmae_zoo.hub.repo import Repo

        published = Repo.open(HubAddress(pin.repo, pin.commit), self.options)
        return [
            (path if has_digest(path, digest) else published.file(name, record), digest)
            for name, record, (path, digest) in zip(names, records, found)
        ]

    def card(self) -> str | None:
        """Return the text of the model card, or None where there is none.

        Raises:
            SpecError: it cannot be read.
        """
        path = self.folder / CARD_FILE if self.folder else None
        if path is None or not path.is_file():
            return None
        try:
            return path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{path}: cannot be read: {error}") from None

    def build(
        self,
        pretrained: bool = False,
        part: str | None = None,
        seed: int = 0,
        precision: str | None = None,
    ) -> Any:
        """Build the model, or one part of it, and read its weights where asked to.

        Only the file of the part that is wanted is read. The precision is float32 by default,
        and for a classifier what it was saved with.

        Raises:
            NoWeightsError: pretrained weights are asked for and there are none.
            WeightsError: they are damaged or do not fit.
            ArgumentError: a part of a classifier is asked for.
        """
        from fmae_zoo.autoencoder import Autoencoder
        from fmae_zoo.layers import without_random_weights
        from fmae_zoo.precision import resolve
        from fmae_zoo.weights import load_weights

        if self.is_classifier:
            if part is not None:
                raise ArgumentError(
                    f"{self.title} is loaded whole, and not its {part}: a classifier has no "
                    "decoder, and its encoder is `classifier.encoder`"
                )
            return self._build_classifier(pretrained, seed, precision)
        policy = resolve("float32" if precision is None else precision)
        if not pretrained:
            model = Autoencoder(self.spec, seed=seed, dtype=policy)
            return model if part is None else getattr(model, part)
        with without_random_weights():
            model = Autoencoder(self.spec, seed=seed, dtype=policy)
        wanted = {name: each for name, each in model.parts().items() if part in (None, name)}
        files = self.obtain(*(f"{name}.safetensors" for name in wanted))
        for variables, file in zip(wanted.values(), files):
            load_weights(variables, *file)
        if part is not None:
            return getattr(model, part)
        self._give_samplers(model)
        return model

    def _give_samplers(self, model: "Autoencoder") -> None:
        """Give a model the samplers that were fitted to its codes, and the name of its default.

        Raises:
            WeightsError: they are damaged, or the manifest names one that is not there.
        """
        from fmae_zoo.samplers import read_samplers

        manifest = self.manifest
        if SAMPLERS_FILE in manifest.files:
            [file] = self.obtain(SAMPLERS_FILE)
            model.fitted = read_samplers(*file, self.spec.latent.size)
        try:
            model.sampler = manifest.sampler or None
        except ArgumentError as error:
            raise WeightsError(f"{self.folder}: {error}") from None

    def _build_classifier(self, pretrained: bool, seed: int, precision: str | None) -> "Classifier":
        from fmae_zoo.autoencoder import Autoencoder
        from fmae_zoo.precision import resolve
        from fmae_zoo.weights import load_weights

        described, *weights = self.obtain(HEAD_FILE, *(self.weights_files if pretrained else ()))
        changes: dict[str, Any] = {} if pretrained else {"seed": seed}
        if precision is not None:
            resolve(precision)
            changes["precision"] = precision
        from fmae_zoo.layers import without_random_weights

        head = Head.read(*described).model_copy(update=changes)
        with without_random_weights() if pretrained else nullcontext():
            model = head.build(Autoencoder(self.spec, seed=seed).encoder)
        for file in weights:
            load_weights(model, *file)
        return model


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


def weights_files_of(is_classifier: bool) -> tuple[str, ...]:
    """Return the names of the files that hold the weights of a classifier, or an autoencoder."""
    return (CLASSIFIER_FILE,) if is_classifier else (ENCODER_FILE, DECODER_FILE)


def title_of(spec: ModelSpec, is_classifier: bool) -> str:
    """Return what a folder or a repo holds, in words."""
    return f"a classifier on {spec.full_name}" if is_classifier else spec.full_name


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
