"""The text of a card for readers: `template.md`, filled from a spec, a head and a manifest."""

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import tomli_w

from fmae_zoo.card.markup import code, inline, plain, shown
from fmae_zoo.card.metadata import data_name
from fmae_zoo.datasets import FASHION_MNIST_DIGEST, VALIDATION_SIZE
from fmae_zoo.evaluation import FIGURES
from fmae_zoo.evaluation.published import CHOSEN, figures_of
from fmae_zoo.hub.address import HUB_PREFIX
from fmae_zoo.images import array_shape
from fmae_zoo.manifest import Manifest
from fmae_zoo.samplers import PRIOR
from fmae_zoo.spec import DEFAULT_TAG, ModelSpec

if TYPE_CHECKING:
    from fmae_zoo.head import Head

_NUMBERS = re.compile(r"\[([\s\d.,+-]+)\]")


def body_of(
    spec: ModelSpec,
    manifest: Manifest,
    repo: str | None,
    pictures: Sequence[str] = (),
    head: "Head | None" = None,
) -> str:
    """Return the text of a card as Markdown, without metadata and markers.

    Args:
        spec: Spec of the model; for a classifier, of the autoencoder whose encoder it uses.
        manifest: Manifest with the figures.
        repo: Name of the repo on the Hub, `NAMESPACE/NAME`; None for a registered model.
        pictures: Names of picture files in the repo.
        head: Head of a classifier; None for an autoencoder.

    Raises:
        SpecError: A figure in the manifest is not a number.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # The output is Markdown, so text is escaped by the filters and not as HTML.
    environment = Environment(
        loader=PackageLoader("fmae_zoo", "card"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.filters |= {each.__name__: each for each in (inline, plain, code, shown)}
    environment.filters["data_name"] = partial(data_name, manifest)
    training = manifest.training
    text = environment.get_template("template.md").render(
        spec=spec,
        manifest=manifest,
        head=head,
        figures=figures_of(manifest),
        name=spec.full_name.removesuffix(f".{DEFAULT_TAG}"),
        parameters=parameters_of(manifest),
        images=images_of(spec),
        array=array_shape(spec.shape),
        address=repo and f"{HUB_PREFIX}{repo}",
        sampler=manifest.sampler or (PRIOR if spec.latent.has_prior else ""),
        pictures=() if head else pictures,  # They are of an autoencoder.
        fashion_mnist=training is not None and training.data_digest == FASHION_MNIST_DIGEST,
        fashion_mnist_digest=FASHION_MNIST_DIGEST,
        validation_size=VALIDATION_SIZE,
        chosen=CHOSEN,
        unknown=sorted(manifest.results.keys() - FIGURES.keys()),
        counted=counted,
        toml=partial(_toml, spec),
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _toml(spec: ModelSpec, *parts: str) -> str:
    """Return some parts of a spec as TOML, with each list of numbers on one line."""
    toml = tomli_w.dumps(spec.model_dump(mode="json", exclude_none=True, include=set(parts)))
    toml = _NUMBERS.sub(lambda found: f"[{', '.join(found[1].replace(',', ' ').split())}]", toml)
    # In a TOML string the escape means the same text; outside of strings `<!--` cannot occur.
    return toml.replace("<!--", "\\u003c!--").strip()


def images_of(spec: ModelSpec) -> str:
    """Return the size and kind of a model's images, in words."""
    height, width, channels = spec.shape
    return f"{height}x{width} {'grey' if channels == 1 else 'colour'} images"


def parameters_of(manifest: Manifest) -> str:
    """Return the number of parameters in words, in total and by part."""
    parts = manifest.parameters
    detail = ", ".join(f"{inline(part)} {number:,}" for part, number in parts.items())
    return f"{counted(sum(parts.values()), 'parameter')} ({detail})" if parts else ""


def counted(number: int, what: str) -> str:
    """Return a number and its noun, in the plural if needed."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
