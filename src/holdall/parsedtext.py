"""Parsed text in a bundle: validated as a stream, never held whole.

``{"pages": [PAGE, …], "truncated": false}``, each PAGE as the API sent it (docs/format.md, "Parsed text"). An export
takes no page that ``require_page`` refuses, so that what it writes can be read again.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import BinaryIO

import msgspec

from holdall.untrusted import MAX_PART, MAX_PARTS, require_plain, text_weight, without_half_characters, without_strings

MAX_PAGE = 32 << 20
"""Bytes of one page."""
# An honest part is one object with two members.
_MAX_OBJECTS = 2 * MAX_PARTS

_FRONT = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*"pages"[ \t\r\n]*:[ \t\r\n]*\[')
_BACK = re.compile(rb'\][ \t\r\n]*,[ \t\r\n]*"truncated"[ \t\r\n]*:[ \t\r\n]*(true|false)[ \t\r\n]*\}[ \t\r\n]*')
_FRAME = 4096  # bytes that are enough for either, however much white space is in it
_BLANK = b" \t\r\n"
# A string, or its first quote where it doesn't end in here; or a bracket.
_TOKEN = re.compile(rb'"(?:[^"\\]*+(?:\\.[^"\\]*+)*+")?+|[{}\[\]]', re.DOTALL)
_INSIDE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_PIECE = 256 << 10
_WEIGHTS = {
    ord('"'): text_weight(0, strings=1),
    ord("["): text_weight(0, lists=1),
    ord("{"): text_weight(0, objects=1),
}


class _Part(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    text: str | None = None


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    data: list[msgspec.Raw] | None = None
    content: list[msgspec.Raw] | None = None


_page = msgspec.json.Decoder(_Page)
_part = msgspec.json.Decoder(_Part)


class Parts:
    """The parts of a page, decoded one at a time, because decoded text may take four times the memory.

    Iterating raises ValueError for an invalid part.
    """

    def __init__(self, raw: list[msgspec.Raw]) -> None:
        self._raw = raw

    def __len__(self) -> int:
        return len(self._raw)

    def __iter__(self) -> Iterator[str]:
        for raw in self._raw:
            if len(raw) > MAX_PART:
                raise ValueError(f"a part has {len(raw)} bytes, more than {MAX_PART}")
            try:
                part = _part.decode(raw)
            except msgspec.DecodeError:
                part = _part.decode(without_half_characters(bytes(raw)))
            yield part.text or ""


def require_page(raw: bytes | bytearray) -> Parts:
    """The parts of a page, from ``data`` or ``content``. Raises ValueError, at the latest after the last part, if some
    reader could not read it."""
    require_plain(raw, longest=MAX_PAGE, richest=4 * _MAX_OBJECTS)
    if raw.count(b"{") > _MAX_OBJECTS and sum(piece.count(b"{") for piece in without_strings(raw)) > _MAX_OBJECTS:
        raise ValueError(f"more than {MAX_PARTS} parts")
    try:
        page = _page.decode(raw)
    except msgspec.DecodeError:
        page = _page.decode(without_half_characters(bytes(raw)))
    data, content = page.data or [], page.content or []
    if len(data) + len(content) > MAX_PARTS:
        raise ValueError(f"more than {MAX_PARTS} parts")
    if data and content:
        _take_all(Parts(content))
    return Parts(data or content)


def _take_all(parts: Parts) -> None:
    deque(parts, maxlen=0)


class StoredText:
    """Validates one text. ``feed`` it all, then call ``end``; both raise ValueError if it is invalid.

    ``room`` bounds the cost, as ``text_weight`` counts it. ``take`` gets the parts of each page and must consume them
    all.
    """

    def __init__(self, room: int = 1 << 62, *, take: Callable[[Parts], object] = _take_all) -> None:
        self.room = room
        self._take = take
        self._front: bytearray | None = bytearray()
        self._back: bytearray | None = None
        self._page, self._depth, self._parts, self._pages = bytearray(), 0, 0, 0
        self._between = bytearray()
        self._in_string = self._escaped = False

    def feed(self, data: bytes | memoryview) -> None:
        for at in range(0, len(data), _PIECE):
            piece = bytes(data[at : at + _PIECE])
            halves = piece.count(b"\\ud") + piece.count(b"\\uD")
            self.room -= text_weight(len(piece), strings=halves)
            self._feed(piece)
            if self.room < 0:
                raise ValueError("the parsed texts are larger than a bundle of this size may contain")

    def end(self) -> bool:
        """Whether the text is truncated."""
        found = _BACK.fullmatch(self._back) if self._back is not None else None
        if not found:
            raise ValueError("not a parsed text: unexpected end")
        return found[1] == b"true"

    def _feed(self, data: bytes) -> None:
        if self._front is not None:
            self._front += data
            found = _FRONT.match(self._front)
            if not found:
                if len(self._front) > _FRAME:
                    raise ValueError("not a parsed text: unexpected start")
                return
            data, self._front = bytes(self._front[found.end() :]), None
        if self._back is None:
            self._back, data = self._through_pages(data)
        elif self._back is not None:
            self._back += data
        if self._back is not None and len(self._back) > _FRAME:
            raise ValueError("not a parsed text: unexpected end")

    def _through_pages(self, data: bytes) -> tuple[bytearray | None, bytes]:
        """Past what of the pages is in ``data``; returns what stands behind the last one, once that is reached."""
        at = self._rest_of_string(data) if self._in_string else 0
        taken = 0
        for token in _TOKEN.finditer(data, at):
            start, end = token.span()
            mark = data[start]
            self.room -= _WEIGHTS.get(mark, 0)
            if self._depth == 0:
                self._between += data[taken:start]
                if mark == 0x5D:  # ]
                    self._require_between(last=True)
                    return bytearray(data[start:]), b""
                if mark != 0x7B:  # {
                    raise ValueError("a page is not an object")
                self._require_between(last=False)
                taken = start
            if mark == 0x22:  # "
                if end == start + 1:
                    self._in_string = True
                    self._rest_of_string(data, start + 1)
                    break
            elif mark in (0x7B, 0x5B):  # { [
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    self._page += data[taken:end]
                    taken = end
                    self._take_page()
        if self._depth:
            self._page += data[taken:]
            if len(self._page) > MAX_PAGE:
                raise ValueError(f"a page has more than {MAX_PAGE} bytes")
        else:
            self._between += data[taken:]
        if len(self._between) > _FRAME:
            raise ValueError("not a parsed text")
        return None, b""

    def _rest_of_string(self, data: bytes, at: int = 0) -> int:
        """Where the string that began before ``at`` is over; the end of ``data`` where it isn't over in there."""
        if self._escaped and data:
            at, self._escaped = at + 1, False
        found = _INSIDE.match(data, at)
        end = found.end() if found else at
        if end < len(data) and data[end] == 0x22:
            self._in_string = False
            return end + 1
        self._escaped = end < len(data)  # a backslash is the last byte
        return len(data)

    def _require_between(self, *, last: bool) -> None:
        """Before the first page and behind the last one stands nothing, else a comma."""
        if bytes(self._between).strip(_BLANK) != (b"," if self._pages and not last else b""):
            raise ValueError("its pages are not a list")
        self._between.clear()

    def _take_page(self) -> None:
        self._pages += 1
        page, self._page = self._page, bytearray()
        parts = require_page(page)
        self._parts += len(parts)
        if self._parts > MAX_PARTS:
            raise ValueError(f"more than {MAX_PARTS} parts")
        self._take(parts)


class Pages:
    """The parts of a text, page by page, from a stream; holds one page. ValueError if invalid. Once all pages were
    read, ``truncated`` says that the text stops short, and ``room`` what is left of that for ``StoredText``."""

    def __init__(self, stream: BinaryIO, room: int = 1 << 62) -> None:
        self._stream = stream
        self.room = room
        self.truncated = False

    def __iter__(self) -> Iterator[Parts]:
        pages: list[Parts] = []
        text = StoredText(self.room, take=pages.append)
        while data := self._stream.read(_PIECE):
            text.feed(data)
            yield from pages
            pages.clear()
        self.truncated, self.room = text.end(), text.room
