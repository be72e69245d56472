"""Base class of the parts of a spec: a frozen, validated configuration."""

import functools
import json
import operator
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, Literal, Self, TypeAlias, get_origin

from pydantic import BaseModel, ConfigDict, Field

MAX_WIDTH = 65_536
"""Largest number of units in a layer that a spec may ask for."""

MAX_PARAMETERS = 100_000_000
"""Largest number of weights of a model, so that an absurd spec fails before memory is allocated."""

MAX_MAP = 2_000_000
"""Largest number of output values of a layer for one image, for the same reason."""

Width: TypeAlias = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
"""Number of units, filters or latent values."""

Shape: TypeAlias = tuple[int, int, int]
"""Height, width and channels of an image."""

Affine: TypeAlias = Literal["pixels", "logits"]
"""Whether an affine decoder gives the pixels of an image or their logits."""

LAYOUT = "channels_last"
"""Keras `data_format` of every layer in the zoo, whatever the user's keras.json says."""


class Component(BaseModel):
    """Part of a spec: immutable, without unknown keys, and without conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    @classmethod
    def validated(cls, content: Any) -> Self:
        """Return the part described by nested dictionaries and lists.

        Raises:
            pydantic.ValidationError: A rule of the schema is broken.
            TypeError: A value is neither text, number, list nor dictionary; the message begins
                with its key.
        """
        for key, value in _unknown(content):
            raise TypeError(f"{key}: expected text, a number, a list or a table; received {value}")
        # Through JSON, because strict validation would otherwise refuse a list for a tuple.
        # The only remaining values that JSON cannot write are NumPy's scalars.
        return cls.model_validate_json(json.dumps(content, default=lambda value: value.item()))


def any_of(package: str, base: type[Component]) -> Any:
    """Return the union of all components in a package, told apart by their `type`.

    Every module of the package is imported. A class defined there counts if it derives from
    `base` and its `type` is a `Literal`, so adding a file is enough to add a component.

    Args:
        package: Full name of the package, for example `fmae_zoo.latents`.
        base: Base class of the components.
    """
    modules = pkgutil.iter_modules(import_module(package).__path__, f"{package}.")
    found = [
        value
        for module in (import_module(each.name) for each in modules)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base)
        if value.__module__ == module.__name__
        if get_origin(value.model_fields["type"].annotation) is Literal
    ]
    return Annotated[functools.reduce(operator.or_, found), Field(discriminator="type")]


def _unknown(content: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted key and the text of each value that JSON cannot write."""
    if isinstance(content, (dict, list, tuple)):
        parts = content.items() if isinstance(content, dict) else enumerate(content)
        for name, part in parts:
            yield from _unknown(part, f"{key}.{name}" if key else str(name))
    elif not isinstance(content, (str, int, float, type(None))) and not hasattr(content, "item"):
        yield key, repr(content)
