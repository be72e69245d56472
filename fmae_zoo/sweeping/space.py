"""The space of a sweep: keys of a spec, each with a list or a range of values."""

import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fmae_zoo.errors import ArgumentError, SpecError
from fmae_zoo.spec import ModelSpec

RANGE = re.compile(r"((?:(?:log|int):)*)([^:,\[\]]+):([^:,\[\]]+)")
COMMA = re.compile(r",(?![^\[]*\])")
"""A comma outside brackets."""

SWEPT = ("network", "latent", "objective", "recipe")
"""Tables of a spec whose keys may change; the others name the model and its data."""

MAX_CHECKED = 500
"""Number of combinations that are tried before a value counts as one that the spec refuses."""


@dataclass(frozen=True)
class Axis:
    """A key of a spec and the values that it takes.

    Attributes:
        key: Dotted key, for example `latent.size`.
        choices: Values to choose from; None leaves the key out. Empty if the axis is a range.
        low: Least value of a range.
        high: Greatest value of a range.
        log: Whether the logarithm of the value is drawn uniformly.
        whole: Whether the values are integers.
    """

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False

    @classmethod
    def parse(cls, key: str, values: str | Sequence[Any]) -> "Axis":
        """Return the axis of a key.

        Args:
            key: Dotted key of the spec.
            values: Values, or text: `A,B,C`, `LOW:HIGH`, `log:LOW:HIGH`, `int:LOW:HIGH` or
                `log:int:LOW:HIGH`. A value in text is written as in TOML, without quotes; an empty
                one leaves the key out.

        Raises:
            ArgumentError: The values are none of these, or a range is empty.
        """
        if not isinstance(key, str):
            raise ArgumentError(f"{key!r}: expected a key of the spec, as latent.size")
        if not isinstance(values, str):
            many = isinstance(values, (Sequence, np.ndarray, set))
            # NumPy's numbers become Python's, which can be written.
            choices = tuple(getattr(e, "item", lambda e=e: e)() for e in values) if many else ()
        elif found := RANGE.fullmatch(values.strip()):
            return cls._range(key, values, *found.groups())
        else:
            choices = tuple(_value(text.strip()) for text in COMMA.split(values))
        if not choices or choices == (None,):
            raise ArgumentError(
                f"{key}: expected a list of values, or text as A,B,C or LOW:HIGH; "
                f"received {values!r}"
            )
        axis = cls(key, choices)
        if len(set(axis.labels)) < len(choices):
            raise ArgumentError(f"{key}: a value is given twice, in {values!r}")
        return axis

    @classmethod
    def _range(cls, key: str, text: str, flags: str, low: str, high: str) -> "Axis":
        log, whole = "log:" in flags, "int:" in flags
        try:
            ends = [int(each) if whole else float(each) for each in (low, high)]
        except ValueError:
            kind = "integers" if whole else "numbers"
            raise ArgumentError(f"{key}: expected {kind} LOW:HIGH; received {text!r}") from None
        if not (all(map(math.isfinite, ends)) and ends[0] < ends[1] and (ends[0] > 0 or not log)):
            above = " above 0" if log else ""
            raise ArgumentError(
                f"{key}: expected LOW:HIGH with LOW < HIGH{above}; received {text!r}"
            )
        return cls(key, low=ends[0], high=ends[1], log=log, whole=whole)

    @property
    def labels(self) -> list[Any]:
        """The choices as Optuna stores them: lists and tables as JSON text."""
        return [json.dumps(e) if isinstance(e, (list, tuple, dict)) else e for e in self.choices]

    @property
    def examples(self) -> tuple[Any, ...]:
        """The choices, or both ends of the range and a value between them."""
        if self.choices:
            return self.choices
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return (self.low, round(middle) if self.whole else middle, self.high)

    def suggest(self, trial: Any) -> Any:
        """Return the value that an Optuna trial has for this axis."""
        if self.choices:
            label = trial.suggest_categorical(self.key, self.labels)
            return self.choices[self.labels.index(label)]
        suggest = trial.suggest_int if self.whole else trial.suggest_float
        return suggest(self.key, self.low, self.high, log=self.log)


