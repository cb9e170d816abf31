"""JSON from outside, looked at before anything decodes it: how long, how deep, in what encoding it may be.

A decoder answers nesting without end with RecursionError, at a depth that depends on who calls it, and makes some
twenty bytes of every byte of empty lists. What has passed here can be decoded by anybody, anywhere: it fails, if at
all, with msgspec's own errors.
"""

from __future__ import annotations

import re
from array import array
from itertools import accumulate

__all__ = ["MAX_DEPTH", "MAX_JSON", "pruned", "require_plain"]

MAX_JSON = 8 << 20
"""Bytes of one record, one line or one holdall.json (docs/format.md, "Limits")."""
MAX_DEPTH = 200
"""Lists and objects inside each other."""

# One that never ends goes to the end: looked for anew behind each of its quotes, it would take quadratic time.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
# A record in a list is two levels down.
_PRUNED = MAX_DEPTH + 3
_STRING_OR_BRACKET = re.compile(_STRING.pattern + rb"|[\[\]{}]", re.DOTALL)
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # one down, one up, as signed bytes


def require_plain(raw: bytes, most: int = MAX_JSON) -> None:
    """Raises ValueError where ``raw`` is longer than ``most`` bytes, too deep, or not UTF-8.

    >>> require_plain(b'{"a": [1, "[[[["]}')
    >>> require_plain(b"[" * 300 + b"]" * 300)
    Traceback (most recent call last):
    ...
    ValueError: nested more than 200 deep
    """
    if len(raw) > most:
        raise ValueError(f"{len(raw)} bytes long, more than {most}")
    if not raw.isascii():
        raw.decode()
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")


def _depth(raw: bytes) -> int:
    brackets = _STRING.sub(b"", raw).translate(_STEPS, _ALL_BUT_BRACKETS)
    return max(accumulate(array("b", brackets)), default=0)


def pruned(raw: bytes) -> bytes:
    """A list of records from which what is far too deep is cut out, so that it can be decoded for its neighbours' sake.

    What was cut is too deep still: ``require_plain`` refuses the record. Raises ValueError where ``raw`` is not UTF-8,
    or so long that no one record is to blame.

    >>> len(pruned(b'{"data": [{"a": 1}, ' + b"[" * 5000 + b"]" * 5000 + b"]}"))
    424
    """
    if not raw.isascii():
        raw.decode()
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH or _depth(raw) <= MAX_DEPTH:
        return raw
    if len(raw) > MAX_JSON:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    kept, start, depth = [], 0, 0
    for found in _STRING_OR_BRACKET.finditer(raw):
        match raw[found.start()]:
            case 0x5B | 0x7B:  # [ {
                depth += 1
                if depth == _PRUNED:
                    kept.append(raw[start : found.end()])
            case 0x5D | 0x7D:  # ] }
                if depth == _PRUNED:
                    start = found.start()
                depth -= 1
    return b"".join([*kept, raw[start:]] if depth < _PRUNED else kept)
