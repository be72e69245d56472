"""The metadata of a card, by which the Hub filters, links and compares models."""

from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from fmae_zoo.card.markup import label
from fmae_zoo.datasets import FASHION_MNIST_DIGEST, HUB_DATASET
from fmae_zoo.errors import SpecError
from fmae_zoo.evaluation.published import figures_of
from fmae_zoo.hub.address import ZOO_TAG
from fmae_zoo.manifest import Manifest
from fmae_zoo.spec import ModelSpec

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

OTHER = "other"
"""The Hub's identifier for a licence or a data set that it does not know."""

LICENCES = frozenset(files("fmae_zoo").joinpath("card/licences.txt").read_text("utf-8").split())
"""The Hub's identifiers of licences that are SPDX identifiers too.

Source: https://huggingface.co/docs/hub/repositories-licenses.
"""

FASHION_MNIST_TAG = "fashion-mnist"


def metadata_of(
    spec: ModelSpec, manifest: Manifest, repo: str, is_classifier: bool = False
) -> dict[str, Any]:
    """Return the metadata of an entry's card; a classifier does not get the spec's keywords.

    Raises:
        SpecError: There is no licence, or a figure is not a number.
    """
    from huggingface_hub import ModelCardData

    tags = {"keras", ZOO_TAG, spec.network.type}
    if is_classifier:
        tags.add("classifier")
    else:
        tags |= {"autoencoder", spec.latent.type, spec.objective.type}
        tags |= {label(keyword) for keyword in spec.keywords} - {""}
    training = manifest.training
    fashion_mnist = training is not None and training.data_digest == FASHION_MNIST_DIGEST
    if fashion_mnist:
        tags.add(FASHION_MNIST_TAG)
    licence = label(manifest.licence)
    if not licence:
        raise SpecError("licence: expected an SPDX identifier, as Apache-2.0; received nothing")
    family = licence.lower().removesuffix("-only").removesuffix("-or-later")
    # The Hub's identifiers of Open Data Commons licences have no version.
    known = [each for each in (family, family.removesuffix("-1.0")) if each in LICENCES]
    results = eval_results_of(manifest) or None
    return ModelCardData(
        license=known[0] if known else OTHER,
        license_name=None if known else licence,
        library_name="keras",
        pipeline_tag="image-classification" if is_classifier else "image-feature-extraction",
        tags=sorted(tags),
        datasets=[HUB_DATASET] if fashion_mnist else None,
        model_name=repo.split("/")[-1] if results else None,
        eval_results=results,
    ).to_dict()


def data_name(manifest: Manifest, digest: str | None) -> str:
    """Return the name of the data with this digest; for a path only its last part."""
    training = manifest.training
    if digest == FASHION_MNIST_DIGEST:
        return "Fashion-MNIST"
    if training is None or training.data_digest != digest:
        return "data whose name is not recorded"
    source = label(training.data_source).replace("\\", "/")
    return PurePath(source).name or "data without a name"


def eval_results_of(manifest: Manifest) -> list["EvalResult"]:
    """Return each published figure of a manifest, with the settings of its protocol.

    A model-index has only one set of arguments for the data of a task, so settings that may differ
    between two figures are stored with the figure.

    Raises:
        SpecError: A figure is not a number.
    """
    from huggingface_hub import EvalResult

    training = manifest.training
    results = []
    for figure in figures_of(manifest):
        known = figure.data_digest == FASHION_MNIST_DIGEST
        settings = figure.settings | ({"training_seed": training.seed} if training else {})
        results += [
            EvalResult(
                task_type=figure.protocol.task.type,
                task_name=figure.protocol.task.name,
                dataset_type=HUB_DATASET if known else OTHER,
                dataset_name=data_name(manifest, figure.data_digest),
                dataset_split="test",
                dataset_revision=None if known else figure.data_digest,
                dataset_args={"sha256": FASHION_MNIST_DIGEST} if known else None,
                metric_type=measure.key,
                metric_name=f"{measure.full_title} ({figure.protocol.name})",
                metric_value=figure.values[measure.key],
                metric_args={
                    label(key): label(value) if isinstance(value, str) else value
                    for key, value in settings.items()
                },
            )
            for measure in figure.protocol.results
            if measure.key in figure.values
        ]
    return results
