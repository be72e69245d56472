"""The manifest of an entry: what a program wrote about it."""

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError

from fmae_zoo.component import Component
from fmae_zoo.errors import SpecError
from fmae_zoo.files import write_text
from fmae_zoo.spec import describe

MANIFEST_FILE = "manifest.json"


class FileRecord(Component):
    """One file of the entry."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)


class TrainingRecord(Component):
    """How the weights came to be."""

    seed: int
    epochs: int
    best_epoch: int
    seconds: float
    data_digest: str
    data_source: str = "Fashion-MNIST"
    environment: dict[str, str]


class EvaluationRecord(Component):
    """How a figure came to be."""

    seed: int
    data_digest: str
    environment: dict[str, str]


class HubRecord(Component):
    """Where the entry is published; empty until it is."""

    repo: str = ""
    commit: str = ""


class Manifest(Component):
    """Files with their digests, parameters, results, and how they were obtained.

    Attributes:
        licence: SPDX identifier of the weights' licence.
        parameters: number of values in the weights, by part.
        results: figure by figure, as `evaluate` returned them.
        evaluations: how each of them came to be.
        seeds: the results of repeated trainings with other seeds, by seed.
    """

    format: int = Field(default=1, ge=1, le=1)
    name: str
    tag: str
    licence: str
    parameters: dict[str, int] = Field(default_factory=dict)
    files: dict[str, FileRecord] = Field(default_factory=dict)
    training: TrainingRecord | None = None
    results: dict[str, dict[str, Any]] = Field(default_factory=dict)
    evaluations: dict[str, EvaluationRecord] = Field(default_factory=dict)
    seeds: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    hub: HubRecord = HubRecord()

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read the manifest of a folder.

        Raises:
            SpecError: it is missing, no JSON, or breaks a rule of the schema.
        """
        path = Path(folder) / MANIFEST_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
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


def environment() -> dict[str, str]:
    """Return the versions that a result depends on."""
    import keras

    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        "keras": metadata.version("keras"),
        "backend": backend,
        backend: metadata.version(backend),
        "numpy": metadata.version("numpy"),
        "scikit-learn": metadata.version("scikit-learn"),
        "machine": platform.machine(),
        "system": platform.system(),
    }
