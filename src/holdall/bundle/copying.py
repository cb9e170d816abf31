"""Copies contents from one bundle, or an unfinished one, to another."""

from __future__ import annotations

from collections.abc import Iterator

from holdall.bundle.bag import BLOCK, header_time, padding
from holdall.bundle.frames import FrameFile
from holdall.bundle.layout import IndexEntry
from holdall.bundle.partial import Journal, Partial
from holdall.bundle.reader import BundleReader, wrong_hash
from holdall.bundle.seekable import walk
from holdall.bundle.sinks import Sink
from holdall.safe_files import Closing, open_regular


def copy_entry(frames: FrameFile, entry: IndexEntry, sink: Sink) -> bool:
    """Put all bytes of ``entry`` into ``sink``, compressed as they are if they would become the same frames again.

    Returns whether they have its sha256. Raises FrameError, CannotWrite.
    """
    whole = entry.size + len(padding(entry.size))
    if entry.size > sink.frames.small and (own := frames.own(entry.offset, whole, sink.frames.own)):
        return sink.adopt(own, entry)
    for piece in frames.chunks(entry.offset, entry.size):
        sink.write(piece)
    return sink.has(entry)


def copy_content(bundle: BundleReader, entry: IndexEntry, sink: Sink) -> None:
    """Put a content of ``bundle`` into ``sink``, as ``copy_entry`` does. DamagedBundle where its bytes aren't those
    that were written; then the sink is to be aborted."""
    with bundle.guarding(entry.path):
        is_proved = copy_entry(bundle.frames, entry, sink)
    if not is_proved:
        raise wrong_hash(bundle.path, entry.path)


class OldStream(Closing):
    """A stream that was set aside, from which a new one copies what its ``journal`` says is whole. A context
    manager."""

    def __init__(self, partial: Partial) -> None:
        self.journal = Journal(partial.old_journal, None)
        self._file = open_regular(partial.old_stream)
        self.frames = FrameFile(self._file, walk(self._file, self.journal.cut.length))

    def close(self) -> None:
        self._file.close()
        self.journal.close()

    def content(self, entry: IndexEntry) -> Iterator[memoryview]:
        """The bytes of one entry, in pieces; FrameError where the stream is damaged."""
        return self.frames.chunks(entry.offset, entry.size)

    def time(self, entry: IndexEntry) -> int:
        """The modification time in the entry's header."""
        return header_time(self.frames.read(entry.offset - BLOCK, BLOCK))
