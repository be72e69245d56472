"""What people read on a card: every number from the spec or the manifest, none typed."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

import tomli_w

from fmae_zoo.card.figures import figures_of
from fmae_zoo.card.markup import bullets, code, enumeration, fenced, inline, plain, table
from fmae_zoo.card.metadata import data_name, is_of_fashion_mnist
from fmae_zoo.card.results import environment_words, results_section
from fmae_zoo.datasets import FASHION_MNIST_DIGEST, VALIDATION_SIZE
from fmae_zoo.evaluation.figure import CLASSIFICATION
from fmae_zoo.hub.address import HUB_PREFIX
from fmae_zoo.images import array_shape
from fmae_zoo.layout import (
    CRITIC_FILE,
    CURVES_FILE,
    DECODER_FILE,
    DRAWS_FILE,
    ENCODER_FILE,
    GOLDEN_FILE,
    HISTORY_FILE,
    INTERPOLATIONS_FILE,
    KERAS_FILES,
    RECONSTRUCTIONS_FILE,
    SAMPLERS_FILE,
    TRAINING_FILES,
    TRAVERSALS_FILE,
)
from fmae_zoo.manifest import MANIFEST_FILE, Manifest, TrainingRecord
from fmae_zoo.samplers import PRIOR
from fmae_zoo.spec import DEFAULT_TAG, SPEC_FILE, ModelSpec

_FILE_WORDS = {
    ENCODER_FILE: "weights of the encoder",
    DECODER_FILE: "weights of the decoder",
    CRITIC_FILE: "weights of the objective's critic",
    SAMPLERS_FILE: "samplers that were fitted to the codes of training images",
    GOLDEN_FILE: "images, with the codes and reconstructions that every backend must give",
    HISTORY_FILE: "loss and its terms, epoch by epoch",
    CURVES_FILE: "the loss as a picture",
    RECONSTRUCTIONS_FILE: "images and their reconstructions",
    DRAWS_FILE: "images decoded from draws of the default sampler",
    INTERPOLATIONS_FILE: "images decoded from codes between those of two images",
    TRAVERSALS_FILE: "images decoded from a code of which one value is moved in each row",
    **dict.fromkeys(KERAS_FILES, "the encoder in Keras' own format"),
}
_PICTURE_WORDS = {
    RECONSTRUCTIONS_FILE: "Images over their reconstructions by {}",
    DRAWS_FILE: "Draws of the default sampler, decoded by {}",
    INTERPOLATIONS_FILE: "From one image to another, along straight lines in the codes of {}",
    TRAVERSALS_FILE: "One code; in each row one of the most used values is moved, decoded by {}",
    CURVES_FILE: "Loss of {} over the epochs",
}
INSTALL = 'pip install "fmae-zoo[jax]"  # or [torch], [tensorflow]'
FAR = 2.0
"""Times as far from real images as reconstructions: draws of a prior that are farther are named."""

NOT_RECORDED = "The manifest does not record how these weights were trained, nor on what data."
_TOML_LIST = re.compile(r"\[\n((?:    [\d._+-]+,\n)+)\]")

FASHION_MNIST_CITATION = """\
@misc{xiao2017fashionmnist,
  title = {Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms},
  author = {Xiao, Han and Rasul, Kashif and Vollgraf, Roland},
  year = {2017},
  eprint = {1708.07747},
  archivePrefix = {arXiv}
}"""


def body_of(spec: ModelSpec, manifest: Manifest, repo: str, pictures: Sequence[str]) -> str:
    """Return the card's text as Markdown, without metadata and markers.

    Raises:
        SpecError: a figure in the manifest is no number.
    """
    of_training = [name for name in pictures if name in TRAINING_FILES]
    sections = (
        _introduction(spec, manifest),
        _pictures([name for name in pictures if name not in TRAINING_FILES], spec),
        _use(spec, manifest, repo),
        results_section(manifest),
        _training(spec, manifest),
        _pictures(of_training, spec),
        _limitations(spec, manifest),
        files_section(manifest, _FILE_WORDS),
        references_section(spec),
        licence_section(manifest),
    )
    return "\n\n".join(part for section in sections for part in section)


def _introduction(spec: ModelSpec, manifest: Manifest) -> Iterator[str]:
    yield f"# {name_of(spec)}"
    yield plain(spec.summary)
    sizes = [
        parameters_of(manifest),
        f"codes of {counted(spec.latent.size, 'value')}",
        images_of(spec),
    ]
    yield (
        f"{enumeration(sizes)}. A model of fmae_zoo, for Keras 3 with TensorFlow, PyTorch or JAX."
    )


def _use(spec: ModelSpec, manifest: Manifest, repo: str) -> Iterator[str]:
    address, size, shape = f"{HUB_PREFIX}{repo}", spec.latent.size, listed(spec.shape)
    draw, labels, told = "16", "", ""
    if spec.classes is not None:
        draw, told = "16, label=0", ", label=labels"
        labels = f"labels = [0] * len(images)  # of each image, in 0..{spec.classes - 1}\n"
    sampler = manifest.sampler or (PRIOR if spec.latent.has_prior else "")
    draw = f"new = ae.generate({draw})  # (16, {shape}): decoded draws of the sampler {sampler}\n"
    yield "## Use"
    yield fenced("bash", INSTALL)
    yield fenced(
        "python",
        f"{example_images(spec)}{labels}"
        f'ae = fmae_zoo.load("{address}")  # a keras.Model\n'
        f"z = ae.encode(images)  # (n, {size}) float32, deterministic\n"
        f"x = ae.reconstruct(images{told})  # (n, {shape}) float32 in [0, 1]\n"
        f"{draw if sampler else ''}\n"
        "# A plain Functional model; only the encoder's file is read.\n"
        f'encoder = fmae_zoo.load("{address}", part="encoder")\n',
    )
    yield (
        "Every file is compared with its SHA-256 before it is read; "
        f"`{address}@COMMIT` pins one commit. Without fmae_zoo, plain Keras reads the encoder:"
    )
    yield fenced(
        "python",
        "import keras\nimport numpy as np\n\n"
        f'encoder = keras.saving.load_model("{address}")\n'
        f'images = np.zeros((4, {shape}), "float32")  # yours, in [0, 1] and not 0 to 255\n'
        f"z = encoder.predict(images)  # (4, {size})\n",
    )


def _training(spec: ModelSpec, manifest: Manifest) -> Iterator[str]:
    yield "## Training"
    if manifest.training is None:
        yield NOT_RECORDED
        yield "The spec says of architecture, objective and recipe:"
    else:
        yield table(("", ""), _training_rows(spec, manifest, manifest.training))
        yield "Architecture, objective and recipe, as the spec has them:"
    yield spec_block(spec, {"network", "latent", "objective", "recipe"})


def _training_rows(
    spec: ModelSpec, manifest: Manifest, training: TrainingRecord
) -> Iterator[tuple[str, str]]:
    data = inline(data_name(manifest, training.data_digest))
    if is_of_fashion_mnist(manifest):
        data += (
            f": its training images without the {VALIDATION_SIZE:,} held out for validation, and "
            "no labels"
        )
    yield "objective", f"{spec.objective.loss_label} ({code(spec.objective.type)})"
    yield "data", data
    yield from record_rows(manifest, training)


def record_rows(manifest: Manifest, training: TrainingRecord) -> Iterator[tuple[str, str]]:
    """Give what is recorded of a training beside objective and data."""
    yield "SHA-256 of the data's arrays", code(training.data_digest)
    if manifest.spec_sha256:
        yield "SHA-256 of the spec's content", code(manifest.spec_sha256)
    yield "seed", str(training.seed)
    yield "epochs", f"{training.epochs}; epoch {training.best_epoch}, best on validation, is kept"
    yield "time", _duration(training.seconds)
    yield "environment", environment_words(training.environment) or "not recorded"


def spec_block(spec: ModelSpec, parts: set[str]) -> str:
    """Return some parts of a spec as a block of TOML."""
    content = spec.model_dump(mode="json", exclude_none=True, include=parts)
    toml = _TOML_LIST.sub(
        lambda found: f"[{', '.join(found[1].replace(',', ' ').split())}]", tomli_w.dumps(content)
    )
    # Within a string of TOML this is the same text, and outside of one it does not occur.
    return fenced("toml", toml.replace("<!--", "\\u003c!--"))


def _limitations(spec: ModelSpec, manifest: Manifest) -> Iterator[str]:
    yield "## Limitations"
    yield bullets(_limits(spec, manifest))


def _limits(spec: ModelSpec, manifest: Manifest) -> Iterator[str]:
    figures = figures_of(manifest)
    yield (
        f"{domain_of(spec, manifest)} Any other image of that size gets a code too, which means "
        "nothing."
    )
    if figures:
        seed = f", with seed {manifest.training.seed}" if manifest.training else ""
        yield (
            f"Its figures are of the test set and of one training{seed}. Another seed gives "
            "others; how far apart they are is known only where a deviation is shown."
        )
    if any(figure.protocol.task == CLASSIFICATION for figure in figures):
        yield (
            "The classifiers and the fine-tuned encoders that were measured are not in this repo, "
            "and whether their probabilities are calibrated was not measured."
        )
    if spec.latent.has_prior:
        yield (
            "It can decode draws of its prior, but the codes of images need not fill the prior: "
            "such draws may look like nothing in the data."
        )
    elif manifest.sampler:
        yield (
            "It has no prior: new images are decoded from draws of a density that was fitted to "
            "codes of training images. A code does not say how certain it is."
        )
    else:
        yield (
            "It is no generative model: there is no prior to draw codes from, and a code that is "
            "not an image's may decode to nothing sensible. A code does not say how certain it is."
        )
    generated = manifest.results.get("generation", {})
    of_prior, best = (generated.get(f"frechet_{each}") for each in ("prior", "reconstructions"))
    if of_prior and best and of_prior > FAR * best:
        yield (
            f"It is not for draws of its own prior: they are {of_prior / best:.1f} times as far "
            "from test images as its reconstructions are."
        )
    values = math.prod(spec.shape)
    if spec.latent.size >= values:
        yield (
            f"A code has {counted(spec.latent.size, 'value')}, and an image {values:,}: "
            "nothing is compressed, and a low reconstruction error is no surprise."
        )
    yield bias_of(manifest)


def listed(shape: Sequence[int]) -> str:
    """Return a shape as code has it, without brackets."""
    return ", ".join(map(str, shape))


def images_of(spec: ModelSpec) -> str:
    """Return size and kind of a model's images."""
    height, width, channels = spec.shape
    return f"{height}x{width} {'grey' if channels == 1 else 'colour'} images"


