"""Lines broken between words to the width of a terminal, and columns of a table. Pure."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

# Combining characters stand on the one before them.
_NO_COLUMN = frozenset({"Mn", "Me"})


def columns(text: str) -> int:
    """Columns that ``text`` takes on a terminal: two for a wide character, none for a combining one.

    >>> columns("茶"), columns("tea")
    (2, 3)
    """
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.category(char) in _NO_COLUMN:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def wrapped(text: str, width: int | None, hang: int = 4) -> list[str]:
    """``text`` in lines of at most ``width`` columns; later lines are indented ``hang`` more than the first.

    Breaks between words only, so that an id or a path can be copied. ``width`` None: one line.

    >>> wrapped("  two words", 8, hang=2)
    ['  two', '    words']
    """
    if width is None or columns(text) <= width:
        return [text]
    indent = len(text) - len(text.lstrip(" "))
    # textwrap counts characters, a terminal columns: a wide one takes a second, which is taken out again.
    wide = "".join(f"{char}\0" if _columns(char) == 2 else char for char in text)
    lines = textwrap.wrap(
        wide,
        max(width, indent + hang + 10),
        subsequent_indent=" " * (indent + hang),
        replace_whitespace=False,
        expand_tabs=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", "") for line in lines] or [""]


def clipped(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns; what is cut off is marked.

    >>> clipped("a long name", 7)
    'a long…'
    """
    if columns(text) <= width:
        return text
    left = width - 1
    for number, char in enumerate(text):
        left -= _columns(char)
        if left < 0:
            return f"{text[:number].rstrip()}…"
    return text


def table(rows: Sequence[Sequence[str]], gap: int = 2) -> Iterator[str]:
    """The rows as lines, each column as wide as its widest cell; the last column is not padded."""
    widths = [max(map(columns, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        padded = (f"{cell}{' ' * (width - columns(cell) + gap)}" for cell, width in zip(row, widths, strict=True))
        yield "".join(padded).rstrip()
