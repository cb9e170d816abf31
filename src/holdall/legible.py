"""Text for people: control characters escaped, numbers in words, lines wrapped to the width of a terminal, tables, and
lists of findings that are cut where they get long. Pure.

What servers and bundles say can't move a cursor, hide or turn round. Lines break between words only.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

KEPT = 1000
"""Findings of one kind that are kept to be reported."""

# Control, format (bidi), surrogate, and what some terminals and editors take for the end of a line.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_UNUSUAL = re.compile(r"[^ -~\n\t]")
# Combining characters stand on the one before them.
_NO_COLUMN = frozenset({"Mn", "Me"})
# Columns that are left of a name in a table.
_NARROWEST = 10


def printable(text: str) -> str:
    """``text`` with control, format (bidi) and surrogate characters escaped, newline and tab kept.

    >>> printable("a\\x1b[31mb\\u202ec")
    'a\\\\x1b[31mb\\\\u202ec'
    """
    return _UNUSUAL.sub(lambda found: _escaped(found[0]) if _is_unprintable(found[0]) else found[0], text)


def json_printable(document: str) -> str:
    """As ``printable``, by JSON's own escapes: in JSON such characters, line ends apart, are always inside strings."""

    def escaped(found: re.Match[str]) -> str:
        units = found[0].encode("utf-16-be", "surrogatepass").hex(" ", 2) if _is_unprintable(found[0]) else ""
        return "".join(f"\\u{unit}" for unit in units.split()) or found[0]

    return _UNUSUAL.sub(escaped, document)


def _is_unprintable(char: str) -> bool:
    return unicodedata.category(char) in _UNPRINTABLE


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def flat(value: object) -> str:
    """``value`` on one line: names of servers and bundles may have line ends."""
    return " ".join(str(value).splitlines())


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def human_size(count: int | float) -> str:
    """Bytes for people: ``0 B``, ``1.4 kB``, ``12 MB`` (powers of 1000)."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 999.5 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 9.95 else f"{size:.1f} {unit}"


def columns(text: str) -> int:
    """Columns that ``text`` takes on a terminal: two for a wide character, none for a combining one.

    >>> columns("茶"), columns("tea")
    (2, 3)
    """
    if text.isascii():
        return len(text)
    return sum(_columns_of(char) for char in text)


def _columns_of(char: str) -> int:
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
    while end < len(text) and (room := room - _columns_of(text[end])) >= 0:
        end += 1
    space = text.rfind(" ", end // 2, end + 1)
    return f"{text[: space if space > 0 else end].rstrip()}…"


def wrapped(text: str, width: int | None, hang: int = 4) -> list[str]:
    """``text`` in lines of at most ``width`` columns; later lines are indented ``hang`` more than the first.

    Breaks between words only, so that an id or a path can be copied. ``width`` None: one line.

    >>> wrapped("  two words or more", 14, hang=2)
    ['  two words or', '    more']
    """
    if width is None or columns(text) <= width:
        return [text]
    indent = len(text) - len(text.lstrip(" "))
    # textwrap counts characters, a terminal columns: a wide one takes a second, which is taken out again.
    wide = "".join(f"{char}\0" if _columns_of(char) == 2 else char for char in text)
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


class Capped(list[T]):
    """A list that takes up to ``KEPT`` by ``append`` and ``+=``; ``total`` counts all that it was given.

    >>> found = Capped()
    >>> found += range(1005)
    >>> len(found), found.total
    (1000, 1005)
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def append(self, item: T, /) -> None:
        self.total += 1
        if len(self) < KEPT:
            super().append(item)

    def __iadd__(self, items: Iterable[T], /) -> Capped[T]:  # type: ignore[override,misc]
        # list's own would not call append.
        for item in items:
            self.append(item)
        return self
