"""The file that grows: one thread appends frames in order, another makes them durable and journals them."""

from __future__ import annotations

import os
import queue
import threading
from concurrent.futures import Executor, Future
from contextlib import ExitStack, suppress
from io import BufferedRandom
from typing import Any

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import header, padding
from holdall.bundle.growing import DirectEntry, GrowingFile, Mark
from holdall.bundle.layout import Frames, IndexEntry, Source
from holdall.bundle.partial import Begin, Cut, Journal, Line, Partial, Stored
from holdall.bundle.seekable import compress
from holdall.bundle.sinks import MemoryBudget, Sink
from holdall.bundle.stream_index import StreamIndex
from holdall.safe_files import open_private, open_regular, replace, safe_name, sync_file

# Bytes of small contents that wait in memory; more wait in files.
_WAITING = 32 << 20


class Unrecoverable(Exception):
    """The stream of an earlier run isn't what its journal says, so it can't be resumed."""


class _Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to append: a frame that is being compressed, or a sink with frames of its own; or only the ``tail``,
    the frame that is being filled, to be made durable."""

    frame: Future[bytes] | None = None
    size: int = 0
    sink: Sink | None = None
    tail: bytes = b""
    uses: int = 0
    path: str = ""
    notes: list[Line]
    whole: bool  # an entry ends here, so the stream may be cut here


class _Before(msgspec.Struct, frozen=True, kw_only=True):
    """The stream as it was before a direct entry at ``taken``, which is written from ``sink``."""

    sink: Sink
    taken: str
    mark: Mark
    shared: bytearray
    uses: int
    frames: Frames
    path: str
    position: int


class Stream:
    """The tar as it grows. One thread at a time may add. Errors of background threads are raised by the next call."""

    def __init__(self, partial: Partial, begin: Begin | None, pool: Executor, *, source: Source, depth: int) -> None:
        """Open anew with ``begin``, else at the journal's last cut, truncated there.

        ``depth`` frames may wait. Raises CannotWrite, and Unrecoverable if it doesn't match the journal.
        """
        self._partial, self._pool, self._depth = partial, pool, depth
        self._memory = MemoryBudget(_WAITING)
        self.bag = safe_name(layout.bag_name(source))
        self._shared = bytearray()
        self._frames_of = {folder: layout.frames_of(folder) for folder in (layout.CONTENTS, layout.TEXTS)}
        with ExitStack() as opened:
            self.journal = Journal(partial.journal, begin)
            opened.callback(self.journal.close)
            self.index = StreamIndex(self.journal)
            file = opened.enter_context(os.fdopen(open_private(partial.stream, os.O_RDWR | os.O_CREAT), "r+b"))
            self._recover(file)
            self._opened = opened.pop_all()
        cut = self.journal.cut
        self._uses, self._path = cut.uses, cut.path or layout.BAGIT
        self._frames = layout.frames_of(self._path)
        self._position = self._out.frames.size + len(self._shared)
        self._before: _Before | None = None
        self._notes: list[Line] = []
        # The frame of another bundle that the entry added last is in.
        self._known_frame: tuple[bytes, bytes] | None = None
        self._error: BaseException | None = None
        self._pieces: queue.Queue[_Piece | None] = queue.Queue(depth)
        self._durable = threading.Condition()
        self._ready: list[Line] = []
        self._mark: Cut | None = None
        self._tail = b""
        self._tails = {self._out.frames.size} if self._shared else set[int]()
        self._ending = self._frozen = False
        self._submitted = self._appended = self._synced = 0
        self._appender = threading.Thread(target=self._append_all, name="holdall-append", daemon=True)
        self._syncer = threading.Thread(target=self._sync_all, name="holdall-sync", daemon=True)
        self._appender.start()
        self._syncer.start()

    def sink(self, path: str, *, uses: int = 0) -> Sink:
        """A sink for an entry at ``path``, or in that folder, with so many tools and references."""
        return Sink(
            self._partial.target,
            self._partial.new_spool,
            self._pool,
            frames=self._frames_of.get(path) or layout.frames_of(path),
            depth=self._depth,
            memory=self._memory,
            uses=uses,
        )

    def begin(self, sink: Sink, path: str, mtime: int, **known: Any) -> IndexEntry:
        """Write the header of an entry with the sink's bytes, which must be added next. ``known`` are its other fields.

        Ends the shared frame first if both may not be in it together. Of a direct entry the header is there already.
        """
        if sink.direct:
            if self._before is None or self._before.sink is not sink:
                raise ValueError(f"{path} is not in the bundle any more")
            return IndexEntry(path=path, offset=sink.direct.offset, size=sink.size, sha256=sink.sha256, **known)
        self.cut_back()
        head = header(f"{self.bag}/{path}", sink.size, mtime)
        size = len(head) + (sink.size + len(padding(sink.size)) if sink.small else 0)
        frames = sink.frames
        # Kinds of entries are kept apart, so that a damaged frame costs as little as it can.
        if self._frames.name != frames.name or (frames.strict and len(self._shared) + size > frames.shared):
            self.cut()
        if not (self._shared and self._frames.texts):  # what has a text in it is cut as texts are
            self._frames, self._path = frames, path
        self._check()
        self.raw(head)
        return IndexEntry(path=path, offset=self._position, size=sink.size, sha256=sink.sha256, **known)

    def note(self, line: Line) -> None:
        """A line for the journal, about the entry that is begun or was added last."""
        self._notes.append(line)

    def add(self, sink: Sink) -> None:
        """Write the bytes of the entry, into the shared frame of small entries or frames of their own."""
        if sink.direct:
            self._before = None
            self._put(_Piece(notes=self._notes, whole=True))
            self._notes = []
            self._position += sink.size + len(padding(sink.size))
        elif sink.small:
            self._uses += sink.uses
            self._known_frame = sink.known_frame
            self.raw(sink.take())
            self.raw(padding(sink.size))
            if self._frames.ends_with(len(self._shared), sink.size, sink.sha256):
                self.cut()
        else:
            self.cut(whole=False)
            self._put(_Piece(sink=sink, notes=self._notes, whole=True))
            self._notes = []
            self._position += sink.size + len(padding(sink.size))

    def is_ready(self, frames: Frames) -> bool:
        """Whether a direct entry, cut into such ``frames``, may begin: all that was added is in the file. If it isn't,
        it will be soon."""
        self._check()
        if self._before and not self._before.sink.is_aborted:
            return False
        self.cut_back()
        if self._frames.name != frames.name:
            self.cut()
        self.checkpoint()
        return self._appended == self._submitted

    def begin_direct(self, sink: Sink, path: str, mtime: int, size: int) -> DirectEntry:
        """Begin an entry of ``size`` bytes before it is whole, once the stream ``is_ready``. Whoever writes to ``sink``
        writes its frames here; nothing else can be added until it is added or aborted."""
        self._before = _Before(
            sink=sink,
            taken=path,
            mark=self._out.mark(),
            shared=self._shared,
            uses=self._uses,
            frames=self._frames,
            path=self._path,
            position=self._position,
        )
        self._shared = bytearray(self._shared)
        if not (self._shared and self._frames.texts):
            self._frames, self._path = sink.frames, path
        self.raw(header(f"{self.bag}/{path}", size, mtime))
        least = self._frames.least(self._shared, self._uses)
        self._out.append(_compressed(self._shared, least, self._known_frame), len(self._shared))
        self._shared, self._uses = bytearray(), 0
        return DirectEntry(self._out, path, self._position, size)

    def cut_back(self) -> None:
        """Remove a direct entry that was not added, as if it had never begun. ValueError if its sink is still open."""
        if before := self._before:
            if before.sink.is_open:
                raise ValueError(f"{before.taken} is still being written")
            self._before = None
            try:
                self._out.cut_back(before.mark)
            except BaseException as error:
                self._fail(error)  # nothing may be written behind what is left of it
                raise
            self._shared, self._uses, self._position = before.shared, before.uses, before.position
            self._frames, self._path = before.frames, before.path
            self.index.give_back(before.taken)

    def cut(self, *, whole: bool = True) -> None:
        """End the shared frame here, if anything is in it."""
        if self._shared:
            least = self._frames.least(self._shared, self._uses)
            frame = self._pool.submit(_compressed, self._shared, least, self._known_frame)
            self._known_frame = None
            notes = self._notes if whole else []
            self._put(_Piece(frame=frame, size=len(self._shared), notes=notes, whole=whole))
            self._shared, self._uses = bytearray(), 0
            if whole:
                self._notes = []

    def raw(self, data: bytes | bytearray) -> None:
        """Bytes into the shared frame, wherever that ends."""
        self._shared += data
        self._position += len(data)

    def checkpoint(self) -> None:
        """Make all whole entries durable and journal them soon. The frame that is being filled isn't ended."""
        if self._notes and not self._before:
            tail = bytes(self._shared)
            self._put(_Piece(tail=tail, uses=self._uses, path=self._path, notes=self._notes, whole=True))
            self._notes = []

    def flush(self) -> None:
        """Wait until everything is durable and journalled."""
        self.cut_back()
        self.checkpoint()
        with self._durable:
            self._durable.wait_for(lambda: self._error or self._synced == self._submitted)
        self._check()

    def settle(self) -> None:
        """As ``flush``; what is added later will never be journalled."""
        self.flush()
        with self._durable:
            self._frozen = True

    def close(self, *, cut: bool = False) -> None:
        """Wait until everything is durable and journalled, stop the threads. ``cut`` ends the frame first."""
        try:
            if self._before:
                self._before.sink.abort()
            if self._error is None:
                self.cut_back()
                if cut:
                    self.cut()
                self.checkpoint()
        finally:
            self._stop()
            self._opened.close()
        self._check()

    def seal(self) -> tuple[int, str]:
        """Like ``close``, with seal and seek table behind the last frame: (bytes, sha256 of the whole file)."""
        try:
            self.cut()
            self._stop()
            self._check()
            sealed = self._out.seal()
            sync_file(self._out.file)
            return sealed
        finally:
            self._stop()
            self._opened.close()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _put(self, piece: _Piece) -> None:
        self._check()
        self._submitted += 1
        self._pieces.put(piece)

    def _stop(self) -> None:
        if self._appender.is_alive():
            self._pieces.put(None)
            self._appender.join()
        with self._durable:
            self._ending = True
            self._durable.notify_all()
        self._syncer.join()

    def _recover(self, file: BufferedRandom) -> None:
        """Frames and running hash of the kept part, read back from the file."""
        end = self.journal.cut.length
        if file.seek(0, 2) < end:
            raise Unrecoverable("the stream is shorter than its journal says")
        file.truncate(end)
        self._out = GrowingFile(file, end)
        if (self._out.frames.length, self._out.frames.size) != (end, self.journal.cut.size):
            raise Unrecoverable("the stream does not match its journal")
        self._shared += self._read_tail(self.journal.cut)

    def _read_tail(self, cut: Cut) -> bytes:
        """The frame that an earlier run was filling."""
        if not cut.tail:
            return b""
        with suppress(FileNotFoundError), open_regular(self._partial.tail(cut.size)) as file:
            tail = file.read(cut.tail)
            if len(tail) == cut.tail:
                return tail
        raise Unrecoverable("the tail of the stream is lost")

    def _append_all(self) -> None:
        while (piece := self._pieces.get()) is not None:
            if self._error is not None:
                continue  # taken off the queue all the same, so that nobody waits for room in it
            try:
                self._append(piece)
            except BaseException as error:
                self._fail(error)

    def _append(self, piece: _Piece) -> None:
        if piece.frame:
            self._out.append(piece.frame.result(), piece.size)
        if piece.sink:
            for frame, size in piece.sink.pieces():
                self._out.append(frame, size)
            piece.sink.discard()
        with self._durable:
            self._appended += 1
            # A resume can't go on behind half an entry.
            if piece.whole and not self._frozen:
                self._ready += piece.notes
                length, size = self._out.frames.length, self._out.frames.size
                self._mark = Cut(length=length, size=size, tail=len(piece.tail), uses=piece.uses, path=piece.path)
                self._tail = piece.tail
                self._durable.notify_all()

    def _sync_all(self) -> None:
        """Group commit: one fsync serves all entries that became whole while the last one ran."""
        while True:
            with self._durable:
                self._durable.wait_for(lambda: self._mark or self._ending)
                notes, self._ready = self._ready, []
                mark, self._mark = self._mark, None
                tail = self._tail
                appended = self._appended
            if mark is None:
                return
            if self._error is not None:
                continue
            try:
                # First the stream, then the lines: what the journal says is whole must be there after a crash.
                sync_file(self._out.file)
                if tail:
                    self._keep_tail(mark.size, tail)
                positions = zip(notes, self.journal.commit(notes, mark), strict=True)
                self.index.journalled([(line.ledger.id, at) for line, at in positions if isinstance(line, Stored)])
                self._forget_tails(mark)
                with self._durable:
                    self._synced = appended
                    self._durable.notify_all()
            except BaseException as error:
                self._fail(error)

    def _keep_tail(self, start: int, tail: bytes) -> None:
        """Replace the tail of this frame by the longer one, durably."""
        target = self._partial.tail(start)
        fresh = target.with_suffix(".new")
        with os.fdopen(open_private(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(tail)
            sync_file(file)
        replace(fresh, target)
        self._tails.add(start)

    def _forget_tails(self, mark: Cut) -> None:
        """Delete the tails of finished frames, once the journal has them."""
        for start in [start for start in self._tails if not (mark.tail and start == mark.size)]:
            self._partial.tail(start).unlink(missing_ok=True)
            self._tails.discard(start)

    def _fail(self, error: BaseException) -> None:
        with self._durable:
            self._error = error
            self._durable.notify_all()


def _compressed(data: bytearray, least: int, known: tuple[bytes, bytes] | None) -> bytes:
    """A frame with ``data``: the ``known`` one if it holds just that. To compare takes a hundredth of the time."""
    if known and known[1] == data and len(known[0]) >= least:
        return known[0]
    return compress(data, least)
