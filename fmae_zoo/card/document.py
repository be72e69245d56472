"""A card as a document: metadata, text that a person wrote, and the generated block."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import yaml  # type: ignore[import-untyped]  # it comes without types

from fmae_zoo.errors import SpecError

BEGIN = "<!-- fmae_zoo: begin -->"
END = "<!-- fmae_zoo: end -->"
"""The text between these two markers is generated; the rest of a card belongs to its owner."""

_BOM = "\ufeff"
_MARKER = re.compile(r"<!--\s*fmae_zoo:\s*(begin|end)\s*-->")
_ERRORS = (yaml.YAMLError, ValueError, TypeError, RecursionError)
"""Errors that PyYAML raises for text that is not YAML, and for dates that do not exist."""


@dataclass(frozen=True)
class Document:
    """The text of a README.md, split into its parts.

    Attributes:
        opening: First line of the metadata, with any white space before it.
        header: Metadata as YAML, with its last line break.
        closing: Line that ends the metadata.
        body: All text after the metadata.
        newline: Line break of the person's text, used for generated text too.
        source: Name of the text in error messages.
    """

    opening: str
    header: str
    closing: str
    body: str
    newline: str
    source: str

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """Split a text into its parts, without a byte order mark, which would hide the metadata.

        Raises:
            SpecError: The metadata has no end, or its YAML is not valid.
        """
        from huggingface_hub.repocard import REGEX_YAML_BLOCK

        text = text.removeprefix(_BOM)
        match = REGEX_YAML_BLOCK.search(text)
        body = text[match.end() :] if match else text
        around = _MARKER.split(body)
        newline = _newline_of(around[0] + around[-1]) or _newline_of(text) or "\n"
        if match is None:
            if text.lstrip().splitlines()[:1] == ["---"]:
                raise SpecError(
                    f"{source}: its metadata has no end: expected a line of three hyphens, lines "
                    "of keys and values, and another line of three hyphens"
                )
            body = body if not body or body.startswith(("\r", "\n")) else newline + body
            return cls(f"---{newline}", "", f"---{newline}", body, newline, source)
        closing = match.group(3).lstrip("\r\n")
        header = match.group(2) + match.group(3).removesuffix(closing)
        if not closing.endswith(("\r", "\n")):
            closing += newline
        document = cls(match.group(1), header, closing, body, newline, source)
        document.metadata()
        return document

    @property
    def text(self) -> str:
        """The whole text."""
        return self.opening + self.header + self.closing + self.body

    def metadata(self, as_written: bool = False) -> dict[str, Any]:
        """Return the metadata; with `as_written`, each value is text, `no` for example.

        Raises:
            SpecError: It is not valid YAML, or not a table with each key once, on its own line.
        """
        try:
            for _ in self._segments():
                pass
            loader = yaml.BaseLoader if as_written else yaml.SafeLoader
            return yaml.load(self.header, Loader=loader) or {}
        except _ERRORS as error:
            reason = " ".join(str(error).split())
            raise SpecError(
                f"{self.source}: its metadata is not valid YAML: {reason}. Mend it, or take the "
                "lines between the first two lines of three hyphens out"
            ) from None

    def items(self, key: str) -> list[str]:
        """Return the list of texts under a key of the metadata, as written.

        Raises:
            SpecError: It is not a list of texts.
        """
        found = self.metadata(as_written=True).get(key) or []
        found = [found] if isinstance(found, str) else found
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise SpecError(f"{self.source}: {key}: expected a list of texts; received {found!r}")
        return found

    def with_metadata(self, values: Mapping[str, Any], absent: tuple[str, ...]) -> Self:
        """Return the document with new metadata values; other keys stay byte for byte.

        Args:
            values: Values by key. They replace existing ones, or are added at the end.
            absent: Keys to remove if they are not in `values`.
        """
        parts, written = [], set()
        for key, segment in self._segments():
            if key in values:
                parts.append(self._dump(key, values[key]) + _trailing(segment))
                written.add(key)
            else:
                parts.append(_trailing(segment) if key in absent else segment)
        parts += [self._dump(key, values[key]) for key in values if key not in written]
        return replace(self, header="".join(parts))

    def with_block(self, block: str) -> Self:
        """Return the document with the generated block replaced, or appended if there is none.

        Raises:
            SpecError: The markers are damaged.
        """
        block = f"{BEGIN}\n{block.strip()}\n{END}".replace("\n", self.newline)
        found = list(_MARKER.finditer(self.body))
        kinds = [marker.group(1) for marker in found]
        if kinds == ["begin", "end"]:
            body = self.body[: found[0].start()] + block + self.body[found[1].end() :]
            return replace(self, body=body)
        if not kinds:
            ends = re.search(r"(?:\r\n|\r|\n)*\Z", self.body)
            breaks = len(ends.group().replace("\r\n", "\n")) if ends else 0
            needed = max(0, (2 if self.body.strip() else 1) - breaks)
            return replace(self, body=self.body + self.newline * needed + block + self.newline)
        raise SpecError(
            f"{self.source}: its markers are damaged: expected {BEGIN} and, after it, {END}, each "
            f"once; received {', '.join(kinds)}. Put them around the generated text again, or take "
            "that text and its markers out: it is then written at the end"
        )

    def _segments(self) -> Iterator[tuple[str, str]]:
        """Yield an empty key with the lines before the first key, then each key with its lines."""
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(self.header)):
            raise ValueError("a value refers to another (&, *); expected each written out")
        node = yaml.compose(self.header, Loader=yaml.SafeLoader)
        if node is None:
            yield "", self.header
            return
        if not isinstance(node, yaml.MappingNode):
            raise ValueError("expected keys and their values")
        keys = [key for key, _ in node.value]
        names = [str(key.value) for key in keys]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"there twice: {', '.join(twice)}")
        if node.flow_style or any(key.start_mark.column for key in keys):
            raise ValueError("expected each key at the beginning of a line of its own")
        starts = [key.start_mark.index for key in keys]
        yield "", self.header[: starts[0]]
        for name, start, end in zip(names, starts, [*starts[1:], len(self.header)]):
            yield name, self.header[start:end]

    def _dump(self, key: str, value: Any) -> str:
        from huggingface_hub.utils import yaml_dump

        return yaml_dump({key: value}, sort_keys=False).replace("\n", self.newline)


def _trailing(segment: str) -> str:
    """Return the comments and empty lines at the end of a key's lines."""
    lines = segment.splitlines(keepends=True)
    count = 0
    while count < len(lines) - 1 and re.match(r"#|\s*$", lines[-1 - count]):
        count += 1
    return "".join(lines[len(lines) - count :])


def _newline_of(text: str) -> str:
    """Return the more common line break of a text, or an empty string if it has none."""
    pairs, all_breaks = text.count("\r\n"), text.count("\n")
    if not all_breaks:
        return ""
    return "\r\n" if 2 * pairs > all_breaks else "\n"
