"""The stream of an earlier run, from which a new one takes what is still valid."""

from __future__ import annotations

from collections.abc import Iterator

from holdall.bundle.bag import BLOCK, header_time
from holdall.bundle.journal import Journal, Partial
from holdall.bundle.layout import IndexEntry
from holdall.bundle.lookup import FrameFile
from holdall.bundle.seekable import walk
from holdall.safe_open import Closing, open_regular


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