def example_images(spec: ModelSpec) -> str:
    """Return the first lines of an example: the package, and images as a model takes them."""
    shape = listed(array_shape(spec.shape))
    if spec.takes_fashion_mnist:
        return (
            "import fmae_zoo\n\n"
            f"images = fmae_zoo.load_data().test_images  # (n, {shape}) uint8, or your own\n"
        )
    return (
        "import fmae_zoo\nimport numpy as np\n\n"
        f'images = np.zeros((4, {shape}), "uint8")  # yours; floats in [0, 1] are taken too\n'
    )


def domain_of(spec: ModelSpec, manifest: Manifest) -> str:
    """Say which images a model is for."""
    clothes = "of single garments, shoes and bags, bright on black"
    kind = clothes if is_of_fashion_mnist(manifest) else "like its data"
    return f"It is for {images_of(spec)} {kind}."


def bias_of(manifest: Manifest) -> str:
    """Say what is known of the biases of the data that a model was trained on."""
    if is_of_fashion_mnist(manifest):
        return (
            "Fashion-MNIST is made of catalogue photos of one online shop, Zalando, shrunk, turned "
            "grey and inverted, and without white products. It says little of what people wear "
            "elsewhere or at other times, and of photos that are no catalogue's; its classes are "
            "the shop's, and some look alike. What is learned from it has the same limits."
        )
    return "Which biases its training data have is not recorded."


