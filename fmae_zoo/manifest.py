"""The manifest of an entry: files, digests and results, written by programs."""

import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from fmae_zoo.component import Component
from fmae_zoo.errors import SpecError
from fmae_zoo.files import regular, write_text
from fmae_zoo.hub.address import check_repo
from fmae_zoo.spec import describe

MANIFEST_FILE = "manifest.json"

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
"""Name of a file in the entry's own folder, without any folder."""


class FileRecord(Component):
    """SHA-256 and size in bytes of one file of the entry."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class TrainingRecord(Component):
    """Record of the training of the weights.

    Attributes:
        data_digest: Digest of the data set (`Dataset.digest`).
        data_source: Common name of the data set, or the place where it was found.
        data_name: Name in the table of data sets, or of the file or folder. It is None and not
            written if it is unknown, as in old manifests.
        class_names: Names of the classes of the data set, or None.
    """

    seed: int
    epochs: int
    best_epoch: int
    seconds: float
    data_digest: str
    data_source: str = "Fashion-MNIST"
    data_name: str | None = None
    class_names: tuple[str, ...] | None = None
    environment: dict[str, str]

    @model_serializer(mode="wrap")
    def _without_the_unknown(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if value is not None}


class EvaluationRecord(Component):
    """Record of the evaluation of a figure."""

    seed: int
    data_digest: str
    environment: dict[str, str]


class SeedRecord(Component):
    """Record of a repeated training with another seed, with its figures."""

    training: TrainingRecord
    results: dict[str, dict[str, Any]] = Field(default_factory=dict)
    evaluations: dict[str, EvaluationRecord] = Field(default_factory=dict)


class HubRecord(Component):
    """Place where the entry is published; empty until it is.

    Attributes:
        repo: `NAMESPACE/NAME` on the Hugging Face Hub.
        commit: Commit that holds these files.
    """

    repo: str = ""
    commit: str = Field(default="", pattern=r"^([0-9a-f]{40})?$")

    @field_validator("repo")
    @classmethod
    def _is_a_repo(cls, repo: str) -> str:
        if repo:
            check_repo(repo)
        return repo


class Manifest(Component):
    """Digests of an entry's files, its training, its results, and where it is published.

    Attributes:
        licence: SPDX identifier of the weights' licence.
        spec_sha256: Digest of the spec that the weights were trained with (`ModelSpec.digest`).
        parameters: Number of weights in each part.
        files: Size and digest of each file.
        training: Record of the training.
        results: Result of each figure, as returned by `evaluate`.
        evaluations: Record of the evaluation of each figure.
        seeds: Repeated trainings with other seeds, by seed.
        sampler: Name of the default sampler of `generate`; if empty, the latent's prior, or the
            first fitted sampler if the latent has no prior.
        hub: Place where the entry is published.
    """

    format: int = Field(default=1, ge=1, le=1)
    name: str
    tag: str
    licence: str
    spec_sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    parameters: dict[str, int] = Field(default_factory=dict)
    files: dict[FileName, FileRecord] = Field(default_factory=dict)
    training: TrainingRecord | None = None
    results: dict[str, dict[str, Any]] = Field(default_factory=dict)
    evaluations: dict[str, EvaluationRecord] = Field(default_factory=dict)
    seeds: dict[str, SeedRecord] = Field(default_factory=dict)
    sampler: str = Field(default="", pattern=r"^[a-z-]*$")
    hub: HubRecord = HubRecord()

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read the manifest of a folder.

        Raises:
            SpecError: The manifest is missing, is not JSON or breaks a rule of the schema.
        """
        path = Path(folder) / MANIFEST_FILE
        try:
            content = json.loads(regular(path).read_text(encoding="utf-8"), parse_constant=_refuse)
            return cls.validated(content)
        except ValidationError as error:
            raise SpecError(describe(error, str(path), cls)) from error
        except (OSError, ValueError, RecursionError) as error:
            raise SpecError(f"{path}: cannot be read: {error}") from error

    def write(self, folder: str | Path) -> None:
        """Write the manifest into a folder, atomically."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)
        write_text(Path(folder) / MANIFEST_FILE, text + "\n")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no finite number")


def environment() -> dict[str, str]:
    """Return the versions that a result depends on."""
    import keras

    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        "keras": version_of("keras"),
        "backend": backend,
        backend: version_of(backend),
        "numpy": version_of("numpy"),
        "scikit-learn": version_of("scikit-learn"),
        "machine": platform.machine(),
        "system": platform.system(),
    }


def version_of(package: str) -> str:
    """Return a package's version, even if it was installed under another name, or `unknown`."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", "unknown"))
