"""The manifest of an entry: what a program wrote about it."""

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
"""Of a file in the entry's own folder, and nowhere else."""


class FileRecord(Component):
    """One file of the entry."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class TrainingRecord(Component):
    """How the weights came to be.

    Attributes:
        data_digest: of the data set (`Dataset.digest`).
        data_source: what people call it, or where it was.
        data_name: its name in the table of data sets, or that of its file or folder. Not written
            where it is not known, as in manifests of before there was a table.
        class_names: of the data set, where its classes have names.
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
    """How a figure came to be."""

    seed: int
    data_digest: str
    environment: dict[str, str]


class SeedRecord(Component):
    """A repeated training with another seed: how it was, and its figures."""

    training: TrainingRecord
    results: dict[str, dict[str, Any]] = Field(default_factory=dict)
    evaluations: dict[str, EvaluationRecord] = Field(default_factory=dict)


class HubRecord(Component):
    """Where the entry is published; empty until it is.

    Attributes:
        repo: `NAMESPACE/NAME` on the Hugging Face Hub.
        commit: the one that holds these files.
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
    """Files with their digests, parameters, results, and how they were obtained.

    Attributes:
        licence: SPDX identifier of the weights' licence.
        spec_sha256: of the spec that the weights were trained by (`ModelSpec.digest`).
        parameters: number of values in the weights, by part.
        results: figure by figure, as `evaluate` returned them.
        evaluations: how each of them came to be.
        seeds: repeated trainings with other seeds, by seed.
        sampler: the name of the one that `generate` draws from by default; the latent's prior, or
            the first that was fitted, where there is no name.
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
    sampler: str = ""
    hub: HubRecord = HubRecord()

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read the manifest of a folder.

        Raises:
            SpecError: it is missing, no JSON, or breaks a rule of the schema.
        """
        path = Path(folder) / MANIFEST_FILE
        try:
            content = json.loads(regular(path).read_text(encoding="utf-8"), parse_constant=_refuse)
        except (OSError, ValueError, RecursionError) as error:
            raise SpecError(f"{path}: cannot be read: {error}") from error
        try:
            return cls.validated(content)
        except ValidationError as error:
            raise SpecError(describe(error, str(path), cls)) from error

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
    """Return a package's version, also where it was installed under another name."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", "unknown"))