def files_section(manifest: Manifest, words: Mapping[str, str]) -> Iterator[str]:
    """Give the paragraphs of the section; `words` say what is in a file of a name."""
    yield "## Files"
    if not manifest.files:
        yield "The manifest records no files."
        return
    rows = (
        (code(name), words.get(name, "-"), f"{record.size:,}", code(record.sha256))
        for name, record in manifest.files.items()
    )
    yield table(("file", "what", "bytes", "SHA-256"), rows, right=(2,))
    yield (
        f"`{SPEC_FILE}` says what the model is, and `{MANIFEST_FILE}` has these digests, the "
        "figures, and how both came to be."
    )


def references_section(spec: ModelSpec) -> Iterator[str]:
    """Give the paragraphs of the section, or none."""
    references = [plain(reference) for reference in spec.references]
    if any(references):
        yield "## References"
        yield bullets(reference for reference in references if reference)


def licence_section(manifest: Manifest) -> Iterator[str]:
    """Give the paragraphs of the section."""
    yield "## Licence and citation"
    yield f"The weights are under {inline(manifest.licence)}."
    measured_on = {figure.data_digest for figure in figures_of(manifest)}
    if is_of_fashion_mnist(manifest) or FASHION_MNIST_DIGEST in measured_on:
        yield "Fashion-MNIST is under the MIT licence, and is cited as:"
        yield fenced("bibtex", FASHION_MNIST_CITATION)


def _pictures(names: Sequence[str], spec: ModelSpec) -> Iterator[str]:
    for name in names:
        stem = name.rpartition(".")[0] or name
        words = _PICTURE_WORDS.get(name, f"{inline(stem.replace('_', ' '))} of {{}}")
        yield f"![{words.format(name_of(spec))}]({name})"


def name_of(spec: ModelSpec) -> str:
    """Return the name of a spec, without the default tag."""
    return spec.full_name.removesuffix(f".{DEFAULT_TAG}")


def parameters_of(manifest: Manifest) -> str:
    """Return how many parameters there are, in all and by part."""
    parts = manifest.parameters
    detail = enumeration(f"{inline(part)} {number:,}" for part, number in parts.items())
    return f"{counted(sum(parts.values()), 'parameter')} ({detail})" if parts else ""


def counted(number: int, what: str) -> str:
    """Return a number of things, in words."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "less than a second"
