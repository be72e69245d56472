"""What networks, latents and objectives have in common: a frozen, validated config."""

import functools
import json
import operator
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, Literal, Self, TypeAlias, get_origin

from pydantic import BaseModel, ConfigDict, Field

MAX_WIDTH = 65_536
"""The widest layer a spec may ask for."""

MAX_PARAMETERS = 100_000_000
"""The most weights a spec may ask for, so that an absurd one is refused before it allocates."""

MAX_MAP = 2_000_000
"""The most values that a layer may give for one image, for the same reason."""

Width: TypeAlias = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
"""A number of units, filters or latent values."""

Shape: TypeAlias = tuple[int, int, int]
"""Height, width and channels of an image."""

Affine: TypeAlias = Literal["pixels", "logits"]
"""What of an image a decoder makes by one affine map of the code."""

LAYOUT = "channels_last"
"""Keras' `data_format` of every layer in the zoo, whatever the user's keras.json says."""


class Component(BaseModel):
    """A part of a spec: immutable, with no key it does not know, and no text for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    @classmethod
    def validated(cls, content: Any) -> Self:
        """Return the part that nested dictionaries and lists describe.

        Raises:
            pydantic.ValidationError: a rule is broken.
            TypeError: something in it is neither text, number, list nor dictionary; the
                message begins with its key.
        """
        for key, value in _unknown(content):
            raise TypeError(f"{key}: expected text, a number, a list or a table; received {value}")
        # As JSON, because strictness would otherwise refuse a list where a tuple is meant;
        # what is left that JSON has no form for are numpy's scalars.
        return cls.model_validate_json(json.dumps(content, default=lambda value: value.item()))


def any_of(package: str, base: type[Component]) -> Any:
    """Return the type of a spec's key whose `type` names one of the components in a package.

    Each module of the package is imported, and each class in it whose `type` is fixed is one:
    to add a component is to add a file.

    Args:
        package: full name, `fmae_zoo.latents` for example.
        base: class that all of them derive from.
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
    """Give the dotted key and the text of each value that JSON has no form for."""
    if isinstance(content, (dict, list, tuple)):
        parts = content.items() if isinstance(content, dict) else enumerate(content)
        for name, part in parts:
            yield from _unknown(part, f"{key}.{name}" if key else str(name))
    elif not isinstance(content, (str, int, float, type(None))) and not hasattr(content, "item"):
        yield key, repr(content)
