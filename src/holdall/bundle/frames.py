"""Reads a bundle's frames: some of them, the lines of a sorted file, or all frames and tar members from first to last.

Bytes are read by their offset in the tar, lines are found by bisection. All frames are decoded on several threads.
Unreadable bytes are reported as lost, never skipped.
"""

from __future__ import annotations

import hashlib
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import BLOCK, END_OF_TAR, Header, TarError, header_length, parse_header
from holdall.bundle.seekable import (
    SEAL_SIZE,
    FrameError,
    FrameTable,
    compress,
    declared_size,
    decompress,
    encode_seal,
    encode_table,
    read_table,
    walk,
)
from holdall.untrusted import MAX_JSON, most_lines

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")

_NO_LIMIT = 1 << 62
_DIGEST_SIZE = 32
_CACHE_BYTES = 16 << 20
# Frames are proved again together up to this size: a liar's may be of 14 bytes, and each state takes 250.
_SPAN = 16 << 10
_MOST_STATES = 1 << 18


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
        self._alike: dict[bool, bool] = {}

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

    def is_ours(self, frame: bytes, data: bytes, least: int = 0) -> bool:
        """Whether one of its frames is what we make of ``data``, with ``least`` bytes or more.

        Another version of zstd, or another level, makes others. One process wrote all frames of a file, so the first
        one tells of all; but what can't be compressed is alike in most versions, and tells of its like only.
        """
        if len(frame) < least:
            return False
        is_packed = 4 * len(frame) < 3 * len(data)
        if is_packed not in self._alike:
            self._alike[is_packed] = compress(data, least) == frame
        return self._alike[is_packed]

    def seal(self) -> str:
        """What the seal states as the sha256 of all bytes before it; FrameError where there is none."""
        with self._lock:
            self._file.seek(self.frames.length)
            found = self._file.read(SEAL_SIZE)
        digest = found[-_DIGEST_SIZE:]
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
        """``frame``, if that is what we make of ``data``, with ``least`` bytes or more; else what we make."""
        return frame if self._file.is_ours(frame, data, least) else compress(data, least)


