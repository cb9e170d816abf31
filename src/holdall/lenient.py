"""Lenient parsing of servers' JSON: with text around it, unpaired surrogates, or one unreadable record.

Always linear time, no recursion, and within the limits of ``untrusted``.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import msgspec

from holdall.untrusted import MAX_VALUES, STRING, NotJson, read_json, require_plain

# A pair, or in the group half of one that has lost the other. Behind an even number of backslashes, which mean
# themselves.
_HALVES = re.compile(
    rb"(?<!\\)(?:\\\\)*+(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2}))"
)
_MARKS = re.compile(STRING.pattern + rb"|[\[\]{},:]", re.DOTALL)


def readable(raw: bytes) -> bytes:
    """Lenient JSON as JSON that every decoder reads; returns the same bytes if they are that already.

    >>> readable(rb'{"a": "\\ud83d", "b": NaN}').decode()
    '{"a":"\ufffd","b":"NaN"}'
    """
    with suppress(ValueError):
        require_plain(raw)
        msgspec.json.decode(raw)
        return raw
    return msgspec.json.encode(read_json(raw, lenient=True))


def without_half_characters(raw: bytes) -> bytes:
    """JSON with each unpaired surrogate escape replaced by that of U+FFFD, of equal length; a copy only if there is
    one.

    Programs that cut text between two UTF-16 units write them; JSON's grammar allows them.

    >>> without_half_characters(rb'["\\ud83d", "\\ud83d\\ude00", "\\\\ud83d"]').decode()
    '["\\\\ufffd", "\\\\ud83d\\\\ude00", "\\\\\\\\ud83d"]'
    """
    if b"\\ud" not in raw and b"\\uD" not in raw:
        return raw
    made: bytearray | None = None
    for found in _HALVES.finditer(raw):
        start, end = found.span(1)
        if start >= 0:
            made = made or bytearray(raw)
            made[start:end] = b"\\ufffd"
    return bytes(made) if made else raw


def split_json(raw: bytes) -> tuple[list[bytes], int]:
    """The pieces between brackets, commas and colons of the list or object at the start of ``raw``, and its end. A
    piece may be anything whose strings and brackets close.

    Linear time, no recursion: this isolates an unreadable record. ValueError if it isn't a list or object, doesn't
    close, or has more than ``MAX_VALUES`` pieces.

    >>> split_json(b'{"data": [[[1]], "\\xff"], "x": NaN} what follows')
    ([b'"data"', b'[[[1]], "\\xff"]', b'"x"', b'NaN'], 32)
    """
    if not raw.startswith((b"[", b"{")):
        raise NotJson("it is neither a list nor an object")
    pieces: list[bytes] = []
    start, depth = 1, 0
    for found in _MARKS.finditer(raw):
        mark = raw[found.start()]
        if mark in (0x5B, 0x7B):  # [ {
            depth += 1
        elif mark in (0x5D, 0x7D):  # ] }
            depth -= 1
        if depth == 0 or (depth == 1 and mark in (0x2C, 0x3A)):  # , :
            if len(pieces) == MAX_VALUES:
                raise ValueError(f"more than {MAX_VALUES} values")
            pieces.append(raw[start : found.start()].strip())
            start = found.end()
        if depth == 0:
            return (pieces if len(pieces) > 1 or pieces[0] else []), start
    raise NotJson("it is truncated")


def trimmed(raw: bytes) -> bytes:
    """A body without byte order mark and surrounding white space (which some servers send to keep a connection)."""
    return raw.strip().removeprefix(b"\xef\xbb\xbf").lstrip()


def first_value(raw: bytes) -> bytes:
    """A body's JSON, ``trimmed``, without what follows its object or list.

    >>> first_value(b'\\xef\\xbb\\xbf {"a": 1}\\n<!-- debug -->')
    b'{"a": 1}'
    """
    raw = trimmed(raw)
    with suppress(ValueError, RecursionError):
        msgspec.json.decode(raw, type=msgspec.Raw)
        return raw
    with suppress(ValueError):
        return raw[: split_json(raw)[1]]
    return raw


def read_members(raw: bytes) -> dict[str, Any]:
    """The members of an object, each read leniently; unreadable ones are left out. ValueError if it isn't an object."""
    pieces, _ = split_json(raw.lstrip())
    if not raw.lstrip().startswith(b"{"):
        raise NotJson("it is not an object")
    found: dict[str, Any] = {}
    for key, value in zip(pieces[::2], pieces[1::2], strict=False):
        with suppress(ValueError):
            found[str(read_json(key, lenient=True))] = read_json(value, lenient=True)
    return found
