"""Lines broken between words to the width of a terminal, and columns of a table. Pure."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

# Combining characters stand on the one before them.
_NO_COLUMN = frozenset({"Mn", "Me"})
# Columns that are left of a name in a table.
_NARROWEST = 10


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


def shortened(text: str, most: int) -> str:
    """``text`` in at most ``most`` columns, cut between words if there are several.

    >>> shortened("three short words", 12)
    'three short…'
    """
    if columns(text) <= most:
        return text
    room, end = most - 1, 0
    while end < len(text) and (room := room - _columns(text[end])) >= 0:
        end += 1
    space = text.rfind(" ", end // 2, end + 1)
    return f"{text[: space if space > 0 else end].rstrip()}…"


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


def table(rows: Sequence[Sequence[str]], gap: int = 2, width: int | None = None) -> Iterator[str]:
    """The rows as lines, each column as wide as its widest cell; the last column is not padded.

    Where a line would be wider than ``width``, the first column is cut, down to ten columns.
    """
    widths = [max(map(columns, cells)) for cells in zip(*rows, strict=True)]
    if width is not None and (over := sum(widths) + gap * (len(widths) - 1) - width) > 0:
        widths[0] = min(widths[0], max(widths[0] - over, _NARROWEST))
    for first, *others in rows:
        row = [shortened(first, widths[0]), *others]
        padded = (f"{cell}{' ' * (width - columns(cell) + gap)}" for cell, width in zip(row, widths, strict=True))
        yield "".join(padded).rstrip()
