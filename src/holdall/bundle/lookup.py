"""Looking a line up in a sorted file of JSON lines inside a bundle: by bisection, so a few frames are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holdall.bundle.seekable import FrameError, FrameFile
from holdall.untrusted import MAX_JSON

__all__ = ["SortedLines"]

MAX_LINES = 1 << 62

_STEP = 4 << 10
# A frame may be 64 MiB of newlines: cut at once, that would be as many objects.
_PIECE = 256 << 10


class SortedLines:
    """Lines in ascending order of ``key(line)``, ``size`` bytes of them from ``offset`` on in a bundle's tar."""

    def __init__(
        self, frames: FrameFile, offset: int, size: int, key: Callable[[bytes], bytes], *, most: int = MAX_LINES
    ) -> None:
        """Of more than ``most`` lines the rest is not handed out, but FrameError raised."""
        self._frames, self._offset, self._size, self._key = frames, offset, size, key
        self._most = most

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
        while end > 0 and position - end < MAX_JSON:
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
        line, step = bytearray(), _STEP
        while start + len(line) < self._size and len(line) < MAX_JSON:
            more = self._read(start + len(line), min(step, self._size - start - len(line)))
            end = more.find(b"\n")
            if end >= 0:
                return bytes(line + more[:end])
            line += more
            step = min(2 * step, _PIECE)
        raise FrameError("a line without end")

    def _lines(self, start: int) -> Iterator[bytes]:
        rest, left = bytearray(), self._most
        for chunk in self._frames.chunks(self._offset + start, self._size - start):
            for at in range(0, len(chunk), _PIECE):
                piece = bytes(chunk[at : at + _PIECE])
                # Most lines of a piece are whole, so they are cut in one go.
                first, *lines = piece.split(b"\n")
                rest += first
                if len(rest) > MAX_JSON:
                    raise FrameError("a line without end")
                left -= len(lines)
                if left < 0:
                    raise FrameError("more lines than there may be")
                if lines:
                    yield bytes(rest)
                    rest = bytearray(lines.pop())
                    yield from lines
        if rest:
            raise FrameError("the last line has no end")

    def _read(self, start: int, size: int) -> bytes:
        return self._frames.read(self._offset + start, size)
