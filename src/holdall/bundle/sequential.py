"""Reads a bundle from first byte to last: frames decoded on several threads, tar members in order.

Used by ``verify`` and ``extract --salvage``. Unreadable bytes are reported as lost, never skipped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import BLOCK, END_OF_TAR, Header, TarError, header_length, parse_header
from holdall.bundle.seekable import (
    SEAL_SIZE,
    FrameError,
    FrameTable,
    declared_size,
    decompress,
    encode_table,
    read_table,
    walk,
)
from holdall.untrusted import most_lines

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")

_WORTH_THREADS = 4 << 20
_LARGER = 6 << 20
# Decoded but not yet asked for: however many threads there are, and however large the frames.
_AHEAD = 48 << 20


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """The content of one frame, or None and the reason why it is lost."""

    number: int
    size: int
    data: bytes | None
    error: str = ""


class BrokenTar(Exception):
    """The tar can't be followed beyond ``position``: a header is lost or invalid, or it isn't a tar."""

    def __init__(self, position: int, why: str) -> None:
        super().__init__(why)
        self.position, self.why = position, why


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


def _header(tape: _Tape) -> Header | None:
    block = tape.read(BLOCK)
    rest = tape.read(header_length(block) - BLOCK) if block else None
    if block is None or rest is None:
        raise TarError("the tar ends inside a header")
    return parse_header(block + rest)


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
            header = _header(tape)
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
