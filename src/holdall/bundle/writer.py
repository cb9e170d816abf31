"""Contents and records into one bundle, complete or absent.

Records go in as they come, a content through a Sink that hashes and compresses it beside the stream until it is
whole; a content that fails never touches the stream. What is whole is durable soon after and survives a crash in
``NAME.partial/``; only ``finish`` gives the bundle its name.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import header, padding
from holdall.bundle.catalog import Catalog
from holdall.bundle.digest import record_hash
from holdall.bundle.durable import already_exists, place, reporting
from holdall.bundle.finishing import Finished, Finishing
from holdall.bundle.journal import Begin, Entry, Journal, Ledger, Partial, clear_finished
from holdall.bundle.layout import Capture, IndexEntry, LedgerLine
from holdall.bundle.names import safe_name
from holdall.bundle.proof import require_readable
from holdall.bundle.sinks import LineSink, Sink
from holdall.bundle.spool import Spool
from holdall.bundle.stream import Note, Stream, Unrecoverable
from holdall.bundle.tagfiles import opening_files
from holdall.bundle.unfinished import Unfinished
from holdall.errors import AlreadyExists, CannotWrite
from holdall.model import Kind, Moment, Record, Rung, SourceId, epoch_seconds
from holdall.untrusted import read_as, require_record

__all__ = ["BundleWriter", "Finished"]

_LEAST_FREE = 16 << 20
_UNNAMED = "unnamed"
_encode = msgspec.json.Encoder().encode


class _Dated(msgspec.Struct, frozen=True, kw_only=True):
    created_at: Moment = None


class BundleWriter:
    """A bundle being written to ``target``.

    Use as a context manager. Leaving without ``finish`` leaves ``NAME.partial/``, and a later writer with the same
    target and capture goes on with it. All methods may be called from any thread.
    """

    def __init__(
        self,
        target: Path,
        capture: Capture,
        *,
        started: int,
        force: bool = False,
        resume: bool = True,
        threads: int | None = None,
    ) -> None:
        """Raises AlreadyExists (the target, or an unfinished other capture of that name), BundleInUse, CannotWrite.

        ``started`` is the time in seconds since 1970; a resumed bundle keeps that of its first run. Without ``resume``
        every unfinished bundle of that name is another. ``threads`` compress, as many as there are processors by
        default.
        """
        self.target, self.capture, self._force = target, capture, force
        if target.exists() and not force:
            clear_finished(target)
            raise already_exists(target)
        self._lock = threading.RLock()
        self._line_sinks: list[LineSink] = []
        self._over = False
        with reporting(target):
            _require_space(target, _LEAST_FREE)
            self._partial = Partial(target)
        threads = threads or os.cpu_count() or 1
        self._depth = threads + 2
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="holdall-compress")
        try:
            if target.exists() and not force:  # another process finished it while we waited for its lock
                raise already_exists(target)
            with reporting(target):
                begin = self._partial.begin()
                resume = resume and begin is not None and begin.goes_on(capture, target.name)
                if begin and not force and not resume:
                    raise AlreadyExists(
                        f"can't write {target}: {self._partial.folder} holds an unfinished bundle with another source, "
                        "selection or options",
                        hint="the same settings to go on with it, another name, or --force to throw it away",
                    )
                self.started = begin.started if begin and resume else started
                try:
                    self._open(resume=resume)
                except Unrecoverable:
                    self._journal.close()
                    self._open(resume=False)
        except BaseException:
            self._leave()
            self._partial.release()
            raise

    def _open(self, *, resume: bool) -> None:
        """Open the stream, to go on with it or anew with the files that say how to read it."""
        begin = Begin(format=layout.FORMAT, name=self.target.name, started=self.started, capture=self.capture)
        self.bag = safe_name(layout.bag_name(self.target.name))
        self._journal = Journal(self._partial.journal, None if resume else begin)
        self._resumed = self._journal.position if resume else 0
        self._catalog = Catalog(self._journal)
        self._stream = Stream(
            self._partial.stream,
            self._journal,
            self._pool,
            depth=self._depth,
            journalled=self._catalog.journalled,
        )
        for path, data in opening_files(self.target.name, self.bag):
            if path not in self._catalog.tags:
                self._put(path, data, mtime=self.started)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:  # a finish in another thread, which nobody waits for any more, comes to its end first
            if self._over:
                return
            try:
                with reporting(self.target):
                    self._stream.close()
            except CannotWrite:
                if kind is None:
                    raise
            finally:
                self._leave()
                self._partial.release()

    # -- what goes in --------------------------------------------------------------------------------

    def add_record(self, record: Record) -> None:
        """One assistant, agent or vector store. On a resume what is there already, unchanged, is not written again.

        Raises ValueError where the record is over a limit (``untrusted.require_record``).
        """
        if record.kind in (Kind.MEMBERSHIP, Kind.FILE):
            raise ValueError(f"a {record.kind} goes through open_memberships or open_files")
        uses = require_record(record.raw).uses
        key, sha256 = (record.kind, record.id), record_hash(record.kind, record.raw)
        with self._lock, reporting(self.target):
            known = self._catalog.records.get(key)
            if known is not None and key not in self._catalog.unseen_records:
                raise ValueError(f"{record.kind} {record.id} was added before")
            if known == sha256:
                self._catalog.unseen_records.discard(key)
                return
            if known is not None:
                self._switch(keep_unseen=True)
            if record.kind is Kind.STORE:
                path = f"{layout.STORES}{self._catalog.store_name(record.id)}{layout.RECORD}"
            elif record.kind is Kind.AGENT:
                path = self._catalog.agent_path(record.id)
            else:
                path = self._catalog.assistant_path(record.id)
            self._catalog.records[key] = sha256
            self._put(path, record.raw, mtime=_created_at(record.raw), id=record.id, hash=sha256, uses=uses)

    def open_content(
        self, file_id: str, filename: str | None, *, rung: Rung, created_at: int, size_hint: int | None = None
    ) -> Sink:
        """A sink for the bytes of one file. CannotWrite where ``size_hint`` bytes have no room on the disk."""
        if size_hint and size_hint > layout.CONTENT_FRAME:
            with reporting(self.target):
                _require_space(self.target, size_hint)

        def place(sink: Sink) -> IndexEntry:
            with self._lock:
                path = self._catalog.content_folder(file_id) + safe_name(filename or _UNNAMED)
                return self._commit(sink, path, file_id, filename, rung, created_at)

        return self._sink(place, layout.CONTENTS)

    def open_text(self, store_id: str, file_id: str, filename: str | None, *, created_at: int) -> Sink:
        """A sink for the parsed text of one file as one store's API paged it, rung ``text``."""

        def place(sink: Sink) -> IndexEntry:
            with self._lock:
                path = self._catalog.text_path(store_id, file_id)
                return self._commit(sink, path, file_id, filename, Rung.TEXT, created_at)

        return self._sink(place, layout.TEXTS)

    def open_memberships(self, store_id: str) -> LineSink:
        """A sink for the memberships of one store, a line of JSON each; goes behind the contents in ``finish``."""
        with self._lock:
            path = f"{layout.STORES}{self._catalog.store_name(store_id)}{layout.MEMBERSHIPS}"
        return self._line_sink(path, Kind.MEMBERSHIP, store_id)

    def open_files(self) -> LineSink:
        """A sink for the file objects, a line of JSON each; goes behind the contents in ``finish``."""
        return self._line_sink(layout.FILES, Kind.FILE, None)

    def open_losses(self) -> LineSink:
        """A sink for ``LossLine``s; goes behind the contents in ``finish``."""
        return self._line_sink(layout.LOSSES, None, None)

    def add_ledger(self, line: LedgerLine) -> None:
        """What became of one file; a later line of the same id replaces an earlier one.

        Durable together with the content committed before it. A content for which none is added keeps that of the
        run that stored it, or gets one made of what the index knows.
        """
        with self._lock, reporting(self.target):
            self._stream.note(Note(line=_encode(Ledger(ledger=line)) + b"\n"))

    def content(self, file_id: str) -> IndexEntry | None:
        """The content of that id if it is whole in this stream, from this run or from the one that is resumed.

        On a resume, a content of the earlier run that is not asked for here will not be in the bundle.
        """
        with self._lock, reporting(self.target):
            return self._catalog.content(file_id)

    def earlier_ledger(self) -> Iterator[LedgerLine]:
        """What the run that is resumed said of its contents. To be read before anything is added."""
        for position, line in self._journal.lines():
            if position >= self._resumed:
                return
            if isinstance(line, Ledger):
                yield line.ledger

    def checkpoint(self) -> None:
        """Let what was committed so far become durable soon, also where little comes and no frame gets full."""
        with self._lock, reporting(self.target):
            if not self._over:
                self._stream.checkpoint()

    # -- the end -------------------------------------------------------------------------------------

    def finish(self, *, ended: int) -> Finished:
        """Write the records and what proves the bundle, make it durable, read it back, and give it its name.

        Raises CannotWrite, and the bundle gets no name, where it can't be read (``proof.require_readable``).
        """
        with self._lock, reporting(self.target):
            if self._catalog.unseen_records or self._catalog.unseen_contents:
                self._switch(keep_unseen=False)
            finished = Finishing(
                target=self.target,
                bag=self.bag,
                capture=self.capture,
                started=self.started,
                stream=self._stream,
                journal=self._journal,
                resumed=self._resumed,
                line_sinks=self._line_sinks,
                open_sink=self._tag_sink,
            ).run(ended=ended)
            require_readable(self._partial.stream, self.target)
            self._leave()
            place(self._partial.stream, self.target, force=self._force)
            self._partial.remove()
            return finished

    def discard(self) -> None:
        """Take ``NAME.partial/`` away, with all that is in it."""
        with self._lock:
            with suppress(OSError):
                self._stream.close()
            self._leave()
            self._partial.remove()

    # -- inside --------------------------------------------------------------------------------------

    def _leave(self) -> None:
        """Nothing more is written by this object."""
        self._over = True
        self._pool.shutdown(cancel_futures=True)
        if hasattr(self, "_journal"):
            self._journal.close()

    def _switch(self, *, keep_unseen: bool) -> None:
        """The project changed since the earlier run: go on in a new stream, with what still holds from the old one.

        ``keep_unseen`` takes over contents that this run has not asked for yet.
        """
        seen, unseen, resumed = self._catalog.seen, self._catalog.unseen_contents, self._resumed
        self._stream.close()
        self._journal.close()
        self._partial.set_aside()
        self._open(resume=False)
        with Unfinished(self._partial.old_stream, self._partial.old_journal) as old:
            for position, line in old.lines():
                match line:
                    case Entry(entry=IndexEntry(rung=None) as entry, hash=str()) if seen(entry):
                        self._carry(old, entry)
                    case Entry(entry=IndexEntry(rung=Rung()) as entry) if keep_unseen or seen(entry):
                        self._carry(old, entry)
                    case Ledger(ledger=LedgerLine(path=str()) as ledger):
                        if carried := self._catalog.content(ledger.id):
                            self.add_ledger(msgspec.structs.replace(ledger, path=carried.path))
                    case Ledger(ledger=ledger) if position >= resumed:
                        self.add_ledger(ledger)
        self._catalog.unseen_contents = unseen if keep_unseen else set()
        self._stream.flush()
        self._partial.forget_old()

    def _carry(self, old: Unfinished, entry: IndexEntry) -> None:
        """One entry from the old stream into the new one."""
        assert entry.id is not None
        if entry.rung is None:
            kind = layout.kind_of(entry.path)
            self.add_record(Record(kind=kind, id=SourceId(entry.id), raw=b"".join(old.content(entry))))
            return
        if entry.path.startswith(layout.TEXTS):
            store_id = self._catalog.store_of(entry.path.split("/")[2])
            sink = self.open_text(store_id, entry.id, entry.filename, created_at=old.time(entry))
        else:
            sink = self.open_content(entry.id, entry.filename, rung=entry.rung, created_at=old.time(entry))
        with sink:
            for piece in old.content(entry):
                sink.write(piece)
            sink.commit()

    def _sink(self, place: Callable[[Sink], IndexEntry], path: str, *, uses: int = 0) -> Sink:
        """A sink for what will lie at ``path`` or in that folder, with so many tools and references in it."""
        frames = layout.frames_of(path)
        spool = Spool(
            self._partial.new_spool,
            self._pool,
            frame_size=frames.own,
            depth=self._depth,
            least=partial(frames.least, uses=uses),
        )
        return Sink(spool, place, target=self.target, frames=frames, uses=uses)

    def _line_sink(self, path: str, kind: Kind | None, store_id: str | None) -> LineSink:
        def committed(sink: LineSink) -> None:
            with self._lock:
                self._line_sinks.append(sink)

        return LineSink(self._partial.new_spool(), path, kind, store_id, committed, target=self.target)

    def _tag_sink(self, path: str) -> Sink:
        """A sink for what ``finish`` writes."""
        return self._sink(lambda sink: self._append(sink, path, self.started, None), path)

    def _put(
        self, path: str, data: bytes, *, mtime: int, id: str | None = None, hash: str | None = None, uses: int = 0
    ) -> None:
        """One file that is in memory anyhow."""

        def note(entry: IndexEntry) -> None:
            entry = msgspec.structs.replace(entry, id=id)
            self._stream.note(Note(line=_encode(Entry(entry=entry, hash=hash)) + b"\n"))

        with self._sink(lambda sink: self._append(sink, path, mtime, note), path, uses=uses) as sink:
            sink.write(data)
            sink.commit()

    def _commit(
        self, sink: Sink, path: str, file_id: str, filename: str | None, rung: Rung, created_at: int
    ) -> IndexEntry:
        if self._catalog.content(file_id):
            raise ValueError(f"the content of {file_id} was committed before")

        def note(entry: IndexEntry) -> None:
            self._stream.note(Note(line=_encode(Entry(entry=entry)) + b"\n", content=file_id))
            self._catalog.add_content(entry)

        return self._append(sink, path, created_at, note, id=file_id, filename=filename, rung=rung)

    def _append(
        self, sink: Sink, path: str, mtime: int, note: Callable[[IndexEntry], None] | None, **known: Any
    ) -> IndexEntry:
        """The sink's bytes into the stream, ``note`` told of the entry before; ``known`` are its other fields."""
        head = header(f"{self.bag}/{path}", sink.size, mtime)
        small = sink.spool.small
        self._stream.make_room(sink.frames, len(head) + (sink.size + len(padding(sink.size)) if small else 0))
        offset = self._stream.position + len(head)
        entry = IndexEntry(path=path, offset=offset, size=sink.size, sha256=sink.sha256, **known)
        if note:
            note(entry)
        if small:
            self._stream.add(head, sink.spool.rest, uses=sink.uses)
            self._stream.cut_if_full()
        else:
            self._stream.add_spool(head, sink.spool, sink.size)
        return entry


def _created_at(raw: bytes) -> int:
    try:
        return epoch_seconds(read_as(raw, _Dated).created_at)
    except ValueError:
        return 0


def _require_space(target: Path, size: int) -> None:
    """OSError where the disk has less than ``size`` bytes free."""
    if shutil.disk_usage(target.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
