"""The growing file: frames appended in order by one thread, made durable and journalled by another."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import BinaryIO

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import padding
from holdall.bundle.durable import open_private
from holdall.bundle.journal import Cut, Journal
from holdall.bundle.layout import Frames
from holdall.bundle.seekable import compress, encode_seal, encode_table, walk
from holdall.bundle.spool import Spool

__all__ = ["Note", "Stream", "Unrecoverable"]


class Unrecoverable(Exception):
    """The stream of an earlier run isn't what its journal says; there is nothing to go on with."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A line for the journal; ``content`` is the file of which it says that its content is whole."""

    line: bytes
    content: str | None = None


class _Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to append: a frame that is being compressed, or a finished spool."""

    frame: Future[bytes] | None = None
    size: int = 0
    spool: Spool | None = None
    notes: list[Note]
    whole: bool  # an entry ends here, so the stream may be cut here


class Stream:
    """The tar as it grows. One thread at a time may add; an error of the threads behind comes out at the next call."""

    def __init__(
        self,
        path: Path,
        journal: Journal,
        pool: Executor,
        *,
        depth: int,
        journalled: Callable[[list[tuple[str, int]]], None],
    ) -> None:
        """Open at the journal's last cut (an empty journal's is 0); what stands behind it is cut away.

        ``journalled`` is told which contents the journal has come to know, and where their lines can be read.
        """
        self._journal, self._pool, self._journalled = journal, pool, journalled
        self._file: BinaryIO = os.fdopen(open_private(path, os.O_RDWR | os.O_CREAT), "r+b")
        self._hash = hashlib.sha256()
        try:
            self._recover()
        except BaseException:
            self._file.close()
            raise
        self.position = self.frames.size
        self._shared, self._uses = bytearray(), 0
        self._frames = layout.frames_of(layout.BAGIT)
        self._notes: list[Note] = []
        self._error: BaseException | None = None
        self._pieces: queue.Queue[_Piece | None] = queue.Queue(depth)
        self._durable = threading.Condition()
        self._ready: list[Note] = []
        self._mark: Cut | None = None
        self._ending = self._frozen = False
        self._submitted = self._appended = self._synced = 0
        self._appender = threading.Thread(target=self._append_all, name="holdall-append", daemon=True)
        self._syncer = threading.Thread(target=self._sync_all, name="holdall-sync", daemon=True)
        self._appender.start()
        self._syncer.start()

    def make_room(self, frames: Frames, size: int) -> None:
        """Before ``size`` bytes of an entry that is cut so, and before any note about it: end the shared frame where
        they may not be added to it."""
        if self._frames.name != frames.name or (frames.strict and len(self._shared) + size > frames.shared):
            self.cut()
        if not (self._shared and self._frames.texts):  # what has a text in it is cut as texts are
            self._frames = frames

    def add(self, header: bytes, data: bytes | bytearray, *, uses: int = 0) -> None:
        """A small entry with so many tools and references: into the frame that small entries share."""
        self._check()
        self._uses += uses
        self.raw(header)
        self.raw(data)
        self.raw(padding(len(data)))

    def add_spool(self, header: bytes, spool: Spool, size: int) -> None:
        """A large entry of ``size`` bytes whose frames are finished: its header ends the shared frame."""
        self.raw(header)
        self.cut(whole=False)
        self._put(_Piece(spool=spool, notes=self._notes, whole=True))
        self._notes = []
        self.position += size + len(padding(size))

    def note(self, note: Note) -> None:
        """A line for the journal, about the entry that is added next or was added last."""
        self._notes.append(note)

    def cut_if_full(self) -> None:
        """End the shared frame where it is large enough."""
        if len(self._shared) >= self._frames.shared:
            self.cut()

    def cut(self, *, whole: bool = True) -> None:
        """End the shared frame here, if anything is in it."""
        if self._shared:
            frame = self._pool.submit(compress, self._shared, self._frames.least(self._shared, self._uses))
            notes = self._notes if whole else []
            self._put(_Piece(frame=frame, size=len(self._shared), notes=notes, whole=whole))
            self._shared, self._uses = bytearray(), 0
            if whole:
                self._notes = []

    def raw(self, data: bytes | bytearray) -> None:
        """Bytes into the shared frame, wherever that ends."""
        self._shared += data
        self.position += len(data)

    def checkpoint(self) -> None:
        """End the frame, so that all whole entries become durable and are journalled soon."""
        self._cut_all()

    def flush(self) -> None:
        """End the frame and wait until everything is durable and journalled."""
        self._cut_all()
        with self._durable:
            self._durable.wait_for(lambda: self._error or self._synced == self._submitted)
        self._check()

    def settle(self) -> None:
        """As ``flush``; what is added later will never be journalled."""
        self.flush()
        with self._durable:
            self._frozen = True

    def close(self) -> None:
        """End the frame, wait until everything is durable and journalled, stop the threads."""
        try:
            if self._error is None:
                self._cut_all()
        finally:
            self._stop()
            self._file.close()
        self._check()

    def seal(self) -> tuple[int, str]:
        """Like ``close``, with seal and seek table behind the last frame: (bytes, sha256 of the whole file)."""
        try:
            self.cut()
            self._stop()
            self._check()
            ending = encode_seal(self._hash.digest()) + encode_table(self.frames)
            self._hash.update(ending)
            self._file.write(ending)
            self._file.flush()
            os.fsync(self._file.fileno())
            return self._file.tell(), self._hash.hexdigest()
        finally:
            self._stop()
            self._file.close()

    def _cut_all(self) -> None:
        self.cut()
        if self._notes:
            self._put(_Piece(notes=self._notes, whole=True))
            self._notes = []

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

    def _recover(self) -> None:
        """Frames and running hash of what is kept, read back from the file itself."""
        end = self._journal.cut.length
        if self._file.seek(0, 2) < end:
            raise Unrecoverable("the stream is shorter than its journal says")
        self._file.truncate(end)
        self.frames = walk(self._file, end)
        if (self.frames.length, self.frames.size) != (end, self._journal.cut.size):
            raise Unrecoverable("the stream is not what its journal says")
        self._file.seek(0)
        while data := self._file.read(1 << 20):
            self._hash.update(data)

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
            self._write(piece.frame.result(), piece.size)
        if piece.spool:
            for frame, size in piece.spool.pieces():
                self._write(frame, size)
            piece.spool.discard()
        with self._durable:
            self._appended += 1
            if piece.whole and not self._frozen:
                self._ready += piece.notes
                self._mark = Cut(length=self.frames.length, size=self.frames.size)
                self._durable.notify_all()

    def _write(self, frame: bytes, size: int) -> None:
        self._hash.update(frame)
        self._file.write(frame)
        self.frames.append(len(frame), size)

    def _sync_all(self) -> None:
        """Group commit: one fsync serves all entries that became whole while the last one ran."""
        while True:
            with self._durable:
                self._durable.wait_for(lambda: self._mark or self._ending)
                notes, self._ready = self._ready, []
                mark, self._mark = self._mark, None
                appended = self._appended
            if mark is None:
                return
            if self._error is not None:
                continue
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
                positions = [self._journal.append(note.line) for note in notes]
                self._journal.commit(mark)
                contents = zip((note.content for note in notes), positions, strict=True)
                self._journalled([(content, position) for content, position in contents if content is not None])
                with self._durable:
                    self._synced = appended
                    self._durable.notify_all()
            except BaseException as error:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._durable:
            self._error = error
            self._durable.notify_all()
