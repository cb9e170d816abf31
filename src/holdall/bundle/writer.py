"""Writes contents and records into one bundle, complete or absent.

A content goes through a Sink, which hashes and compresses it outside the stream, or with ``begin_direct`` into its end,
which is cut back if it fails. Whole entries are durable soon after and survive a crash in ``NAME.partial/``. Only
``finish`` gives the bundle its name.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import NO_TIME, opening_files
from holdall.bundle.copying import OldStream, copy_entry
from holdall.bundle.finalize import Finalizer, Finished, require_readable
from holdall.bundle.growing import DirectEntry
from holdall.bundle.layout import Capture, LedgerLine
from holdall.bundle.partial import JOURNAL, Begin, Entry, Ledger, Partial, Stored, clear_finished
from holdall.bundle.seekable import FrameError
from holdall.bundle.sinks import LineSink, Sink
from holdall.bundle.stream import Stream, Unrecoverable
from holdall.bundle.totals import record_hash
from holdall.errors import AlreadyExists, CannotWrite
from holdall.kinds import DEFINITIONS, KINDS
from holdall.model import Kind, Moment, Record, SourceId, StoreView, View, epoch_seconds
from holdall.safe_files import already_exists, rename_durably, reporting
from holdall.spilling import SpillingDict
from holdall.untrusted import require_record

__all__ = ["BundleWriter", "Finished"]

_LEAST_FREE = 16 << 20


class _Dated(View, frozen=True, kw_only=True):
    id: str
    created_at: Moment = None


class BundleWriter:
    """A bundle being written to ``target``.

    Use as a context manager. Leaving without ``finish`` leaves ``NAME.partial/``, and a later writer with the same
    target and capture resumes it. All methods may be called from any thread.
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
        any unfinished bundle of that name raises. ``threads`` compress, by default one per processor.
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
                self._begin(started, resume=resume)
        except BaseException:
            self._leave()
            self._partial.release()
            raise

    def _begin(self, started: int, *, resume: bool) -> None:
        """Resume an earlier run if wanted and possible, or begin anew."""
        self.started = started
        if begin := self._partial.begin():
            resume = resume and begin.can_resume(self.capture, self.target.name)
            if resume:
                self.started = begin.started
            elif not self._force:
                raise self._another(begin)
        try:
            self._open(resume=resume and begin is not None)
        except Unrecoverable:
            self._open(resume=False)

    def _another(self, begin: Begin) -> AlreadyExists:
        what, same = "with another source, selection or options", "use the same settings to resume it"
        if begin.format != JOURNAL:
            what, same = f"of another version ({begin.capture.tool})", "use that version to resume it"
        return AlreadyExists(
            f"can't write {self.target}: {self._partial.folder} contains an unfinished bundle {what}",
            hint=f"{same}, choose another name, or discard it with --no-resume or --force",
        )

    def _open(self, *, resume: bool) -> None:
        """Open the stream: resume it, or begin anew with the files that say how to read it."""
        begin = Begin(format=JOURNAL, name=self.target.name, started=self.started, capture=self.capture)
        self._stream = Stream(
            self._partial, None if resume else begin, self._pool, source=self.capture.source, depth=self._depth
        )
        self._resumed = self._stream.journal.position if resume else 0
        for path, data in opening_files(self._stream.bag):
            if path not in self._stream.index.tags:
                sink = self._filled(path, data)
                self._stream.note(Entry(entry=self._stream.begin(sink, path, NO_TIME)))
                self._stream.add(sink)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
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
        """Add one definition. A resume doesn't write an unchanged one again.

        Raises ValueError where the record is over a limit (``untrusted.require_record``).
        """
        if record.kind not in DEFINITIONS:
            raise ValueError(f"a {record.kind} goes through open_members or open_files")
        uses = require_record(record.raw).uses
        key, sha256 = (record.kind, record.id), record_hash(record.kind, record.raw)
        files = StoreView.of(record).total if record.kind is Kind.STORE else None
        with self._lock, reporting(self.target):
            known = self._stream.index.records.get(key)
            if known is not None and key not in self._stream.index.unseen_records:
                raise ValueError(f"{record.kind} {record.id} was added before")
            if known == (sha256, files):
                self._stream.index.unseen_records.discard(key)
                return
            if known is not None:  # changed since; nothing can be taken out of a tar
                self._switch(keep_unseen=True)
            path = self._stream.index.path(record.kind, record.id)
            self._stream.index.records[key] = sha256, files
            sink = self._filled(path, record.raw, uses)
            entry = self._stream.begin(sink, path, epoch_seconds(_Dated.of(record).created_at), id=record.id)
            self._stream.note(Entry(entry=entry, hash=sha256, files=files))
            self._stream.add(sink)

    def open_content(self, size_hint: int | None = None, *, text: bool = False) -> Sink:
        """A sink for the bytes of one file, or its parsed ``text`` as one store's API paged it; see ``add_content``.

        Raises CannotWrite if ``size_hint`` bytes don't fit on the disk.
        """
        # Before the download: a disk that is full in the middle of a large file would cost all of it.
        if size_hint and size_hint > layout.CONTENT_FRAME:
            with reporting(self.target):
                _require_space(self.target, size_hint)
        return self._stream.sink(layout.TEXTS if text else layout.CONTENTS)

    def add_content(
        self,
        sink: Sink,
        line: LedgerLine,
        *,
        created_at: int,
        record: str | None = None,
        store: str | None = None,
        overlap: int | None = None,
    ) -> Stored:
        """Add a committed content to the bundle, and ``line``, with path and size filled in, to its ledger.

        Both become durable together: soon, at the latest when the writer is left. ``store`` is the one that a parsed
        text was read from; that, ``record`` and ``overlap`` are for a later run (``journal.Stored``). A content of
        that id from an earlier run is superseded; ValueError where this run has added or kept one.
        """
        with self._lock, reporting(self.target):
            if self._stream.index.has_content(line.id):
                raise ValueError(f"the content of {line.id} was added before")
            if sink.direct:
                path = sink.direct.path
            else:
                self._stream.cut_back()  # first, because it may have the name
                path = self._stream.index.content_path(line.id, line.filename, store)
            entry = self._stream.begin(
                sink, path, created_at, id=line.id, filename=line.filename, fidelity=line.fidelity
            )
            line = msgspec.structs.replace(line, path=path, size=entry.size)
            stored = Stored(entry=entry, ledger=line, record=record, store=store, overlap=overlap)
            self._stream.note(stored)
            self._stream.index.add_content(stored)
            self._stream.add(sink)
            return stored

    def open_next(self, line: LedgerLine, *, created_at: int, text: bool = False) -> Sink:
        """As ``open_content``, for the content that is added next, of about the size in its ``line``: if that holds, it
        is written once."""
        sink = self.open_content(text=text)
        if line.size and not text:
            sink.go_direct = lambda _: self.begin_direct(
                sink, line.id, line.filename, size=line.size or 0, created_at=created_at
            )
        return sink

    def begin_direct(
        self, sink: Sink, id: str, filename: str | None, *, size: int, created_at: int
    ) -> DirectEntry | None:
        """Where the frames of a content can be written as they come, said to have ``size`` bytes; None if not now.

        For ``Sink.go_direct``, of the content that is to be added next: until it is added or aborted nothing else can
        be. It goes through the spool after all if it has another size.
        """
        if not self._lock.acquire(blocking=False):  # whoever has it may wait for the sink
            return None
        try:
            if self._over or size <= sink.frames.small or self._stream.index.has_content(id):
                return None
            if not self._stream.is_ready(sink.frames):
                return None
            path = self._stream.index.content_path(id, filename, None)
            return self._stream.begin_direct(sink, path, created_at, size)
        finally:
            self._lock.release()

    def open_members(self, kind: Kind, id: str) -> LineSink:
        """A sink for the memberships of a store, or the versions of an agent or a skill, a line of JSON each; goes
        behind the contents in ``finish``."""
        with self._lock:
            path = self._stream.index.lines_path(kind, id)
        return self._line_sink(path, KINDS[kind].member, id)

    def open_memberships(self, store_id: str) -> LineSink:
        """A sink for the memberships of one store."""
        return self.open_members(Kind.STORE, store_id)

    def open_files(self) -> LineSink:
        """A sink for the file objects, a line of JSON each; goes behind the contents in ``finish``."""
        return self._line_sink(layout.FILES, Kind.FILE, None)

    def open_losses(self) -> LineSink:
        """A sink for ``LossLine``s; goes behind the contents in ``finish``."""
        return self._line_sink(layout.LOSSES, None, None)

    def add_ledger(self, line: LedgerLine) -> None:
        """Add the ledger line of a file without content. It holds for this run alone."""
        with self._lock, reporting(self.target):
            self._stream.note(Ledger(ledger=line))

    def content(self, file_id: str) -> Stored | None:
        """The content of that id if it is whole in this stream, from this run or the resumed one."""
        with self._lock, reporting(self.target):
            return self._stream.index.content(file_id)

    def keep(self, file_id: str) -> None:
        """Keep the content that an earlier run stored; without this call the bundle won't have it."""
        with self._lock:
            self._stream.index.keep(file_id)

    def checkpoint(self) -> None:
        """Make what was committed durable soon, even if no frame is full."""
        with self._lock, reporting(self.target):
            if not self._over:
                self._stream.checkpoint()

    # -- the end -------------------------------------------------------------------------------------

    def finish(self, *, ended: int, read_back: bool = True) -> Finished:
        """Write the records and what proves the bundle, make it durable, read it back, and give it its name.

        If the clock was set back, the end time is the start time. Raises CannotWrite, and the bundle gets no name, if
        it can't be read back (``require_readable``); without ``read_back`` the caller verifies it.
        """
        with self._lock, reporting(self.target):
            # What this run has not met again is gone from the project.
            if self._stream.index.unseen_records or self._stream.index.unseen_contents or self._stream.index.superseded:
                self._switch(keep_unseen=False)
            finished = Finalizer(
                self._stream,
                self.capture,
                target=self.target,
                started=self.started,
                resumed=self._resumed,
                line_sinks=[sink for sink in self._line_sinks if sink.committed],
            ).run(ended=max(ended, self.started))
            if read_back:
                require_readable(self._partial.stream, self.target)
            self._leave()
            rename_durably(self._partial.stream, self.target, force=self._force)
            self._partial.remove()
            return finished

    def discard(self) -> None:
        """Delete ``NAME.partial/``."""
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
        if hasattr(self, "_stream"):
            self._stream.journal.close()

    def _switch(self, *, keep_unseen: bool) -> None:
        """The project changed since the earlier run: continue in a new stream with what is still valid.

        ``keep_unseen`` also copies contents that this run has not asked for yet.
        """
        before, resumed = self._stream.index, self._resumed
        self._stream.close(cut=True)
        self._partial.set_aside()
        self._open(resume=False)
        try:
            with OldStream(self._partial) as old:
                for position, line in old.journal.lines():
                    match line:
                        case Entry(hash=str()) if before.seen(line):
                            raw = b"".join(old.content(line.entry))
                            kind, id = layout.kind_of(line.entry.path), SourceId(line.entry.id or "")
                            self.add_record(Record(kind=kind, id=id, raw=raw))
                        case Stored() if before.holds(line, position, unseen=keep_unseen):
                            self._carry(old, line)
                        case Ledger() if position >= resumed:
                            self.add_ledger(line.ledger)
        except FrameError as error:
            raise CannotWrite(
                f"can't write {self.target}: the unfinished bundle {self._partial.folder} is damaged: {error}",
                hint="--no-resume deletes it and starts again",
            ) from None
        self._stream.index.unseen_contents = before.unseen_contents if keep_unseen else SpillingDict()
        self._stream.flush()
        self._partial.forget_old()

    def _carry(self, old: OldStream, line: Stored) -> None:
        """One content from the old stream into the new one."""
        created_at = old.time(line.entry)
        with self.open_next(line.ledger, created_at=created_at, text=line.store is not None) as sink:
            if not copy_entry(old.frames, line.entry, sink):
                raise FrameError(f"the bytes of {line.entry.path} are not those that were written (sha256)")
            sink.commit()
        self.add_content(
            sink,
            line.ledger,
            created_at=created_at,
            record=line.record,
            store=line.store,
            overlap=line.overlap,
        )

    def _line_sink(self, path: str, kind: Kind | None, owner: str | None) -> LineSink:
        sink = LineSink(self._partial.new_spool, path, kind, owner, target=self.target)
        with self._lock:
            self._line_sinks.append(sink)
        return sink

    def _filled(self, path: str, data: bytes, uses: int = 0) -> Sink:
        """A committed sink for ``path`` that holds ``data``."""
        with self._stream.sink(path, uses=uses) as sink:
            sink.write(data)
            sink.commit()
        return sink


def _require_space(target: Path, size: int) -> None:
    """OSError where the disk has less than ``size`` bytes free."""
    if shutil.disk_usage(target.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
