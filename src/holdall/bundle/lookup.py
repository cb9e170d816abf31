"""Random access to a bundle: bytes at an offset, and lines of a sorted file by bisection."""

from __future__ import annotations

import hashlib
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import BinaryIO

from holdall.bundle.seekable import SEAL_SIZE, FrameError, FrameTable, compress, decompress, encode_seal
from holdall.untrusted import MAX_JSON

MAX_LINES = 1 << 62

_STEP = 4 << 10
# So much is cut into lines faster than they are looked for one by one.
_NEAR = 16 << 10
# A frame may be 64 MiB of newlines: cut at once, that would be as many objects.
_PIECE = 256 << 10
_CACHE_BYTES = 16 << 20
_DIGEST = 32
# Frames are proved again together up to this size: a liar's may be of 14 bytes, and each state takes 250.
_SPAN = 16 << 10
_MOST_STATES = 1 << 18


class SealHash:
    """The sha256 of all frames, which the seal states. Where it ``keep``s its state at the edges of frames, it proves
    frames once more without a hash for each: only the same bytes lead from one state to the next."""

    def __init__(self, frames: FrameTable, *, keep: bool) -> None:
        self._frames, self._running = frames, hashlib.sha256()
        self._span = max(_SPAN, frames.length // _MOST_STATES) if keep else MAX_LINES
        self._states, self._firsts = [self._running.copy()], array("Q", [0])
        self._seen = self._size = 0

    def add(self, frame: bytes) -> None:
        """Take the next frame, compressed."""
        if self._size and self._size + len(frame) > self._span:
            self._states.append(self._running.copy())
            self._firsts.append(self._seen)
            self._size = 0
        self._running.update(frame)
        self._seen += 1
        self._size += len(frame)

    def digest(self, rest: Iterable[bytes] = ()) -> bytes:
        """Of what was added, and the ``rest``; 32 bytes."""
        found = self._running.copy()
        for data in rest:
            found.update(data)
        return found.digest()

    def span(self, number: int) -> tuple[int, int]:
        """Where the frames that are proved together with this one begin and end in the file."""
        at = bisect_right(self._firsts, number)
        last = self._firsts[at] if at < len(self._firsts) else self._seen
        return self._frames[self._firsts[at - 1]][0], sum(self._frames[last - 1][:2])

    def is_same(self, number: int, data: bytes) -> bool:
        """Whether this is what was added of that ``span``."""
        at = bisect_right(self._firsts, number)
        found = self._states[at - 1].copy()
        found.update(data)
        return found.digest() == (self._states[at] if at < len(self._states) else self._running).copy().digest()


class FrameFile:
    """Random access to the decompressed bytes of a file of frames. Thread-safe; holds a few frames in memory."""

    def __init__(
        self,
        file: BinaryIO,
        frames: FrameTable,
        *,
        cache_bytes: int = _CACHE_BYTES,
        decode: Callable[[bytes, int], bytes] = decompress,
    ) -> None:
        """``decode`` may give less than a frame's size, as ``decompress_damaged`` does."""
        self.frames, self._decode = frames, decode
        self._file, self._room = file, cache_bytes
        self._lock, self._large = threading.Lock(), threading.Lock()
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._proven: SealHash | None = None
        self.alike: dict[bool, bool] = {}
        """Whether its frames are those that we would write: what is compressed, and the rest (``OwnFrames``)."""

    @property
    def is_held(self) -> bool:
        """Whether all that is read is known to be what was verified."""
        return self._proven is not None

    def hold(self, proven: SealHash) -> None:
        """From now on return only frames that ``proven`` has seen. So what is read is what was verified, even if the
        file has changed since."""
        with self._lock:
            self._room += sum(map(len, self._cache.values()))
            self._cache.clear()
            self._proven = proven

    def frame(self, number: int) -> bytes:
        """The content of one frame; FrameError if unreadable."""
        if (data := self._cached(number)) is not None:
            return data
        size = self.frames[number][3]
        # Of those that are larger than the cache there is one at a time.
        with self._large if size > _CACHE_BYTES else nullcontext():
            if (data := self._cached(number)) is not None:
                return data
            with self._lock:
                while self._cache and self._room < size:
                    self._room += len(self._cache.popitem(last=False)[1])
            data = self._decode(*self.raw(number))
            with self._lock:
                if number not in self._cache:
                    self._cache[number] = data
                    self._room -= len(data)
        return data

    def _cached(self, number: int) -> bytes | None:
        with self._lock:
            data = self._cache.get(number)
            if data is not None:
                self._cache.move_to_end(number)
            return data

    def raw(self, number: int) -> tuple[bytes, int]:
        """One frame, compressed, and the size of its content."""
        offset, length, _, size = self.frames[number]
        start, end = self._proven.span(number) if self._proven else (offset, offset + length)
        with self._lock:
            self._file.seek(start)
            data = self._file.read(end - start)
        if len(data) < end - start:
            raise FrameError("the file ends inside a frame")
        if self._proven and not self._proven.is_same(number, data):
            raise FrameError("the file has changed since it was verified")
        return data[offset - start :][:length], size

    def both(self, number: int) -> tuple[bytes, bytes]:
        """One frame, compressed, and its content, which is decoded from just these bytes; FrameError if unreadable."""
        frame, size = self.raw(number)
        return frame, self._decode(frame, size)

    def seal(self) -> str:
        """What the seal states as the sha256 of all bytes before it; FrameError where there is none."""
        with self._lock:
            self._file.seek(self.frames.length)
            found = self._file.read(SEAL_SIZE)
        digest = found[-_DIGEST:]
        if found != encode_seal(digest):
            raise FrameError("no seal behind the last frame")
        return digest.hex()

    def own(self, position: int, size: int, each: int) -> OwnFrames | None:
        """The frames that hold just these ``size`` bytes, cut every ``each`` of them; None where they are cut
        otherwise."""
        if position + size > self.frames.size:
            return None
        first = self.frames.find(position)
        numbers = range(first, min(first - (-size // each), len(self.frames)))
        cuts = [(start, length) for _, _, start, length in (self.frames[number] for number in numbers)]
        wanted = [(position + at, min(each, size - at)) for at in range(0, size, each)]
        return OwnFrames(self, numbers) if cuts == wanted else None

    def chunks(self, position: int, size: int) -> Iterator[memoryview]:
        """``size`` decompressed bytes from ``position`` on, as pieces of frames; FrameError where they aren't there."""
        if position + size > self.frames.size:
            raise FrameError("past the end of the last frame")
        number = self.frames.find(position)
        while size > 0:
            _, _, start, whole = self.frames[number]
            piece = memoryview(self.frame(number))[position - start :][:size]
            if len(piece) < min(size, start + whole - position):
                raise FrameError("the rest of the frame can't be decoded")
            yield piece
            position += len(piece)
            size -= len(piece)
            number += 1
            del piece  # before the next frame is decoded

    def read(self, position: int, size: int) -> bytes:
        """``size`` decompressed bytes from ``position`` on, in one."""
        return b"".join(self.chunks(position, size))


class OwnFrames:
    """The frames of one entry that shares none, for another bundle. Nothing proves them yet."""

    def __init__(self, file: FrameFile, numbers: range) -> None:
        self._file, self._numbers = file, numbers

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Each compressed, and what is in it. FrameError."""
        for number in self._numbers:
            frame, size = self._file.raw(number)
            yield frame, decompress(frame, size)

    def as_ours(self, frame: bytes, data: bytes, least: int) -> bytes:
        """``frame``, if that is what we make of ``data``, with ``least`` bytes or more; else what we make.

        Another version of zstd, or another level, makes others. One process wrote all frames of a file, so the first
        one tells of all; but what can't be compressed is alike in most versions, and tells of its like only.
        """
        alike, kind = self._file.alike, 4 * len(frame) < 3 * len(data)
        if kind in alike and len(frame) >= least and alike[kind]:
            return frame
        ours = compress(data, least)
        alike.setdefault(kind, ours == frame)
        return ours


def split_lines(pieces: Iterable[bytes | None]) -> Iterator[bytes | None]:
    """Lines, without newlines, of a file that comes in pieces. None for a lost piece, and for a line that is cut by
    one, too long, or unterminated."""
    rest: bytearray | None = bytearray()
    for piece in pieces:
        # Most lines of a piece are whole, so they are cut in one go.
        first, *lines = (piece or b"").split(b"\n")
        if rest is not None:
            rest += first
            if piece is None or len(rest) > MAX_JSON:
                yield None
                rest = None
        if lines:
            if rest is not None:
                yield bytes(rest)
            rest = bytearray(lines.pop())
            yield from lines
    if rest:
        yield None


class SortedLines:
    """Lines in ascending order of ``key(line)``, ``size`` bytes of them from ``offset`` on in a bundle's tar."""

    def __init__(
        self, frames: FrameFile, offset: int, size: int, key: Callable[[bytes], bytes], *, most: int = MAX_LINES
    ) -> None:
        """Raises FrameError after ``most`` lines."""
        self._frames, self._offset, self._size, self._key = frames, offset, size, key
        self._most = most

    def __iter__(self) -> Iterator[bytes]:
        return self._lines(0)

    def starting_at(self, key: bytes) -> Iterator[bytes]:
        """The lines whose key is not less than ``key``."""
        return self._lines(self._bisect(key))

    def find(self, key: bytes) -> bytes | None:
        """The first line with exactly this key."""
        start = self._bisect(key)
        line = self._line(start) if start < self._size else None
        return line if line is not None and self._key(line) == key else None

    def _bisect(self, key: bytes) -> int:
        low, high = 0, self._size
        while high - low > _NEAR:
            start = self._line_start((low + high) // 2)
            line = self._line(start)
            if self._key(line) < key:
                low = start + len(line) + 1
            else:
                high = start
        # Lines begin at both ends. A last one that has no end is left to whoever reads it.
        lines = self._read(low, high - low).split(b"\n")[:-1]
        return low + sum(len(line) + 1 for line in lines[: bisect_left(lines, key, key=self._key)])

    def _line_start(self, position: int) -> int:
        """Where the line that has the byte at ``position`` begins."""
        end = position
        # No further back than the longest line: else each look into a file without newlines would read all of it.
        while end > 0 and position - end < MAX_JSON:
            step = min(_STEP, end)
            found = self._read(end - step, step).rfind(b"\n")
            if found >= 0:
                return end - step + found + 1
            end -= step
        if end:
            raise FrameError("unterminated line")
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
        raise FrameError("unterminated line")

    def _lines(self, start: int) -> Iterator[bytes]:
        chunks = self._frames.chunks(self._offset + start, self._size - start)
        pieces = (bytes(chunk[at : at + _PIECE]) for chunk in chunks for at in range(0, len(chunk), _PIECE))
        for number, line in enumerate(split_lines(pieces)):
            if line is None:
                raise FrameError("unterminated line")
            if number == self._most:
                raise FrameError("too many lines")
            yield line

    def _read(self, start: int, size: int) -> bytes:
        return self._frames.read(self._offset + start, size)
