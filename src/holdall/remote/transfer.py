"""Downloads one file into a sink, whole or not at all, resuming as often as needed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from holdall.errors import AnswerTooLong, ConnectionLost, RemoteError, RequestRefused, ServerFailed, Unreachable
from holdall.progress import Progress
from holdall.remote.limits import Limits, Tries
from holdall.remote.wire import Download, Rest

MAX_CONTENT = 512 << 20
"""Bytes of a content of which no size is declared: the longest that the API takes."""

SMALL = 64 << 10
"""Bytes that are written at once: to hash them takes less than to have a thread do it."""

_TOGETHER = 32 << 20
# A tenth of it is what the next content of unknown size may have, after one that had no end; but no less than _MORE.
_LESS = 10

# Servers were seen that declare another size than a file has: letters in place of bytes, or a little more or less.
_TIMES, _MORE = 4, 1 << 20
# Less than that is fetched again rather than resumed. The last of what came is asked for once more, to see that the
# rest belongs to it.
_WORTH_RESUMING = 1 << 16
_OVERLAP = 1 << 10
# A connection that brings so much is progress, however often it breaks off.
_PROGRESS = 1 << 20

_RANGE_REFUSED = 416
# Bodies have a budget of their own: their requests count as successful once a body begins.
_ROUTE = "bodies of contents"

Begin = Callable[[Rest | None], AbstractAsyncContextManager[Download]]


class ContentSink(Protocol):
    """Where one content goes while it arrives; nothing of it is kept unless it is committed.

    Up to ``SMALL`` bytes, ``write`` only keeps them in memory.
    """

    def write(self, data: bytes) -> None: ...

    def commit(self) -> object: ...

    def commit_in_memory(self) -> bool:
        """Commit if that needs no disk; else False, and nothing is done."""
        ...

    def abort(self) -> None: ...


class Transferred(msgspec.Struct, frozen=True, kw_only=True):
    """A body that was put into a sink: its size in bytes, and the origin that a redirect led to, ``""`` for none."""

    size: int
    origin: str

    def route(self, asked: str) -> str:
        """The route of a content, as the ledger has it, by the path that was asked."""
        return f"{asked} -> {self.origin}" if self.origin else asked


class Unsized:
    """The contents of one run of which neither record nor head says the size.

    Those over 32 MiB come one after another, and each that had no end leaves less for the next: ``most`` bytes. So a
    server that sends all contents without end costs little more than one of them.
    """

    def __init__(self) -> None:
        self.most = MAX_CONTENT
        self._turn = asyncio.Lock()
        self._waiting = 0

    @property
    def is_busy(self) -> bool:
        """Whether ``take_turn`` would wait."""
        return self._turn.locked() or self._waiting > 0

    async def take_turn(self) -> None:
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1

    def end_turn(self) -> None:
        self._turn.release()

    def had_no_end(self) -> None:
        self.most = min(self.most, max(self.most // _LESS, _MORE))


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
    unsized: Unsized | None = None,
) -> Transferred:
    """Write a body into its own sink, and commit it.

    A body that breaks off or falls silent is resumed, where the server can, else begun again; so is one that is not of
    the length or the digest that its head announces. One that isn't of the ``expected`` size is fetched once more: what
    comes twice is the server's word, unless it has to be ``exact``, which raises RequestRefused. Raises ServerFailed
    where a server that answers never sends the whole, AnswerTooLong at once where more comes than a file of the
    ``declared`` size can have, or one of unknown size of those in ``unsized``. ``what`` begins the messages:
    ``can't download x``.
    """
    most = max(declared, min(_TIMES * declared + _MORE, MAX_CONTENT)) if declared else None
    body = _Body(begin, open_sink, progress, what, most, unsized or Unsized())
    try:
        await _whole(body, limits, expected)
        if exact and expected is not None and body.size != expected:
            said = f"received {body.size} bytes of {expected}"
            raise RequestRefused(f"{what}: {said}", detail=said)
        await body.commit()
        return Transferred(size=body.size, origin=body.origin)
    finally:
        body.abort()
        body.end_turn()


async def _whole(body: _Body, limits: Limits, expected: int | None) -> None:
    tries, ranges = limits.tries(_ROUTE, repeatable=True), True
    while True:
        before = body.size
        try:
            await body.receive(body.rest() if ranges else None)
        except _OtherBody:
            ranges = False
            body.start_again()
        except _NotYet:
            await body.take_turn()
        except _Broken as error:
            if body.size - before >= _PROGRESS:
                tries = limits.tries(_ROUTE, repeatable=True)
            await limits.sleep(_wait(tries, error))
        else:
            tries.succeeded()
            if expected in (None, body.size):
                return
            expected = body.size
            body.start_again()


def _wait(tries: Tries, error: ServerFailed) -> float:
    """Seconds until the next download. Raises ServerFailed where there is to be none: the server did answer."""
    try:
        return tries.after(error)
    except RemoteError as last:
        raise ServerFailed(
            f"{last.message}, repeatedly", hint="try again later", detail=f"{last.detail}, repeatedly"
        ) from None


class _OtherBody(Exception):
    """The response doesn't continue the bytes already received."""


class _NotYet(Exception):
    """A long body of unknown size while another one comes. It holds nothing while it waits: the other may need that."""


class _Broken(ServerFailed):
    """A body that began and is not whole. The server can be reached: it answered."""


