"""Markdown from text that strangers may have written: it is shown, never interpreted."""

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

_INLINE = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")
"""Characters with a meaning inside a line; `_` has none between letters or digits."""

_LEADING = re.compile(r"^(\d*)([-+=#.)])")
"""Start of a line that would make it a heading, a list, a rule or an underline."""


def one_line(text: object) -> str:
    """Return text on one line: white space collapsed, control and format characters removed."""
    words = " ".join(str(text).split())
    return "".join(char for char in words if unicodedata.category(char) not in ("Cc", "Cf", "Cs"))


def label(text: object) -> str:
    """Return text on one line without `<` and `>`, so that metadata holds no tag or comment."""
    return one_line(re.sub(r"[<>]", "", str(text)))


def inline(text: object) -> str:
    """Return Markdown that shows a text as it is, inside a line that begins with other text.

    No character of the text ends a table cell or a block, begins a comment or another tag, or makes
    an image or a named link.
    """
    return _INLINE.sub(r"\\\g<0>", html.escape(one_line(text), quote=False))


def plain(text: object) -> str:
    """Return Markdown as `inline` does, for a text at the beginning of a line."""
    return _LEADING.sub(r"\1\\\2", inline(text))


def code(text: object) -> str:
    """Return text as inline code if possible, else as `inline` does."""
    words = one_line(text)
    return inline(words) if not words or re.search(r"[`|<>&\\]", words) else f"`{words}`"


def shown(value: bool | int | float | str) -> str:
    """Return a setting as Markdown, rounded if it is a number."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else inline(value)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Return a table of cells in Markdown; the columns with indices `right` are right-aligned."""
    numbers = set(right)
    rule = ["---:" if index in numbers else "---" for index in range(len(titles))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [titles, rule, *rows])
