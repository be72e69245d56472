"""A card as a document: metadata, text that a person wrote, and the generated block."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import yaml  # type: ignore[import-untyped]  # it comes without types

from fmae_zoo.errors import SpecError

BEGIN = "<!-- fmae_zoo: begin -->"
END = "<!-- fmae_zoo: end -->"
"""The text between these two markers is generated; the rest of a card belongs to its owner."""

_MARKER = re.compile(r"<!--\s*fmae_zoo:\s*(begin|end)\s*-->")
_COMMENTS = re.compile(r"(?:^(?:#.*|[ \t\r]*)\n)*\Z", re.MULTILINE)
"""Comments and empty lines at the end of a key's lines."""


@dataclass(frozen=True)
class Document:
    """The text of a README.md: metadata as lines of YAML, and all text after it.

    Generated text gets the `newline` of the text. `source` is its name in error messages.
    """

    header: str
    body: str
    newline: str
    source: str

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """Split a text into its parts, without a byte order mark, which would hide the metadata.

        Raises:
            SpecError: The metadata has no end.
        """
        from huggingface_hub.repocard import REGEX_YAML_BLOCK

        text = text.removeprefix("\ufeff")
        newline = "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"
        match = REGEX_YAML_BLOCK.match(text)
        if match:
            return cls(match[2] + newline, text[match.end() :], newline, source)
        if text.lstrip().splitlines()[:1] == ["---"]:
            raise SpecError(f"{source}: its metadata has no end, a second line of three hyphens")
        return cls("", newline + text, newline, source)

    def metadata(self, loader: type = yaml.SafeLoader, kind: Callable[..., Any] = dict) -> Any:
        """Return the metadata as a `kind` of dictionary.

        Raises:
            SpecError: It is not YAML, not a table of keys, or `kind` refuses it.
        """
        try:
            if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(self.header)):
                raise ValueError("a value refers to another (&, *); expected each written out")
            self._keys()
            return kind(**(yaml.load(self.header, Loader=loader) or {}))
        except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise SpecError(
                f"{self.source}: its metadata is not valid YAML of a model card: "
                f"{' '.join(str(error).split())}. Mend it, or take the lines between the first two "
                "lines of three hyphens out"
            ) from None

    def _keys(self) -> dict[str, int]:
        """Return where in the header each key begins.

        Raises:
            ValueError: The header is no table of keys; or a key is there twice, or not at the
                beginning of a line.
        """
        node = yaml.compose(self.header, Loader=yaml.SafeLoader)
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise ValueError("expected keys and their values")
        starts: dict[str, int] = {}
        for key, _ in node.value:
            if not key.value or key.value in starts or key.start_mark.column:
                raise ValueError(f"{key.value!r}: expected each key once, on its own line")
            starts[key.value] = key.start_mark.index
        return starts

    def items(self, key: str) -> list[str]:
        """Return the list of texts under a key of the metadata, as written: `no` is a text.

        Raises:
            SpecError: It is not a list of texts.
        """
        found = self.metadata(yaml.BaseLoader).get(key) or []
        found = [found] if isinstance(found, str) else found
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise SpecError(f"{self.source}: {key}: expected a list of texts; received {found!r}")
        return found

    def with_metadata(self, values: Mapping[str, Any]) -> Self:
        """Return the document with new values, None for none; other keys stay byte for byte."""
        from huggingface_hub.utils import yaml_dump

        keys = self._keys()
        starts = [0, *keys.values(), len(self.header)]
        lines = [self.header[start:end] for start, end in pairwise(starts)]
        parts = dict(zip(["", *keys], lines))
        for key, value in values.items():
            new = "" if value is None else yaml_dump({key: value}, sort_keys=False)
            comments = _COMMENTS.search(parts.get(key, ""))
            parts[key] = new.replace("\n", self.newline) + (comments.group() if comments else "")
        return replace(self, header="".join(parts.values()))

    def with_block(self, block: str) -> str:
        """Return the text with the generated block replaced, or appended if there is none.

        Raises:
            SpecError: The markers are damaged.
        """
        text = f"---{self.newline}{self.header}---{self.newline}{self.body}"
        block = f"{BEGIN}\n{block}\n{END}".replace("\n", self.newline)
        kinds = _MARKER.findall(text)
        if kinds == ["begin", "end"]:
            before, *_, after = _MARKER.split(text)
            return before + block + after
        if kinds:
            raise SpecError(
                f"{self.source}: its markers are damaged: expected {BEGIN} and, after it, {END}, "
                f"each once; received {', '.join(kinds)}. Put them around the generated text "
                "again, or take that text and its markers out: it is then written at the end"
            )
        while not text.endswith(2 * self.newline):
            text += self.newline
        return text + block + self.newline
