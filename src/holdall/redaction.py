"""Removes keys from a server's answers, in whatever encoding. Pure: text in, text out.

A key is found plain, as base64 (standard and URL-safe, at each of its three alignments) and as hex; each of these in
capitals or small letters, with white space or line ends in between, and written with the escapes of JSON, HTML or URLs.
Parts of a key are found too, if long enough to be useful; shorter ones occur in ordinary text.

In JSON only strings are searched, each alone, so its shape is kept: otherwise a key of digits could match numbers, and
one with a comma several fields.

Linear in the text. A comparison of eight bytes at every fourth place rules out nearly all texts; only the rest is
searched byte by byte.
"""

from __future__ import annotations

import json
import re
from array import array
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from holdall.untrusted import STRING

MARK = "[key]"
"""What stands in a key's place."""


_SHORTEST_KEY = 8
"""Letters of a key that is taken for one at all, if it has a digit: others are words, which look-alikes are given."""
_LONG_KEY = 16
"""Letters from which on a key needs no digit."""
_SHORTEST_PART = 12
"""Letters of a part of a key that is of use."""
_SHORTEST_WORDS = 20
"""The same for a part that has neither digit nor capital: it may be words of ordinary text."""

# What looks like a key or a token, whoever owns it.
_KEYLIKE = re.compile(r"(?i)\b(?:sk|pk|sess|rk)-[a-z0-9_*.-]{4,}|\bBearer\s+\S+|\beyJ[a-z0-9_-]{10,}[a-z0-9_.-]*")

# Numbers of eight bytes are compared, at every fourth place.
_STEP = 4
_GRAM = 8

_SPACE = b" \t\r\n\f\v"
_WHITE = re.compile(rb"[ \t\r\n\f\v]+")
# In each the first group is a code in hex digits, the second a letter or name, the third a code in decimal ones.
_IN_JSON = re.compile(rb"\\(?:(?:u00|x)([0-7][0-9a-fA-F])|([\"\\/nrtbf]))")
_IN_HTML = re.compile(rb"&(?:#x0{0,6}([0-7]?[0-9a-f])|(amp|lt|gt|quot|apos|nbsp)|#0{0,6}([0-9]{1,3}));", re.I)
_IN_URLS = re.compile(rb"%([0-7][0-9a-fA-F])")
# The others stand for white space.
_NAMED = {b'"': b'"', b"\\": b"\\", b"/": b"/", b"amp": b"&", b"lt": b"<", b"gt": b">", b"quot": b'"', b"apos": b"'"}
# As they stand inside each other, the outermost first: JSON, also in a string of JSON, HTML, URLs.
_ESCAPES = ((b"\\", _IN_JSON), (b"\\", _IN_JSON), (b"\\", _IN_JSON), (b"&", _IN_HTML), (b"%", _IN_URLS))


def redacted(text: str, *keys: str) -> str:
    """``text`` without anything that looks like a key or token, and without ``keys`` themselves in any encoding."""
    return _KEYLIKE.sub(MARK, redactor(keys).text(text))


@lru_cache(maxsize=16)
def redactor(keys: tuple[str, ...]) -> Redactor:
    """The Redactor of these keys."""
    return Redactor(keys)


