"""What people read on the card of a classifier: all from spec, head and manifest."""

from collections.abc import Iterator

from fmae_zoo.card.body import (
    INSTALL,
    NOT_RECORDED,
    bias_of,
    counted,
    domain_of,
    example_images,
    files_section,
    images_of,
    licence_section,
    listed,
    name_of,
    parameters_of,
    record_rows,
    references_section,
    spec_block,
)
from fmae_zoo.card.figures import figures_of
from fmae_zoo.card.markup import bullets, code, enumeration, fenced, inline, plain, table
from fmae_zoo.card.metadata import data_name
from fmae_zoo.card.results import results_section
from fmae_zoo.head import HEAD_FILE, Head
from fmae_zoo.hub.address import HUB_PREFIX
from fmae_zoo.layout import CLASSIFIER_FILE, GOLDEN_FILE, KERAS_FILES
from fmae_zoo.manifest import Manifest
from fmae_zoo.spec import SPEC_FILE, ModelSpec

SHOWN_LABELS = 100
_FILE_WORDS = {
    HEAD_FILE: "what the head is, and the names of the classes",
    CLASSIFIER_FILE: "weights of encoder and head",
    GOLDEN_FILE: "images, with the probabilities that every backend must give",
    **dict.fromkeys(KERAS_FILES, "encoder and head in Keras' own format"),
}


def classifier_body_of(spec: ModelSpec, head: Head, manifest: Manifest, repo: str) -> str:
    """Return the text of a classifier's card as Markdown, without metadata and markers.

    Raises:
        SpecError: a figure in the manifest is no number.
    """
    sections = (
        _introduction(spec, head, manifest),
        _use(spec, head, repo),
        _classes(head),
        results_section(manifest),
        _parts(spec, head),
        _training(manifest),
        _limitations(spec, manifest),
        files_section(manifest, _FILE_WORDS),
        references_section(spec),
        licence_section(manifest),
    )
    return "\n\n".join(part for section in sections for part in section)


def _introduction(spec: ModelSpec, head: Head, manifest: Manifest) -> Iterator[str]:
    yield f"# Classifier on {name_of(spec)}"
    yield (
        f"It tells {head.num_classes:,} classes apart: a dense head on the encoder of an "
        f"autoencoder {code(name_of(spec))}, of which the spec says:"
    )
    yield f"> {plain(spec.summary)}"
    sizes = enumeration([parameters_of(manifest), images_of(spec)])
    yield f"{sizes}. A model of fmae_zoo, for Keras 3 with TensorFlow, PyTorch or JAX."


def _use(spec: ModelSpec, head: Head, repo: str) -> Iterator[str]:
    address, count, shape = f"{HUB_PREFIX}{repo}", head.num_classes, listed(spec.shape)
    names = "names = [classifier.labels[number] for number in p.argmax(axis=1)]\n"
    yield "## Use"
    yield fenced("bash", INSTALL)
    yield fenced(
        "python",
        f"{example_images(spec)}"
        f'classifier = fmae_zoo.load("{address}")  # a keras.Model\n'
        f"p = classifier.predict(images)  # (n, {count}) float32, each row a distribution\n"
        f"{names if head.labels else ''}"
        "tuned = classifier.unfreeze()  # a copy; its fit(images, numbers) trains all of it\n",
    )
    yield (
        "Every file is compared with its SHA-256 before it is read; "
        f"`{address}@COMMIT` pins one commit. Without fmae_zoo, plain Keras reads it too:"
    )
    yield fenced(
        "python",
        "import keras\nimport numpy as np\n\n"
        f'classifier = keras.saving.load_model("{address}")\n'
        f'images = np.zeros((4, {shape}), "float32")  # yours, in [0, 1] and not 0 to 255\n'
        f"p = classifier.predict(images)  # (4, {count})\n",
    )


def _classes(head: Head) -> Iterator[str]:
    yield "## Classes"
    if head.labels is None:
        yield f"They have no names here, only numbers: 0 to {head.num_classes - 1}."
        return
    shown = head.labels[:SHOWN_LABELS]
    yield table(("number", "name"), [(str(i), inline(name)) for i, name in enumerate(shown)], (0,))
    if len(shown) < len(head.labels):
        yield f"And {len(head.labels) - len(shown):,} more, which are in `{HEAD_FILE}`."


def _parts(spec: ModelSpec, head: Head) -> Iterator[str]:
    yield "## Encoder and head"
    frozen = "is trained by `fit` too" if head.trainable else "is frozen: `fit` trains the head"
    yield (
        f"The head reads the encoder's layer {code(head.layer)}: standardisation, "
        f"{counted(head.hidden, 'ReLU unit')}, dropout of {head.dropout:g}, softmax. As it was "
        f"saved, the encoder {frozen}, and computes in {head.precision}."
    )
    yield f"The encoder, as `{SPEC_FILE}` has it:"
    yield spec_block(spec, {"network", "latent"})


def _training(manifest: Manifest) -> Iterator[str]:
    yield "## Training"
    if manifest.training is None:
        yield (
            "As the protocol of its figures says; of the encoder's own training, in an "
            "autoencoder, nothing is recorded here."
            if figures_of(manifest)
            else NOT_RECORDED
        )
        return
    data = inline(data_name(manifest, manifest.training.data_digest))
    yield table(("", ""), [("data", data), *record_rows(manifest, manifest.training)])


def _limitations(spec: ModelSpec, manifest: Manifest) -> Iterator[str]:
    yield "## Limitations"
    yield bullets(_limits(spec, manifest))


def _limits(spec: ModelSpec, manifest: Manifest) -> Iterator[str]:
    yield (
        f"{domain_of(spec, manifest)} Any other image of that size gets probabilities too, which "
        "mean nothing: it always has one of its classes for an answer."
    )
    if figures_of(manifest):
        yield "Its figures are of the test set and of one training. Another seed gives others."
    yield "Whether its probabilities are calibrated was not measured."
    yield bias_of(manifest)