class _Body:
    """What was received of one body, over all downloads."""

    def __init__(
        self,
        begin: Begin,
        open_sink: Callable[[], ContentSink],
        progress: Progress,
        what: str,
        most: int | None,
        unsized: Unsized,
    ) -> None:
        """``most`` is None where the size is unknown."""
        self._begin, self._open_sink, self._progress, self._what, self._most = begin, open_sink, progress, what, most
        self._unsized, self._has_turn = unsized, False
        self._sink: ContentSink | None = None
        self.size = 0
        self.origin = ""
        self.start_again()

    def start_again(self) -> None:
        """Discard what was received."""
        self.abort()
        self._sink = self._open_sink()
        self.size = 0
        self._first: Download | None = None
        # The end of what came, and as much of it as the next download has to bring once more.
        self._tail = self._overlap = b""
        self._hash: Any = None

    def abort(self) -> None:
        if self._sink:
            self._sink.abort()
            self._progress.advance(bytes=-self.size)
            self._sink = None

    async def commit(self) -> None:
        """Commit what was received; ``abort`` then does nothing."""
        assert self._sink is not None
        if not self._sink.commit_in_memory():
            await asyncio.to_thread(self._sink.commit)
        self._sink = None

    async def take_turn(self) -> None:
        """Wait until no other long body of unknown size comes."""
        await self._unsized.take_turn()
        self._has_turn = True

    def end_turn(self) -> None:
        if self._has_turn:
            self._unsized.end_turn()
            self._has_turn = False

    def rest(self) -> Rest | None:
        """What to ask for; None for all of it."""
        if self._first is None or not self._first.can_resume or self.size < _WORTH_RESUMING:
            return None
        return Rest(start=self.size - len(self._tail), validator=self._first.validator)

    async def receive(self, rest: Rest | None) -> None:
        """One download to its end. Raises _Broken where the body isn't whole then, _OtherBody where it is not the
        ``rest``, _NotYet where it has to wait for its turn."""
        try:
            async with self._begin(rest) as download:
                self._take_up(download)
                try:
                    await self._store(download)
                except Unreachable as error:
                    raise self._broken_off("ended" if isinstance(error, ConnectionLost) else "stalled") from None
        except RequestRefused as error:
            if rest and error.status == _RANGE_REFUSED:
                raise _OtherBody from None
            raise
        except _OtherBody:
            if rest is None:
                raise self._broken("the server sent only a part of the file") from None
            raise
        if self._first and self._first.length not in (None, self.size):
            raise self._broken_off("ended")
        if self._first and self._first.digest and self._hash.digest() != self._first.digest[1]:
            self.start_again()
            raise self._broken("the received bytes don't match the server's digest")

    async def _store(self, download: Download) -> None:
        """Write what comes, each piece while the next one is read."""
        writing: asyncio.Future[int] | None = None
        try:
            async for chunk in download.chunks:
                await self._written(writing)
                writing = None
                await self._make_room(self.size + len(chunk) - len(self._overlap))
                if self.size + len(chunk) <= SMALL:
                    self._has_written(self._write(chunk))
                    continue
                writing = asyncio.get_running_loop().run_in_executor(None, self._write, chunk)
        finally:
            # Of a body that breaks off, what came counts.
            await self._written(writing)

    async def _written(self, writing: asyncio.Future[int] | None) -> None:
        if writing:
            self._has_written(await writing)

    def _has_written(self, size: int) -> None:
        self.size += size
        self._progress.advance(bytes=size)

    def _take_up(self, download: Download) -> None:
        """Accept a response as the rest or the whole. Raises _OtherBody if it is neither."""
        self.origin = download.origin
        if download.start:
            known = self._first.length if self._first else None
            if download.start != self.size - len(self._tail) or known not in (None, download.length):
                raise _OtherBody
            self._overlap = self._tail
            return
        if self.size or self._first:
            self.start_again()
        self._first = download
        self._require_room(download.length or 0)
        self._hash = hashlib.new(download.digest[0], usedforsecurity=False) if download.digest else None

    def _require_room(self, size: int) -> None:
        """Raise AnswerTooLong where a body of so many bytes is longer than the file can be."""
        is_unsized = self._is_unsized()
        most = self._unsized.most if is_unsized else self._most or MAX_CONTENT
        if size > most:
            said = f"larger than the file can be: more than {most} bytes"
            if is_unsized:
                said += ", after another file of unknown size that had no end" if most < MAX_CONTENT else ""
                self._unsized.had_no_end()
            raise AnswerTooLong(f"{self._what}: {said}", detail=said)

    async def _make_room(self, size: int) -> None:
        """As ``_require_room``; takes a turn where a body of unknown size gets long, and none has it."""
        self._require_room(size)
        if self._is_unsized() and size > _TOGETHER and not self._has_turn:
            if self._unsized.is_busy:
                raise _NotYet
            await self.take_turn()

    def _is_unsized(self) -> bool:
        return self._most is None and (self._first is None or self._first.length is None)

    def _write(self, chunk: bytes) -> int:
        """Write the new bytes of a piece, and return how many they were. Blocks."""
        known = min(len(self._overlap), len(chunk))
        if chunk[:known] != self._overlap[:known]:
            raise _OtherBody
        self._overlap, chunk = self._overlap[known:], chunk[known:]
        assert self._sink is not None
        self._sink.write(chunk)
        if self._hash:
            self._hash.update(chunk)
        self._tail = (self._tail + chunk[-_OVERLAP:])[-_OVERLAP:]
        return len(chunk)

    def _broken_off(self, how: str) -> _Broken:
        length = self._first.length if self._first else None
        return self._broken(f"the body {how} after {self.size}{f' of {length}' if length is not None else ''} bytes")

    def _broken(self, why: str) -> _Broken:
        return _Broken(f"{self._what}: {why}", detail=why)
