"""The metadata of a card, by which the Hub filters, links and compares models."""

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from fmae_zoo.card.figures import figures_of
from fmae_zoo.card.markup import label
from fmae_zoo.datasets import FASHION_MNIST_DIGEST, HUB_DATASET
from fmae_zoo.errors import SpecError
from fmae_zoo.hub.address import ZOO_TAG
from fmae_zoo.manifest import Manifest
from fmae_zoo.spec import ModelSpec

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

MODEL_INDEX = "model-index"
OTHER = "other"
"""The Hub's identifier for a licence or a data set that it does not know."""

LICENCES = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "bsl-1.0", "c-uda", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
    "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "gpl-2.0", "gpl-3.0", "isc",
    "lgpl-2.1", "lgpl-3.0", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by",
    "ofl-1.1", "osl-3.0", "pddl", "postgresql", "unlicense", "wtfpl", "zlib",
})  # fmt: skip
"""The Hub's identifiers of licences that are SPDX identifiers too.

Source: https://huggingface.co/docs/hub/repositories-licenses.
"""

_FASHION_MNIST_TAG = "fashion-mnist"


def metadata_of(
    spec: ModelSpec, manifest: Manifest, repo: str, is_classifier: bool = False
) -> dict[str, Any]:
    """Return the metadata of an entry's card, in the order in which it is written.

    Raises:
        SpecError: There is no licence, or a figure is not a number.
    """
    from huggingface_hub import ModelCardData

    licence, licence_name = hub_licence(manifest.licence)
    data = ModelCardData(
        library_name="keras",
        tags=tags_of(spec, manifest, is_classifier),
        license=licence,
        license_name=licence_name,
        datasets=[HUB_DATASET] if is_of_fashion_mnist(manifest) else None,
        pipeline_tag="image-classification" if is_classifier else "image-feature-extraction",
        model_name=repo.split("/")[-1],
        eval_results=eval_results_of(manifest) or None,
    ).to_dict()
    order = (
        "license", "license_name", "library_name", "pipeline_tag", "tags", "datasets", MODEL_INDEX
    )  # fmt: skip
    return {key: data[key] for key in order if key in data}


def disowned(manifest: Manifest) -> frozenset[str]:
    """Return the tag and the data set of Fashion-MNIST if the model was trained on other data.

    They must be removed from an earlier card.
    """
    other = manifest.training is not None and not is_of_fashion_mnist(manifest)
    return frozenset({HUB_DATASET, _FASHION_MNIST_TAG} if other else ())


def is_of_fashion_mnist(manifest: Manifest) -> bool:
    """Return whether the manifest records training on the full Fashion-MNIST."""
    return manifest.training is not None and manifest.training.data_digest == FASHION_MNIST_DIGEST


def tags_of(spec: ModelSpec, manifest: Manifest, is_classifier: bool) -> list[str]:
    """Return the sorted tags of an entry; a classifier does not get the spec's keywords."""
    tags = {"keras", ZOO_TAG, spec.network.type}
    if is_classifier:
        tags.add("classifier")
    else:
        tags |= {"autoencoder", spec.latent.type, spec.objective.type}
        tags |= {label(keyword) for keyword in spec.keywords} - {""}
    if is_of_fashion_mnist(manifest):
        tags.add(_FASHION_MNIST_TAG)
    return sorted(tags)


def hub_licence(licence: str) -> tuple[str, str | None]:
    """Return the Hub's identifier of an SPDX licence, and the licence's name if the Hub has none.

    Raises:
        SpecError: There is no licence.
    """
    name = label(licence)
    if not name:
        raise SpecError("licence: expected an SPDX identifier, as Apache-2.0; received nothing")
    family = name.lower().removesuffix("-only").removesuffix("-or-later")
    # The Hub's identifiers of Open Data Commons licences have no version.
    for identifier in (family, family.removesuffix("-1.0")):
        if identifier in LICENCES:
            return identifier, None
    return OTHER, name


def data_name(manifest: Manifest, digest: str | None) -> str:
    """Return the name of the data with this digest; for a path only its last part."""
    training = manifest.training
    if digest == FASHION_MNIST_DIGEST:
        return "Fashion-MNIST"
    if training is None or digest is None or training.data_digest != digest:
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

    results = []
    for figure in figures_of(manifest):
        known = figure.data_digest == FASHION_MNIST_DIGEST
        settings: dict[str, Any] = dict(figure.settings)
        if figure.seed is not None:
            settings["seed"] = figure.seed
        if manifest.training is not None:
            settings["training_seed"] = manifest.training.seed
        for measure in figure.protocol.results:
            if measure.key not in figure.values:
                continue
            results.append(
                EvalResult(
                    task_type=figure.protocol.task.type,
                    task_name=figure.protocol.task.name,
                    dataset_type=HUB_DATASET if known else OTHER,
                    dataset_name=data_name(manifest, figure.data_digest),
                    dataset_split="test",
                    dataset_revision=None if known else figure.data_digest,
                    dataset_args={"sha256": FASHION_MNIST_DIGEST} if known else None,
                    metric_type=measure.key,
                    metric_name=figure.metric_name(measure),
                    metric_value=figure.values[measure.key],
                    metric_args=dict(settings) or None,
                )
            )
    return results