class Redactor:
    """Removes the given keys; placeholders stay."""

    def __init__(self, keys: tuple[str, ...]) -> None:
        # By length, longest first: all parts of that length that are not to be seen.
        self._parts: dict[int, set[bytes]] = {}
        forms = [form for key in keys if _is_secret(key) for form in self._forms(key.encode(errors="replace"))]
        self._parts = dict(sorted(self._parts.items(), reverse=True))
        self._longest = next(iter(self._parts), 0)
        self._short = [form for form in forms if len(form) < _GRAM + _STEP - 1]
        grams = b"".join(form[place : place + _GRAM] for form in forms for place in range(len(form) - _GRAM + 1))
        self._grams = frozenset(memoryview(grams).cast("Q"))

    def _forms(self, key: bytes) -> Iterator[bytes]:
        """The encodings of a key, without escapes; notes the parts by which each is recognised."""
        if key.startswith(b"eyJ") and key.count(b".") == 2:
            key = key.partition(b".")[2]  # the first part of a JWT is the same in many
        self._note(key, _SHORTEST_PART, lambda part: any(map(_is_digit_or_capital, part)))
        self._note(key, _SHORTEST_WORDS)
        yield key.lower()
        for base in _base64(key):
            self._note(base, _SHORTEST_PART * 4 // 3 - 2)
            yield base.lower()
        self._note(key.hex().encode(), 2 * _SHORTEST_PART)
        yield key.hex().encode()

    def _note(self, form: bytes, length: int, fits: Callable[[bytes], bool] | None = None) -> None:
        length = min(length, len(form))
        parts = (form[place : place + length] for place in range(len(form) - length + 1))
        self._parts.setdefault(length, set()).update(part.lower() for part in parts if fits is None or fits(part))

    def finds(self, text: str) -> bool:
        """Whether there is a key, or a part of one, in ``text``."""
        return self.text(text) != text

    def text(self, text: str) -> str:
        """``text`` with ``MARK`` in place of every key."""
        raw = text.encode("utf-8", "surrogatepass")
        return self._clean(raw).decode("utf-8", "surrogatepass") if self._may_have(raw) else text

    def raw(self, raw: bytes) -> bytes:
        """JSON with ``MARK`` in place of every key in its strings; the same object if there is none."""
        if not self._may_have(raw):
            return raw
        clean, last = bytearray(), 0
        for found in STRING.finditer(raw):
            if self._may_have(found[0]):
                clean += raw[last : found.start()] + self._string(found[0])
                last = found.end()
        return bytes(clean + raw[last:]) if last and clean != raw[:last] else raw

    def _string(self, raw: bytes) -> bytes:
        try:
            said = json.loads(raw)
        except ValueError:  # this is no JSON
            return self._clean(raw)
        clean = self._clean(said.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
        # What UTF-8 doesn't have, half a surrogate pair, is written as JSON's escape.
        return raw if clean == said else json.dumps(clean, ensure_ascii=False).encode("utf-8", "backslashreplace")

    def _may_have(self, raw: bytes) -> bool:
        if not self._grams or len(raw) < _GRAM:
            return False
        for bare in _stages(raw):
            for _, grams in _aligned(bare):
                if not self._grams.isdisjoint(grams):
                    return True
            for form in self._short:
                if form in bare:
                    return True
        return False

    def _clean(self, raw: bytes) -> bytes:
        found = [
            (starts[first], ends[end - 1])
            for bare, starts, ends in _placed(raw)
            for first, end in self._spans(bare, self._near(bare))
        ]
        clean, last, is_marked = bytearray(), 0, False
        for start, end in sorted(found):
            if start > last or not is_marked:
                clean += raw[last:start] + MARK.encode()
            last, is_marked = max(last, end), True
        return bytes(clean + raw[last:])

    def _near(self, bare: bytes) -> bytearray:
        """For every fourth place whether a part of a key may be at it."""
        near = bytearray(len(bare) // _STEP + 1)
        for at, grams in _aligned(bare):
            near[at // _STEP : at // _STEP + 2 * len(grams) : 2] = bytes(gram in self._grams for gram in grams)
        for form in self._short:
            for found in re.finditer(re.escape(form), bare):
                near[found.start() // _STEP] = 1
        return near

    def _spans(self, bare: bytes, near: bytearray) -> Iterator[tuple[int, int]]:
        """Where parts of keys stand, those that touch as one; each is over or at a fourth place that is ``near``."""
        first = end = looked = 0
        for hit in (_STEP * nth for nth, is_near in enumerate(near) if is_near):
            for place in range(max(looked, hit - self._longest), hit + _STEP):
                for length, known in self._parts.items():
                    if bare[place : place + length] in known:
                        if place > end and end:
                            yield first, end
                        if place > end or not end:
                            first = place
                        end = max(end, place + length)
                        break
            looked = hit + _STEP
        if end:
            yield first, end


def _is_secret(key: str) -> bool:
    """Whether a key is secret, and not a placeholder such as ``EMPTY`` or ``lm-studio``."""
    return len(key) >= _LONG_KEY or (len(key) >= _SHORTEST_KEY and any(map(str.isdigit, key)))


def _base64(plain: bytes) -> Iterator[bytes]:
    """Base64 of whatever ``plain`` stands in: the letters that depend on nothing else."""
    for before, start in ((0, 0), (1, 2), (2, 3)):
        base = b64encode(b"\0" * before + plain)[start : 8 * (before + len(plain)) // 6]
        yield from {base, base.translate(bytes.maketrans(b"+/", b"-_"))}


def _is_digit_or_capital(letter: int) -> bool:
    return 48 <= letter <= 57 or 65 <= letter <= 90


def _stages(raw: bytes) -> Iterator[bytes]:
    """``raw`` in small letters, without white space; then, one after the other, also without each kind of escapes. All
    of them count: a key may look like an escape, as ``n2345678`` does behind a backslash."""
    raw = raw.translate(None, _SPACE)
    yield raw.lower()
    for sign, pattern in _ESCAPES:
        if sign in raw:
            made, last = bytearray(), 0
            for found in pattern.finditer(raw):  # sub() would hold a list of millions of pieces
                made += raw[last : found.start()] + _decoded(found)
                last = found.end()
            raw = bytes(made + raw[last:])
            yield raw.lower()


def _placed(raw: bytes) -> Iterator[tuple[bytes, Sequence[int], Sequence[int]]]:
    """The same, and for each byte of it where in ``raw`` that begins and ends which it stands for."""
    starts: Sequence[int] = range(len(raw))
    ends: Sequence[int] = range(1, len(raw) + 1)
    yield raw.lower(), starts, ends
    for pattern in (_WHITE, *(pattern for _, pattern in _ESCAPES)):
        if not pattern.search(raw):
            continue
        made, begun, ended = bytearray(), array("I"), array("I")
        last = 0
        for found in pattern.finditer(raw):
            start, end = found.span()
            letter = _decoded(found)
            made += raw[last:start] + letter
            begun.extend(starts[last : start + len(letter)])
            ended.extend(ends[last:start])
            ended.extend(ends[end - len(letter) : end])
            last = end
        made += raw[last:]
        begun.extend(starts[last:])
        ended.extend(ends[last:])
        raw, starts, ends = bytes(made), begun, ended
        yield raw.lower(), starts, ends


def _decoded(found: re.Match[bytes]) -> bytes:
    """Nothing for white space, and a letter that no key has for what isn't ASCII."""
    if found.lastindex is None:
        return b""
    if found.lastindex == 2:
        return _NAMED.get(found[2].lower(), b"")
    code = int(found[found.lastindex], 16 if found.lastindex == 1 else 10)
    return bytes((min(code, 127),)) if code > 32 else b""


def _aligned(bare: bytes) -> list[tuple[int, memoryview[int]]]:
    """Eight bytes as a number, at every eighth place, from the first and from the fourth on."""
    view = memoryview(bare)
    return [(at, view[at : at + max(len(bare) - at, 0) // _GRAM * _GRAM].cast("Q")) for at in (0, _STEP)]
