"""JSON from outside, looked at before anything decodes it: how long, how deep, in what encoding it may be.

A decoder answers nesting without end with RecursionError, at a depth that depends on who calls it, and makes some
twenty bytes of every byte of empty lists. What has passed here can be decoded by anybody, anywhere: it fails, if at
all, with msgspec's own errors.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import msgspec

__all__ = ["MAX_DEPTH", "MAX_JSON", "bare", "read_json", "read_once", "require_plain"]

MAX_JSON = 8 << 20
"""Bytes of one record, one line or one holdall.json (docs/format.md, "Limits")."""
MAX_DEPTH = 200
"""Lists and objects inside each other."""

# One without an end is taken to the end: else each quote in it would be tried anew.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\)?', re.DOTALL)
_TOKENS = re.compile(rb'(?:[^"]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
_PIECE = 256 << 10
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # one down, one up, as signed bytes


def require_plain(raw: bytes, *, longest: int = MAX_JSON) -> None:
    """Raises ValueError where ``raw`` is too long, too deep, or not UTF-8.

    >>> require_plain(b'{"a": [1, "[[[["]}')
    >>> require_plain(b"[" * 300 + b"]" * 300)
    Traceback (most recent call last):
    ...
    ValueError: nested more than 200 deep
    """
    if len(raw) > longest:
        raise ValueError(f"{len(raw)} bytes long, more than {longest}")
    if not raw.isascii():
        raw.decode()
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")


def read_json(raw: bytes) -> Any:
    """``raw``, which need not have passed ``require_plain``, as values. Half a surrogate pair becomes U+FFFD, a number
    that Python has none for the text of it. ValueError where it is not plain, or not JSON.

    >>> read_json(b'{"a": ["\\ud83d", 1e999]}')
    {'a': ['\ufffd', '1e999']}
    """
    require_plain(raw)
    try:
        return msgspec.json.decode(raw)
    except (ValueError, msgspec.MsgspecError):
        found = json.loads(raw.decode(), parse_int=_number, parse_float=_number, parse_constant=_refuse)
        text = json.dumps(found, ensure_ascii=False)
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _number(digits: str) -> int | float | str:
    try:
        number = float(digits) if not digits.lstrip("-").isdigit() else int(digits)
    except ValueError:  # more digits than Python reads
        return digits
    return number if isinstance(number, int) or math.isfinite(number) else digits


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def read_once(raw: bytes, *, values: int) -> dict[str, Any]:
    """The JSON object ``raw``, which has passed ``require_plain``. Raises ValueError where any object in it has a key
    twice, which readers would read in two ways, or where it holds more than so many ``values``: members and elements.

    >>> read_once(b'{"id": "a", "id": "b"}', values=100)
    Traceback (most recent call last):
    ...
    ValueError: the key 'id' twice
    """
    if _separators(raw) > values and sum(map(_separators, bare(raw))) > values:
        raise ValueError(f"more than {values} values in it")
    found = json.loads(raw.decode(), object_pairs_hook=_once)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found


def _separators(raw: bytes) -> int:
    """At least as many as there are values, where ``raw`` is JSON."""
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:100]!r} twice")
    return found


def bare(raw: bytes) -> Iterator[bytes]:
    """``raw`` without its strings, in pieces: cut out at once, a million strings take a hundred million bytes."""
    at = 0
    while at < len(raw):
        found = _TOKENS.match(raw, at, min(at + _PIECE, len(raw)))
        end = found.end() if found else at
        if end > at:
            yield _STRING.sub(b"", raw[at:end])
        elif long := _STRING.match(raw, at):
            end = long.end()
        at = end


def _depth(raw: bytes) -> int:
    deepest = depth = 0
    for piece in bare(raw):
        steps = array("b", piece.translate(_STEPS, _ALL_BUT_BRACKETS))
        deepest = max(deepest, max(accumulate(steps, initial=depth)))
        depth += sum(steps)
    return deepest
