"""Markdown from text that strangers may have written: it is shown, never obeyed."""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

_INLINE = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
"""What has a meaning within a line; `_` has none between letters or digits."""

_LEADING = re.compile(r"^(\d*)([-+=#.)])")
"""What would begin a heading, a list, a rule or an underline."""


def one_line(text: object) -> str:
    """Return text in one line: white space collapsed, control and format characters left out."""
    words = " ".join(str(text).split())
    return "".join(char for char in words if unicodedata.category(char) not in ("Cc", "Cf", "Cs"))


def label(text: object) -> str:
    """Return text in one line that cannot hold a tag or a comment: for the metadata."""
    return one_line(re.sub(r"[<>]", "", str(text)))


def inline(text: object) -> str:
    """Return Markdown that shows a text as it is, within a line that we begin.

    No character of it ends a table cell or a block, begins a comment or another tag, or makes
    an image or a named link.
    """
    return _INLINE.sub(r"\\\g<0>", html.escape(one_line(text), quote=False))


def plain(text: object) -> str:
    """Return as `inline`, but for a text that begins a line."""
    return _LEADING.sub(r"\1\\\2", inline(text))


def code(text: object) -> str:
    """Return text as inline code where that can be, else as `inline` does."""
    words = one_line(text)
    return inline(words) if not words or re.search(r"[`|<>&\\]", words) else f"`{words}`"


def enumeration(items: Iterable[str]) -> str:
    """Return items with commas between, without those that are empty."""
    return ", ".join(item for item in items if item)


def fenced(language: str, text: str) -> str:
    """Return a block of code; the text holds no line that begins with a fence."""
    return f"```{language}\n{text.strip()}\n```"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Return a table of cells that are Markdown already; the columns `right` are right-aligned."""
    numbers = set(right)
    rule = ["---:" if index in numbers else "---" for index in range(len(titles))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [titles, rule, *rows])


def bullets(items: Iterable[str]) -> str:
    """Return a list of items that are Markdown already."""
    return "\n".join(f"- {item}" for item in items)
