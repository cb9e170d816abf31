"""Looking a line up in a sorted file of JSON lines inside a bundle: by bisection, so a few frames are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holdall.bundle.seekable import FrameError, FrameFile

__all__ = ["SortedLines"]

_STEP = 4 << 10
_LONGEST_LINE = 4 << 20


class SortedLines:
    """Lines in ascending order of ``key(line)``, ``size`` bytes of them from ``offset`` on in a bundle's tar."""

    def __init__(self, frames: FrameFile, offset: int, size: int, key: Callable[[bytes], bytes]) -> None:
        self._frames, self._offset, self._size, self._key = frames, offset, size, key

    def __iter__(self) -> Iterator[bytes]:
        return self._lines(0)

    def starting_at(self, key: bytes) -> Iterator[bytes]:
        """The lines whose key is not less than ``key``."""
        return self._lines(self._bisect(key))

    def find(self, key: bytes) -> bytes | None:
        """The first line with exactly this key."""
        line = next(self.starting_at(key), None)
        return line if line is not None and self._key(line) == key else None

    def _bisect(self, key: bytes) -> int:
        low, high = 0, self._size
        while low < high:
            start = self._line_start((low + high) // 2)
            line = self._line(start)
            if self._key(line) < key:
                low = start + len(line) + 1
            else:
                high = start
        return low

    def _line_start(self, position: int) -> int:
        """Where the line that has the byte at ``position`` begins."""
        end = position
        while end > 0 and position - end < _LONGEST_LINE:
            step = min(_STEP, end)
            found = self._read(end - step, step).rfind(b"\n")
            if found >= 0:
                return end - step + found + 1
            end -= step
        if end:
            raise FrameError("a line without end")
        return 0

    def _line(self, start: int) -> bytes:
        """The line at ``start`` without its newline."""
        line = b""
        while start + len(line) < self._size and len(line) < _LONGEST_LINE:
            more = self._read(start + len(line), min(_STEP, self._size - start - len(line)))
            end = more.find(b"\n")
            if end >= 0:
                return line + more[:end]
            line += more
        raise FrameError("a line without end")

    def _lines(self, start: int) -> Iterator[bytes]:
        rest = b""
        for chunk in self._frames.chunks(self._offset + start, self._size - start):
            # Most lines of a chunk are whole, so they are cut in one go.
            *lines, rest = (rest + bytes(chunk)).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                raise FrameError("a line without end")
            yield from lines
        if rest:
            raise FrameError("the last line has no end")

    def _read(self, start: int, size: int) -> bytes:
        return self._frames.read(self._offset + start, size)
