"""The bytes of one download into a sink, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from holdall.errors import AnswerTooLong, ConnectionLost, RemoteError, RequestRefused, ServerFailed, Unreachable
from holdall.progress import Progress
from holdall.remote.download import Download, Rest
from holdall.remote.limits import Limits, Tries

__all__ = ["MAX_CONTENT", "ContentSink", "Transferred", "transfer"]

MAX_CONTENT = 512 << 20
"""Bytes of a content of which no size is declared: the longest that the API takes."""

# Servers were seen that declare another size than a file has: letters in place of bytes, or a little more or less.
_TIMES, _MORE = 4, 1 << 20

# Less than that is fetched again rather than gone on with. The last of what came is asked for once more, to see that
# the rest belongs to it.
_WORTH = 1 << 16
_OVERLAP = 1 << 10
# A connection that brings so much is progress, however often it breaks off.
_PROGRESS = 1 << 20

_RANGE_REFUSED = 416
# Not that of the requests: these succeed once a body begins.
_ROUTE = "bodies of contents"
_BREAKS, _SILENT = "breaks off", "falls silent"

Begin = Callable[[Rest | None], AbstractAsyncContextManager[Download]]


class ContentSink(Protocol):
    """Where one content goes while it arrives; nothing of it is kept unless it is committed."""

    def write(self, data: bytes) -> None: ...

    def commit(self) -> object: ...

    def abort(self) -> None: ...


class Transferred(msgspec.Struct, frozen=True, kw_only=True):
    """A body that was put into a sink: its size in bytes, and the origin that a redirect led to, ``""`` for none."""

    size: int
    origin: str

    def route(self, asked: str) -> str:
        """The route of a content, as the ledger has it, by the path that was asked."""
        return f"{asked} -> {self.origin}" if self.origin else asked


class _Other(Exception):
    """What came is no rest of what there is."""


class _Broken(Exception):
    """A body that began and is not whole; ``error`` says so."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(why)
        # The server can be reached: it answered.
        self.error = ServerFailed(f"{what}: {why}", detail=why)


class _Arriving:
    """What has come of one body so far. ``whole`` may be asked after each download that came to its end."""

    def __init__(self, open_sink: Callable[[], ContentSink], progress: Progress, what: str, most: int) -> None:
        self._open_sink, self._progress, self._what, self._most = open_sink, progress, what, most
        self._sink: ContentSink | None = None
        self.size = 0
        self.origin = ""
        self.start_again()

    def start_again(self) -> None:
        """Forget what came."""
        self.abort()
        self._sink = self._open_sink()
        self.size = 0
        self.length: int | None = None
        self._tail = self._overlap = b""
        self._first: Download | None = None
        self._hash: Any = None

    def abort(self) -> None:
        if self._sink:
            self._sink.abort()
            self._progress.advance(bytes=-self.size)
            self._sink = None

    def require_room(self, size: int) -> None:
        """Raise AnswerTooLong where a body of so many bytes is longer than the file can be."""
        if size > self._most:
            said = f"it is longer than the file can be: more than {self._most} bytes"
            raise AnswerTooLong(f"{self._what}: {said}", detail=said)

    def commit(self) -> None:
        """Keep what came; after that there is nothing to abort."""
        assert self._sink is not None
        self._sink.commit()
        self._sink = None

    def rest(self) -> Rest | None:
        """What to ask for; None for all of it."""
        if self._first is None or not self._first.can_go_on or self.size < _WORTH:
            return None
        return Rest(start=self.size - len(self._tail), validator=self._first.validator)

    def begin(self, download: Download) -> None:
        """Take an answer up: as the rest of what there is, or as all of it. Raises _Other where it is neither."""
        self.origin = download.origin
        if download.start:
            if download.start != self.size - len(self._tail) or self.length not in (None, download.length):
                raise _Other
            self._overlap = self._tail
            return
        if self.size or self._first:
            self.start_again()
        self._first, self.length = download, download.length
        self.require_room(download.length or 0)
        self._hash = hashlib.new(download.digest.name, usedforsecurity=False) if download.digest else None

    def take(self, chunk: bytes) -> int:
        """Write a piece, but for what has been written before, and return how many bytes were new. Blocks."""
        known = min(len(self._overlap), len(chunk))
        if chunk[:known] != self._overlap[:known]:
            raise _Other
        self._overlap, chunk = self._overlap[known:], chunk[known:]
        assert self._sink is not None
        self._sink.write(chunk)
        if self._hash:
            self._hash.update(chunk)
        self._tail = (self._tail + chunk[-_OVERLAP:])[-_OVERLAP:]
        return len(chunk)

    @property
    def overlap(self) -> int:
        """Bytes that come once more."""
        return len(self._overlap)

    def count(self, size: int) -> None:
        """So many bytes were taken."""
        self.size += size
        self._progress.advance(bytes=size)

    def reach(self, how: str) -> str:
        """How far it came, in words."""
        return f"the body {how} after {self.size}{f' of {self.length}' if self.length is not None else ''} bytes"

    @property
    def is_cut(self) -> bool:
        return self.length is not None and self.size != self.length

    @property
    def is_altered(self) -> bool:
        """Whether it is not what its digest says."""
        told = self._first.digest if self._first else None
        return bool(told and self._hash and self._hash.digest() != told.value)


