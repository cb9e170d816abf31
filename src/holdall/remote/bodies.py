"""How much of an answer is read, whatever its head says and however it is packed.

Whoever sends a request says beforehand how long its answer may be; a hook of the HTTP client holds each answer to that,
before anything is read of it. What comes out of a packed body counts, not what was sent.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import httpx2

from holdall.untrusted import MAX_JSON

__all__ = ["MAX_ERROR", "MAX_PAGE", "TooLong", "at_most", "bound", "is_web_page"]

MAX_ERROR = 64 << 10
"""Bytes of an answer that says no, or of a web page. The rest is not read: the connection is closed."""
MAX_PAGE = 4 * MAX_JSON
"""Bytes of one page of a list, or of a parsed text."""

_PAGE = re.compile(r"\ufeff?\s*<(!doctype\s+html|html|head|body)\b", re.I)
# What a piece counts for at least: a body that comes byte by byte costs a thousand times its length.
_LEAST_PIECE = 128
# So much of a packed body may be read ahead of what comes out of it.
_AHEAD = 1 << 20
# They describe the packed body, which nobody sees.
_HEAD_OF_PACKED = (
    "content-encoding",
    "content-length",
    "content-md5",
    "content-range",
    "digest",
    "etag",
    "last-modified",
    "repr-digest",
)

_most: ContextVar[int | None] = ContextVar("most", default=MAX_JSON)


class TooLong(httpx2.RequestError):
    """An answer is longer than one of its kind may be."""


@contextmanager
def at_most(size: int | None) -> Iterator[None]:
    """Limits the answers of requests that are sent in here to ``size`` bytes; with None the reader limits them."""
    token = _most.set(size)
    try:
        yield
    finally:
        _most.reset(token)


def is_web_page(headers: Mapping[str, str], text: str) -> bool:
    """Whether an answer is a web page."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml") or _PAGE.match(text) is not None


async def bound(response: httpx2.Response) -> None:
    """Limits an answer whose head has arrived. A hook of the HTTP client."""
    most, is_cut = _most.get(), False
    if response.status_code >= 300 or (most is not None and is_web_page(response.headers, "")):
        most, is_cut = MAX_ERROR, True
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if "," in packing:
        raise TooLong(f"its body is packed more than once ({packing[:80]})")
    body = _Body(response.stream, packing, most, is_cut=is_cut)  # type: ignore[arg-type]
    if packing != "identity":
        for name in _HEAD_OF_PACKED:
            response.headers.pop(name, None)
        response.headers["accept-ranges"] = "none"
    response.stream = body
    # Not what the head names: that may be a codec that expands, as zlib does.
    response.encoding = "utf-8"


class _Body(httpx2.AsyncByteStream):
    """An unpacked body of at most ``most`` bytes. A longer one is cut there if ``is_cut``, else raises TooLong."""

    def __init__(self, stream: httpx2.AsyncByteStream, packing: str, most: int | None, *, is_cut: bool) -> None:
        self._stream, self._packing, self._most, self._is_cut = stream, packing, most, is_cut
        self._sent = self._pieces = self._size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._received())
        if self._packing != "identity":
            packed = {"content-encoding": self._packing}
            pieces = httpx2.Response(200, headers=packed, content=self._received()).aiter_bytes()
        async for piece in pieces:
            self._size += len(piece)
            if self._most is not None and self._size > self._most:
                self._refuse()
                yield piece[: len(piece) - (self._size - self._most)]
                return
            yield piece

    async def _received(self) -> AsyncGenerator[bytes, None]:
        async for piece in self._stream:
            self._sent += len(piece)
            self._pieces += 1
            if self._most is not None and self._pieces * _LEAST_PIECE > self._most:
                self._refuse()
                return
            yield piece
            if self._sent - self._size > _AHEAD:
                raise TooLong("of its packed body nothing comes out")

    def _refuse(self) -> None:
        if not self._is_cut:
            raise TooLong(f"it is longer than {self._most} bytes")

    async def aclose(self) -> None:
        await self._stream.aclose()
