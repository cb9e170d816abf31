"""An unfinished stream read back: where a new stream takes from what is whole in an old one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdall.bundle.bag import BLOCK, header_time
from holdall.bundle.journal import Journal, Line
from holdall.bundle.layout import IndexEntry
from holdall.bundle.lookup import FrameFile
from holdall.bundle.seekable import walk
from holdall.closing import Closing
from holdall.opening import open_regular

__all__ = ["Unfinished"]


class Unfinished(Closing):
    """The stream and journal of a ``NAME.partial/``, for reading. A context manager."""

    def __init__(self, stream: Path, journal: Path) -> None:
        self._journal = Journal(journal, None)
        self._file = open_regular(stream)
        self._frames = FrameFile(self._file, walk(self._file, self._journal.cut.length))

    def close(self) -> None:
        self._file.close()
        self._journal.close()

    def lines(self) -> Iterator[tuple[int, Line]]:
        """What the journal says is whole, in the order it was written, with each line's position."""
        return self._journal.lines()

    def content(self, entry: IndexEntry) -> Iterator[memoryview]:
        """The bytes of one entry, in pieces; FrameError where the stream is damaged."""
        return self._frames.chunks(entry.offset, entry.size)

    def time(self, entry: IndexEntry) -> int:
        """The modification time in the entry's header."""
        return header_time(self._frames.read(entry.offset - BLOCK, BLOCK))