async def transfer(
    begin: Begin,
    open_sink: Callable[[], ContentSink],
    *,
    what: str,
    limits: Limits,
    progress: Progress,
    declared: int | None = None,
    expected: int | None = None,
    exact: bool = False,
) -> Transferred:
    """Write a body into its own sink, and commit it.

    A body that breaks off or falls silent is gone on with, where the server can, else begun again; so is one that is
    not of the length or the digest that its head announces. One that isn't of the ``expected`` size is fetched once
    more: what comes twice is the server's word, unless it has to be ``exact``, which raises RequestRefused. Raises
    ServerFailed where a server that answers never sends the whole, AnswerTooLong at once where more comes than a file
    of the ``declared`` size can have. ``what`` begins the messages: ``can't download x``.
    """
    arriving = _Arriving(open_sink, progress, what, _most(declared))
    try:
        await _whole(arriving, begin, what, limits, expected)
        if exact and expected is not None and arriving.size != expected:
            said = f"{arriving.size} bytes came, and the file has {expected}"
            raise RequestRefused(f"{what}: {said}", detail=said)
        await asyncio.to_thread(arriving.commit)
        return Transferred(size=arriving.size, origin=arriving.origin)
    finally:
        arriving.abort()


def _most(declared: int | None) -> int:
    if not declared:
        return MAX_CONTENT
    return max(declared, min(_TIMES * declared + _MORE, MAX_CONTENT))


async def _whole(arriving: _Arriving, begin: Begin, what: str, limits: Limits, expected: int | None) -> None:
    tries, believed, ranges = limits.tries(_ROUTE, repeatable=True), expected, True
    while True:
        before, rest = arriving.size, arriving.rest() if ranges else None
        try:
            await _receive(arriving, begin, rest, what)
        except _Other:
            ranges = False
            arriving.start_again()
        except _Broken as broken:
            if arriving.size - before >= _PROGRESS:
                tries = limits.tries(_ROUTE, repeatable=True)
            await limits.sleep(_wait(tries, broken.error))
        else:
            tries.succeeded()
            if believed in (None, arriving.size):
                return
            believed = arriving.size
            arriving.start_again()


def _wait(tries: Tries, error: ServerFailed) -> float:
    """Seconds until the next download. Raises ServerFailed where there is to be none: the server did answer."""
    try:
        return tries.after(error)
    except RemoteError as last:
        raise ServerFailed(
            f"{last.message}, again and again", hint="try again later", detail=f"{last.detail}, again and again"
        ) from None


async def _receive(arriving: _Arriving, begin: Begin, rest: Rest | None, what: str) -> None:
    """One download to its end. Raises _Broken where the body isn't whole then, _Other where it is not the ``rest``."""
    try:
        async with begin(rest) as download:
            arriving.begin(download)
            try:
                async for chunk in download.chunks():
                    arriving.require_room(arriving.size + len(chunk) - arriving.overlap)
                    arriving.count(await asyncio.to_thread(arriving.take, chunk))
            except Unreachable as error:
                raise _Broken(what, arriving.reach(_BREAKS if isinstance(error, ConnectionLost) else _SILENT)) from None
    except RequestRefused as error:
        if rest and error.status == _RANGE_REFUSED:
            raise _Other from None
        raise
    except _Other:
        if rest is None:
            raise _Broken(what, "the server sent a part where the whole was asked for") from None
        raise
    if arriving.is_cut:
        raise _Broken(what, arriving.reach(_BREAKS))
    if arriving.is_altered:
        arriving.start_again()
        raise _Broken(what, "what came is not what its digest says")
