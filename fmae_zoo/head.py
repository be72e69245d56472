"""Description of a classifier's head, stored in `head.json`."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, ValidationError, model_validator

from fmae_zoo.arguments import MAX_SEED
from fmae_zoo.component import MAX_PARAMETERS, Component, Width
from fmae_zoo.errors import ArgumentError, SpecError
from fmae_zoo.files import read_verified, write_text
from fmae_zoo.precision import Precision
from fmae_zoo.spec import describe

if TYPE_CHECKING:
    from fmae_zoo.classifier import Classifier

HEAD_FILE = "head.json"
MAX_CLASSES = 10_000
MAX_LABEL = 64
"""Largest number of characters in a label."""


class Head(Component):
    """Description of a classifier without its weights and its encoder, which a spec describes.

    Attributes:
        layer: Name of the encoder layer that the head reads.
        num_classes: Number of classes.
        labels: Name of each class, or None.
        hidden, dropout, precision, seed: As for `Classifier`.
        trainable: Whether the encoder is trained; this is not stored layer by layer.
    """

    layer: str = Field(min_length=1, max_length=100)
    num_classes: int = Field(ge=2, le=MAX_CLASSES)
    labels: tuple[str, ...] | None = None
    hidden: Width
    dropout: float = Field(ge=0, lt=1)
    precision: Precision = "float32"
    trainable: bool = False
    seed: int = Field(default=0, ge=0, le=MAX_SEED)

    @model_validator(mode="after")
    def _labels_fit(self) -> Self:
        checked_labels(self.labels, self.num_classes)
        return self

    @classmethod
    def of(cls, classifier: "Classifier") -> Self:
        """Return the description of a classifier.

        Raises:
            ArgumentError: The encoder comes from no spec; encoder or head have other layers than
                the description would build; or there are too many classes or weights.
        """
        from fmae_zoo.autoencoder import Autoencoder
        from fmae_zoo.layers import without_random_weights

        spec = classifier.spec
        if spec is None:
            raise ArgumentError(_not_kept("its encoder is not that of an Autoencoder"))
        config = classifier.get_config() | {"layer": classifier.encoder.output_names[0]}
        try:
            head = cls.validated({key: config[key] for key in cls.model_fields})
            with without_random_weights():
                same = _layers_of(head.build(Autoencoder(spec).encoder)) == _layers_of(classifier)
        except ValidationError as error:
            raise ArgumentError(_not_kept(describe(error, "classifier", cls))) from None
        except SpecError as error:
            raise ArgumentError(_not_kept(str(error))) from None
        if not same:
            raise ArgumentError(_not_kept(f"its layers are not those that {spec.full_name} gives"))
        return head

    @classmethod
    def read(cls, path: Path, sha256: str) -> Self:
        """Read and validate a description.

        Raises:
            WeightsError: The file is missing or has another SHA-256.
            SpecError: The file is not JSON or breaks a rule of the schema.
        """
        try:
            return cls.model_validate_json(read_verified(path, sha256))
        except ValidationError as error:
            raise SpecError(describe(error, str(path), cls)) from error

    def write(self, folder: Path) -> None:
        """Write the description into a folder."""
        text = json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False)
        write_text(folder / HEAD_FILE, text + "\n")

    def build(self, encoder: Any) -> "Classifier":
        """Return a new classifier on an encoder, whose weights are copied.

        Raises:
            SpecError: The encoder has no such layer, or the head would be too large.
        """
        from fmae_zoo.classifier import Classifier

        names = [layer.name for layer in encoder.layers]
        if self.layer not in names:
            raise SpecError(
                f"{HEAD_FILE}: layer: the encoder has no layer {self.layer!r}; it has: "
                f"{', '.join(names)}"
            )
        width = math.prod(encoder.get_layer(self.layer).output.shape[1:])
        count = self.hidden * (width + self.num_classes)
        if count > MAX_PARAMETERS:
            raise SpecError(f"{HEAD_FILE}: {count:,} weights; expected at most {MAX_PARAMETERS:,}")
        return Classifier(encoder, **self.model_dump())


def checked_labels(labels: Any, num_classes: int) -> tuple[str, ...] | None:
    """Return the names of the classes as a tuple, or None if `labels` is None.

    Raises:
        ArgumentError: The names are not printable text, not one per class, or not distinct.
    """
    if labels is None:
        return None
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise ArgumentError(f"labels is {labels!r}; expected names of the classes, or None")
    for label in labels:
        shown = isinstance(label, str) and label.strip() == label and label.isprintable()
        if not shown or not 0 < len(label) <= MAX_LABEL:
            raise ArgumentError(
                f"labels: {label!r} is no name; expected 1 to {MAX_LABEL} characters in a line, "
                "without spaces around"
            )
    if len(labels) != num_classes:
        raise ArgumentError(
            f"labels: {len(labels)} names; expected one for each of the {num_classes} classes"
        )
    twice = sorted(label for label, count in Counter(labels).items() if count > 1)
    if twice:
        raise ArgumentError(f"labels: there twice: {', '.join(twice)}; expected distinct names")
    return tuple(map(str, labels))


def _not_kept(reason: str) -> str:
    return (
        f"This classifier cannot be kept as a folder, from which it is built again by its spec: "
        f'{reason}. Keep it in one file with classifier.save("NAME.keras")'
    )


def _layers_of(classifier: "Classifier") -> str:
    """Return the layers of encoder and head as text, without weights and initialisers."""
    layers = []
    for part in (classifier.encoder, classifier.head):
        config = part.get_config()["layers"]
        named = {layer.name for layer in part.layers}
        # Keras numbers operations that are not layers across the whole process, so the names of
        # equal models differ.
        names = [each["config"]["name"] for each in config]
        numbers = {name: str(number) for number, name in enumerate(names) if name not in named}
        layers.append((part.name, _structure(config, numbers)))
    return json.dumps(layers, sort_keys=True, default=repr)


def _structure(config: Any, names: dict[str, str]) -> Any:
    if isinstance(config, dict):
        left_out = ("trainable", "kernel_initializer")
        return {key: _structure(part, names) for key, part in config.items() if key not in left_out}
    if isinstance(config, list | tuple):
        return [_structure(part, names) for part in config]
    return names.get(config, config) if isinstance(config, str) else config
