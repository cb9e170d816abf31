"""What servers and bundles say, made fit to be read: nothing in it moves a cursor, hides or turns round. Pure."""

from __future__ import annotations

import re
import unicodedata

# Control, format (bidi), surrogate, and what some terminals and editors take for the end of a line.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_UNUSUAL = re.compile(r"[^ -~\n\t]")


def printable(text: str) -> str:
    """``text`` with control, format (bidi) and surrogate characters escaped, newline and tab kept.

    >>> printable("a\\x1b[31mb\\u202ec")
    'a\\\\x1b[31mb\\\\u202ec'
    """
    return _UNUSUAL.sub(lambda found: _escaped(found[0]) if _is_unprintable(found[0]) else found[0], text)


def _is_unprintable(char: str) -> bool:
    return unicodedata.category(char) in _UNPRINTABLE


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_printable(document: str) -> str:
    """As ``printable``, by JSON's own escapes: in JSON such characters, line ends apart, are always inside strings."""

    def escaped(found: re.Match[str]) -> str:
        units = found[0].encode("utf-16-be", "surrogatepass").hex(" ", 2) if _is_unprintable(found[0]) else ""
        return "".join(f"\\u{unit}" for unit in units.split()) or found[0]

    return _UNUSUAL.sub(escaped, document)


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