class SealHash:
    """The sha256 of all frames, which the seal states. Where it ``keep``s its state at the edges of frames, it proves
    frames once more without a hash for each: only the same bytes lead from one state to the next."""

    def __init__(self, frames: FrameTable, *, keep: bool) -> None:
        self._frames, self._running = frames, hashlib.sha256()
        self._span = max(_SPAN, frames.length // _MOST_STATES) if keep else _NO_LIMIT
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


# -- sorted lines --------------------------------------------------------------------------------------

_STEP = 4 << 10
# So much is cut into lines faster than they are looked for one by one.
_NEAR = 16 << 10
# A frame may be 64 MiB of newlines: cut at once, that would be as many objects.
_PIECE = 256 << 10


class SortedLines:
    """Lines in ascending order of ``key(line)``, ``size`` bytes of them from ``offset`` on in a bundle's tar."""

    def __init__(
        self, frames: FrameFile, offset: int, size: int, key: Callable[[bytes], bytes], *, most: int = _NO_LIMIT
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


# -- all frames, in order ------------------------------------------------------------------------------

_WORTH_THREADS = 4 << 20
_LARGER = 6 << 20
# Decoded but not yet asked for: however many threads there are, and however large the frames.
_AHEAD = 48 << 20


def choose_frames(file: BinaryIO) -> FrameTable:
    """The frames of a possibly damaged bundle, by the seek table or by the frames themselves, whichever finds more.

    The table is used if it adds up and every frame begins where it says. Else the frames are walked, and the table
    helps past damaged ones.
    """
    end = file.seek(0, 2)
    try:
        table = read_table(file)
    except FrameError:
        table = None
    if table and all(_begins_as_listed(file, table, number) for number in range(len(table))):
        return table
    walked = walk(file, end)
    if walked.length + SEAL_SIZE + len(encode_table(walked)) != end:
        return walked if table is None else table
    return _reconciled(file, walked, table) if table else walked


def _reconciled(file: BinaryIO, walked: FrameTable, table: FrameTable) -> FrameTable:
    """Frames of which table and header declare different sizes: the header is believed where the frame decodes."""
    if len(walked) != len(table):
        return walked
    found = FrameTable()
    for number in range(len(walked)):
        offset, length, _, size = walked[number]
        listed = table[number][3]
        if size != listed:
            file.seek(offset)
            try:
                decompress(file.read(length), size)
            except FrameError:
                size = listed
        found.append(length, size)
    return found


def _begins_as_listed(file: BinaryIO, frames: FrameTable, number: int) -> bool:
    offset, _, _, size = frames[number]
    file.seek(offset)
    try:
        return declared_size(file.read(18)) == size
    except FrameError:
        return False


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """The content of one frame, or None and the reason why it is lost."""

    number: int
    size: int
    data: bytes | None
    error: str = ""


def pieces(
    file: BinaryIO, frames: FrameTable, *, threads: int, see: Callable[[bytes], None] | None = None
) -> Iterator[Piece]:
    """Every frame in order, decoded ahead on ``threads`` threads. ``see`` gets each compressed frame before its piece
    is given, in order, and one at a time."""
    # What stands here is done by its call: by a thread already, or then and there.
    ahead: deque[tuple[int, Callable[[], object] | None, Callable[[], bytes]]] = deque()
    waiting = 0
    file.seek(0)
    # Threads cost more than a small bundle takes, and so does importing them.
    decoding = seeing = None
    if frames.size > _WORTH_THREADS:
        _keep_freed_memory()
        decoding, seeing = _pool(threads), _pool(1)
    try:
        for number in range(len(frames)):
            _, length, _, size = frames[number]
            frame = file.read(length)
            seen = _begun(seeing, see, frame) if see else None
            ahead.append((number, seen, _begun(decoding, decompress, frame, size)))
            waiting += size
            del frame, seen
            while ahead and (len(ahead) > threads + 2 or waiting > _AHEAD):
                waiting -= frames[ahead[0][0]][3]
                yield _piece(frames, *ahead.popleft())
        while ahead:
            yield _piece(frames, *ahead.popleft())
    finally:
        for pool in (decoding, seeing):
            if pool:
                pool.shutdown(cancel_futures=True)


def _keep_freed_memory() -> None:
    """Have glibc keep the memory of frames for those that follow: the system takes longer to bring it, page by page,
    than zstd to fill it. glibc gives back what is larger than all that was freed before, so something larger is."""
    bytes(_LARGER)


def _pool(threads: int) -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(threads, thread_name_prefix="holdall-decode")


def _begun(pool: ThreadPoolExecutor | None, work: Callable[..., T], *arguments: Any) -> Callable[[], T]:
    return pool.submit(work, *arguments).result if pool else partial(work, *arguments)


def _piece(frames: FrameTable, number: int, seen: Callable[[], object] | None, decoded: Callable[[], bytes]) -> Piece:
    size = frames[number][3]
    if seen:
        seen()
    try:
        return Piece(number=number, size=size, data=decoded())
    except FrameError as error:
        return Piece(number=number, size=size, data=None, error=str(error))


# -- the members of the tar ----------------------------------------------------------------------------


class BrokenTar(Exception):
    """The tar can't be followed beyond ``position``: a header is lost or invalid, or it isn't a tar."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(why)
        self.position, self.why = position, why


class Member:
    """A member of the tar, with its content at ``offset``. Iterating (once) yields the readable part.

    ``whole`` says afterwards whether none of it was lost.
    """

    def __init__(self, header: Header, tape: _Tape) -> None:
        self.path, self.size, self.offset = header.path, header.size, tape.position
        self.whole = True
        self._tape, self._left = tape, header.size

    def __iter__(self) -> Iterator[memoryview]:
        while self._left:
            data, size = self._tape.take(self._left)
            if not size:
                self.whole = False
                return
            self._left -= size
            if data is None:
                self.whole = False
            else:
                yield data

    def finish(self) -> None:
        """Skip the rest. Raises BrokenTar if it ends early or isn't padded with zeros."""
        for _ in self:
            pass
        if self._left:
            raise BrokenTar(self._tape.position, "the tar ends inside a member")
        filling, position = -self.size % BLOCK, self._tape.position
        # Filling that is lost says nothing about the member before it or the one behind it.
        if (self._tape.read(filling) or bytes(filling)) != bytes(filling):
            raise BrokenTar(position, "a member is not padded with zeros")


def members(source: Iterator[Piece], file_size: int) -> Iterator[Member]:
    """The members of the tar. After one with lost bytes the next may still be found. Raises BrokenTar, also for a wrong
    end of the tar.

    Each has two lines, in index and manifest or in the tag manifest, so a bundle of ``file_size`` has so many at most.
    """
    tape = _Tape(source)
    left_over = most_lines(file_size) // 2 + len(layout.TAG_FILES)
    while True:
        position = tape.position
        try:
            header = _next_header(tape)
        except TarError as error:
            raise BrokenTar(position, str(error)) from None
        if header is None:
            break
        left_over -= 1
        if left_over < 0:
            raise BrokenTar(position, "too many members for a bundle of this size")
        member = Member(header, tape)
        yield member
        member.finish()
    rest = len(END_OF_TAR) - BLOCK  # of which the first block was read as a header
    if tape.read(rest) != bytes(rest) or tape.take(1)[1]:
        raise BrokenTar(position, "the tar does not end correctly")


def _next_header(tape: _Tape) -> Header | None:
    block = tape.read(BLOCK)
    rest = tape.read(header_length(block) - BLOCK) if block else None
    if block is None or rest is None:
        raise TarError("the tar ends inside a header")
    return parse_header(block + rest)


class _Tape:
    """The pieces as one stretch of bytes, with holes."""

    def __init__(self, source: Iterator[Piece]) -> None:
        self._source = source
        self.position = 0
        self._data: memoryview | None = None
        self._left = 0

    def take(self, size: int) -> tuple[memoryview | None, int]:
        """The next bytes and how many, at most ``size``; None for bytes that are lost, and 0 at the end."""
        if not self._left:
            self._data = None  # before the next frame is decoded
            piece = next(self._source, None)
            if piece is None:
                return None, 0
            self._data = None if piece.data is None else memoryview(piece.data)
            self._left = piece.size
        size = min(size, self._left)
        self.position += size
        self._left -= size
        if self._data is None:
            return None, size
        data, self._data = self._data[:size], self._data[size:]
        return data, size

    def read(self, size: int) -> bytes | None:
        """The next ``size`` bytes in one; None where some are lost or missing."""
        if 0 < size <= self._left:  # as nearly always: in one piece
            data, _ = self.take(size)
            return None if data is None else bytes(data)
        found: list[memoryview | None] = []
        while size:
            data, taken = self.take(size)
            found.append(data)
            if not taken:
                break
            size -= taken
        whole = [data for data in found if data is not None]
        return b"".join(whole) if len(whole) == len(found) else None
