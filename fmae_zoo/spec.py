"""ModelSpec: the validated spec of a model, with errors that name file, key and value."""

import difflib
import json
import math
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from fmae_zoo.arguments import check_file
from fmae_zoo.component import MAX_MAP, MAX_PARAMETERS, Component, Shape
from fmae_zoo.errors import SpecError
from fmae_zoo.files import regular, sha256_of
from fmae_zoo.latents import Latent, LatentComponent
from fmae_zoo.networks import Network
from fmae_zoo.objectives import Objective
from fmae_zoo.recipe import Recipe

SPEC_FILE = "spec.toml"
DEFAULT_TAG = "fmnist"
DEFAULT_DATA = "fashion-mnist"
DEFAULT_SHAPE: tuple[int, int, Literal[1, 3]] = (28, 28, 1)
MAX_SPEC_BYTES = 1 << 14
"""Largest size of a spec file; a malicious larger one could take minutes to read."""
CHOICES = ("network", "latent", "objective")
"""Keys whose `type` chooses the class that validates them."""

NAME_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"
DATA_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"
"""Pattern of the name of a data set, which cannot be an absolute path."""

Side = Annotated[int, Field(ge=4, le=1024)]
"""Height or width of an image in pixels."""


class ModelSpec(Component):
    """Spec of one named model, written by a person.

    Attributes:
        name: Name of the architecture: lower-case letters, digits and single hyphens.
        tag: Short name of the training data; the full name of the model is `NAME.TAG`.
        data: Name of the training data set.
        shape: Height, width and channels of an image: 1 channel for grey, 3 for colour.
        classes: Number of classes if the decoder reads the class of an image beside its code
            (Sohn et al. 2015, "Learning Structured Output Representation using Deep Conditional
            Generative Models"), else None. The encoder reads only images, so codes can be computed
            for images of unknown class.
        summary: One sentence for lists and cards.
        keywords: Keywords for searching.
        licence: SPDX identifier of the weights' licence.
        references: Publications of the method.
    """

    name: str = Field(pattern=NAME_PATTERN, max_length=64)
    tag: str = Field(default=DEFAULT_TAG, pattern=NAME_PATTERN, max_length=64)
    data: str = Field(default=DEFAULT_DATA, pattern=DATA_PATTERN, max_length=96)
    shape: tuple[Side, Side, Literal[1, 3]] = DEFAULT_SHAPE
    classes: Annotated[int, Field(ge=2, le=1000)] | None = None
    summary: str = Field(min_length=1, max_length=300)
    keywords: tuple[str, ...] = ()
    licence: str = "Apache-2.0"
    references: tuple[str, ...] = ()
    network: Network
    latent: Latent
    objective: Objective
    recipe: Recipe = Recipe()

    @model_validator(mode="after")
    def _objective_fits_latent(self) -> Self:
        missing = sorted(self.objective.needs - self.latent.gives)
        if missing:
            raise ValueError(
                f"objective {self.objective.type} needs a latent that gives {', '.join(missing)}: "
                f"latent.type = {' or '.join(_latents_with(self.objective.needs))}"
            )
        least = self.objective.least_latent_size
        if self.latent.size < least:
            raise ValueError(
                f"latent.size: {self.latent.size}, but objective {self.objective.type} needs codes "
                f"of at least {least} values"
            )
        return self

    @model_validator(mode="after")
    def _weights_are_found(self) -> Self:
        objective, optimizer = self.objective, self.recipe.optimizer
        if (objective.solves is None) == (optimizer == "none"):
            how, expected = "by gradient steps", "an optimizer"
            if objective.solves is not None:
                how, expected = "without gradient steps", "'none'"
            raise ValueError(
                f"recipe.optimizer: {optimizer!r}, but objective {objective.type} finds weights "
                f"{how}: expected {expected}"
            )
        if objective.solves is None:
            return self
        if self.network.affine != objective.solves:
            raise ValueError(
                f"network: objective {objective.type} finds the weights of a network without "
                f"hidden layers: expected type = 'linear', output = {objective.solves!r}"
            )
        if self.classes is not None:
            raise ValueError(
                f"classes: {self.classes}, but objective {objective.type} finds the weights of a "
                "decoder that is told none"
            )
        return self

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if math.prod(self.shape) > MAX_MAP:
            raise ValueError(
                f"shape: {math.prod(self.shape):,} values; expected at most {MAX_MAP:,}"
            )
        self.network.check(self.shape)
        self.objective.check(self)
        mask = self.recipe.mask
        if mask is not None and mask.patch > min(self.shape[:2]):
            raise ValueError(
                f"recipe.mask.patch: {mask.patch} pixels, but images are of "
                f"{self.shape[0]} x {self.shape[1]}"
            )
        if mask is not None and mask.patch % self.network.hidden_patch:
            raise ValueError(
                f"recipe.mask.patch: {mask.patch}, but the network hides patches of "
                f"{self.network.hidden_patch} pixels: expected a multiple of it"
            )
        if self.objective.reads_mask and (mask is None or mask.until < 1.0):
            raise ValueError(
                f"recipe.mask: objective {self.objective.type} needs masks in every epoch; "
                f"received {'none' if mask is None else f'until = {mask.until}'}"
            )
        size, features = self.latent.size, self.network.features_size(self.shape)
        if not self.latent.fits(features):
            raise ValueError(
                f"latent.size: {size}, but the network's features have {features} values: a "
                f"{self.latent.type} latent of this network has size = {features}"
            )
        count = self.network.parameters(size + (self.classes or 0), self.shape)
        if count > MAX_PARAMETERS:
            raise ValueError(f"network: {count:,} weights; expected at most {MAX_PARAMETERS:,}")
        return self

    @property
    def full_name(self) -> str:
        """Name and tag, for example `conv-ae-bn.fmnist`."""
        return f"{self.name}.{self.tag}"

    @property
    def takes_fashion_mnist(self) -> bool:
        """Whether the model is for Fashion-MNIST, the data set with a sample in the package."""
        return self.data == DEFAULT_DATA and self.shape == DEFAULT_SHAPE

    @property
    def digest(self) -> str:
        """SHA-256 of the spec's content, independent of the layout of its file.

        Values equal to the default are left out, so adding a field later does not change digests.
        """
        content = self.model_dump(mode="json", exclude_defaults=True)
        return sha256_of(json.dumps(content, sort_keys=True).encode("utf-8"))

    def for_data(
        self, data: str, shape: Shape, tag: str | None = None, classes: int | None = None
    ) -> Self:
        """Return a spec of the same architecture and recipe for another data set.

        The widths of the layers do not change. Sizes that depend on the image are adapted: the
        feature map that the decoder starts from, and the size of a code that is a feature map.

        Args:
            data: Name of the data set, or a path that ends with the name.
            shape: Height, width and channels of the images.
            tag: Tag of the weights; by default made from the name of the data.
            classes: Number of classes of the data; used if this spec has classes.

        Raises:
            SpecError: The network cannot take such images (the message says which it can), or this
                spec has classes and the data have none.
        """
        name = PurePath(data).name
        source = f"{self.name} for {name}"
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-") or "data"
        network = self.network.for_shape(shape)
        try:
            network.check(shape)
        except ValueError as error:
            raise SpecError(f"{source}: {error}") from None
        if self.classes is not None and classes is None:
            raise SpecError(f"{source}: its decoder is told classes, and the data have no labels")
        content = self.model_dump(mode="json", exclude_none=True) | {
            "data": slug,
            "shape": shape,
            "tag": tag or (DEFAULT_TAG if slug == DEFAULT_DATA else slug),
            "network": network.model_dump(mode="json", exclude_none=True),
        }
        if self.classes is not None:
            content["classes"] = classes
        if shape != self.shape:
            kind = "grey" if shape[2] == 1 else "colour"
            content["summary"] = (
                f"The architecture of {self.name}, for {shape[0]}x{shape[1]} {kind} images."
            )
        features = network.features_size(shape)
        if not self.latent.fits(features):
            content["latent"]["size"] = features
        return self.from_dict(content, source=source)

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read and validate a spec file, or the `spec.toml` of a folder.

        Raises:
            ArgumentError: The path is not valid.
            SpecError: The file cannot be read, is not TOML, or breaks rules of the schema. The
                message names every broken rule with its key and the value received.
        """
        path = check_file("path", path)
        if path.is_dir():
            path = path / SPEC_FILE
        try:
            size = regular(path).stat().st_size
            if size > MAX_SPEC_BYTES:
                raise ValueError(f"{size:,} bytes; expected at most {MAX_SPEC_BYTES:,}")
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise SpecError(f"{path}: cannot be read, or not valid TOML: {error}") from error
        return cls.from_dict(content, source=str(path))

    @classmethod
    def from_dict(cls, content: dict[str, Any], source: str = "spec") -> Self:
        """Validate a spec given as nested dictionaries.

        Raises:
            SpecError: As for `from_toml`, with `source` in the place of the file.
        """
        try:
            return cls.validated(content)
        except ValidationError as error:
            raise SpecError(describe(error, source, cls)) from error
        except (TypeError, RecursionError) as error:
            raise SpecError(f"{source}: {error}") from error


def _latents_with(needs: frozenset[str]) -> list[str]:
    """Return the types of the latents that have what an objective needs, in quotes."""
    kinds: tuple[type[LatentComponent], ...] = get_args(get_args(Latent)[0])
    types = [
        get_args(kind.model_fields["type"].annotation) for kind in kinds if needs <= kind.gives
    ]
    return [repr(each) for (each,) in types]


def describe(error: ValidationError, source: str, model: type[BaseModel]) -> str:
    """Return a line per broken rule: the source, the key, what was expected and received."""
    lines = []
    for problem in error.errors():
        key = ".".join(_keys(problem["loc"]))
        expected = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            expected = "no such key" + _nearest_key(problem["loc"], model)
        line = f"{source}: {key}: {expected}" if key else f"{source}: {expected}"
        if problem["type"] not in ("missing", "value_error"):
            received = re.sub(r"\s+", " ", repr(problem["input"]))
            line += f"; received {received[:120]}"
        lines.append(line)
    return "\n".join(lines)


def _keys(location: tuple[int | str, ...]) -> Iterator[str]:
    """Yield the keys as in the file, without the `type` that pydantic adds for `CHOICES`."""
    for index, part in enumerate(location):
        if not (index == 1 and location[0] in CHOICES):
            yield str(part)


def _nearest_key(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    schema = model.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    known = {key for part in parts for key in part.get("properties", ())} - {location[-1]}
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