@dataclass(frozen=True)
class Space:
    """The axes of a sweep around a spec.

    Attributes:
        base: Spec whose keys are changed.
        axes: Keys and their values.
    """

    base: ModelSpec
    axes: tuple[Axis, ...]

    @classmethod
    def parse(cls, base: ModelSpec, space: Mapping[str, str | Sequence[Any]]) -> "Space":
        """Return the space of keys and values around a spec.

        Args:
            base: Spec whose keys are changed.
            space: Values of each key, as `Axis.parse` takes them.

        Raises:
            ArgumentError: No key is given, a key may not change, or its values cannot be read.
            SpecError: A key does not exist, or the spec refuses a value with all values of the
                other keys.
        """
        if not isinstance(space, Mapping) or not space:
            raise ArgumentError(
                'Expected keys of the spec with values, as {"latent.size": [16, 32]}; '
                f"received {space!r}"
            )
        whole = cls(base, tuple(Axis.parse(key, values) for key, values in space.items()))
        for axis in whole.axes:
            for value in axis.examples:
                whole._check(axis, value)
            if axis.key.split(".")[0] not in SWEPT:
                raise ArgumentError(
                    f"{axis.key}: a sweep does not change this; expected a key of "
                    f"{', '.join(SWEPT)}"
                )
        return whole

    def _check(self, axis: Axis, value: Any) -> None:
        """Raise unless the spec takes a value, alone or with some values of the other keys."""
        others = [each for each in self.axes if each is not axis]
        combined = itertools.product(*(each.examples for each in others))
        error = None
        for values in itertools.chain([()], itertools.islice(combined, MAX_CHECKED)):
            rest = {each.key: beside for each, beside in zip(others, values)}
            try:
                self.spec({axis.key: value, **rest})
            except SpecError as refused:
                error = error or refused
            else:
                return
        assert error is not None
        ends = (axis.low, axis.high)
        if not axis.choices and not axis.whole and all(end == int(end) for end in ends):
            raise SpecError(f"{error}. Integers: int:{int(axis.low)}:{int(axis.high)}") from None
        raise error

    def spec(self, values: Mapping[str, Any]) -> ModelSpec:
        """Return the spec with these values of its keys; None leaves a key out.

        Raises:
            SpecError: A key does not exist, or the spec refuses the values together.
        """
        words = ", ".join(f"{key} = {value!r}" for key, value in values.items())
        content = self.base.model_dump(mode="json", exclude_none=True)
        for key, value in values.items():
            _put(content, key, value)
        return ModelSpec.from_dict(content, source=f"{self.base.name} with {words}")

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yield the labels of every combination of values.

        Raises:
            ArgumentError: An axis is a range.
        """
        for axis in self.axes:
            if not axis.choices:
                raise ArgumentError(f"{axis.key}: a grid needs values A,B,C; received a range")
        for labels in itertools.product(*(axis.labels for axis in self.axes)):
            yield {axis.key: label for axis, label in zip(self.axes, labels)}


def _put(content: Any, key: str, value: Any) -> None:
    """Set the value of a dotted key in nested tables and lists."""
    *path, last = key.split(".")
    for part in path:
        if isinstance(content, list) and part.isdigit() and int(part) < len(content):
            content = content[int(part)]
        else:
            content = content.setdefault(part, {}) if isinstance(content, dict) else None
    if not isinstance(content, dict):
        raise SpecError(f"{key}: no such key: {'.'.join(path)} is no table")
    if value is None:
        content.pop(last, None)
    else:
        content[last] = value


def _value(text: str) -> Any:
    """Return a value written as in TOML, or else the text; None for an empty one."""
    try:
        return tomllib.loads(f"value = {text}")["value"] if text else None
    except tomllib.TOMLDecodeError:
        return text
