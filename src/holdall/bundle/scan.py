"""A bundle read from its first byte to its last: frames decoded on several threads, the tar's members in order.

For who must see everything: ``verify``, and ``extract --salvage``. What can't be read is handed on as lost, never
skipped in silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import BLOCK, END_OF_TAR, Header, TarError, parse_header
from holdall.bundle.seekable import (
    SEAL_SIZE,
    FrameError,
    FrameTable,
    declared_size,
    decompress,
    encode_table,
    read_tail,
    walk,
)
from holdall.untrusted import most_lines

__all__ = ["Broken", "Data", "End", "Event", "Piece", "Start", "choose_frames", "members", "pieces"]

_HEADER = 6 * BLOCK  # no header is longer
_WORTH_THREADS = 4 << 20
# Decoded but not yet asked for: however many threads there are, and however large the frames.
_AHEAD = 48 << 20


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """The content of one frame, or None and the reason why it is lost."""

    number: int
    position: int
    size: int
    data: bytes | None
    error: str = ""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """A member of the tar begins; its content is at ``offset``."""

    header: Header
    offset: int


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the member; None for ``size`` bytes that are lost."""

    data: memoryview | None
    size: int


class End(msgspec.Struct, frozen=True, kw_only=True):
    """The member's content is over. ``whole``: none of it was lost and nothing is missing at its end."""

    whole: bool


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """The tar can't be followed beyond ``position``: a header is lost, or isn't one."""

    position: int
    message: str


Event = Start | Data | End | Broken


def choose_frames(file: BinaryIO) -> FrameTable:
    """The frames of a bundle that may be damaged, by whichever tells more: the seek table or the frames themselves.

    The table is believed where it adds up and every frame begins as it says. Otherwise the frames are walked; the
    table helps again where a damaged frame stops the walk.
    """
    end = file.seek(0, 2)
    try:
        table = read_tail(file).frames
    except FrameError:
        table = None
    if table and all(_begins_as_listed(file, table, number) for number in range(len(table))):
        return table
    walked = FrameTable((length, size) for _, length, size in walk(file, 0, end))
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
    """Every frame in order, decoded ahead on ``threads`` threads; ``see`` is given each as it lies in the file."""
    ahead: deque[tuple[int, Future[bytes]]] = deque()
    waiting = 0
    file.seek(0)
    # Threads cost more than a small bundle takes.
    pool = ThreadPoolExecutor(threads, thread_name_prefix="holdall-decode") if frames.size > _WORTH_THREADS else None
    try:
        for number in range(len(frames)):
            _, length, _, size = frames[number]
            frame = file.read(length)
            # Decoding begins before the hash is taken, so that both run at once.
            ahead.append((number, pool.submit(decompress, frame, size) if pool else _decompress_here(frame, size)))
            if see:
                see(frame)
            waiting += size
            del frame
            while ahead and (len(ahead) > threads + 2 or waiting > _AHEAD):
                waiting -= frames[ahead[0][0]][3]
                yield _piece(frames, *ahead.popleft())
        while ahead:
            yield _piece(frames, *ahead.popleft())
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _decompress_here(frame: bytes, size: int) -> Future[bytes]:
    done: Future[bytes] = Future()
    try:
        done.set_result(decompress(frame, size))
    except FrameError as error:
        done.set_exception(error)
    return done


def _piece(frames: FrameTable, number: int, decoded: Future[bytes]) -> Piece:
    _, _, position, size = frames[number]
    try:
        return Piece(number=number, position=position, size=size, data=decoded.result())
    except FrameError as error:
        return Piece(number=number, position=position, size=size, data=None, error=str(error))


class _Tape:
    """The pieces as one stretch of bytes, with holes."""

    def __init__(self, source: Iterator[Piece]) -> None:
        self._source = source
        self.position = 0
        self._rest: deque[Data] = deque()

    def peek(self, size: int) -> bytes:
        """Up to ``size`` bytes; fewer where the tape ends or has a hole."""
        found, have = [], 0
        for number in range(1 << 30):
            if number == len(self._rest) and not self._more():
                break
            piece = self._rest[number]
            if piece.data is None:
                break
            found.append(piece.data[: size - have])
            have += len(found[-1])
            if have == size:
                break
        return bytes(found[0]) if len(found) == 1 else b"".join(found)

    def take(self, size: int) -> Data | None:
        """The next bytes or lost bytes, at most ``size``; None at the end."""
        if not self._rest and not self._more():
            return None
        piece = self._rest.popleft()
        if piece.size > size:
            data = piece.data
            rest = None if data is None else data[size:]
            self._rest.appendleft(Data(data=rest, size=piece.size - size))
            piece = Data(data=None if data is None else data[:size], size=size)
        self.position += piece.size
        return piece

    def skip(self, size: int) -> bytes | None:
        """Past ``size`` bytes, which are returned; None where some are lost or missing."""
        found = b""
        whole = True
        while size:
            piece = self.take(size)
            if piece is None:
                return None
            size -= piece.size
            if piece.data is None:
                whole = False
            else:
                found += piece.data
        return found if whole else None

    def _more(self) -> bool:
        piece = next(self._source, None)
        if piece is None:
            return False
        self._rest.append(Data(data=None if piece.data is None else memoryview(piece.data), size=piece.size))
        return True


def members(source: Iterator[Piece], file_size: int) -> Iterator[Event]:
    """The members of the tar. A member may lose bytes and the next one still be found; ends with Broken, or after
    the end of the tar, which must be what the format says.

    Each has two lines, in index and manifest or in the tag manifest, so a bundle of ``file_size`` has so many at most.
    """
    tape = _Tape(source)
    left_over = most_lines(file_size) // 2 + len(layout.TAG_FILES)
    while True:
        try:
            header = parse_header(tape.peek(_HEADER))
        except TarError as error:
            yield Broken(position=tape.position, message=str(error))
            return
        if header is None:
            break
        left_over -= 1
        if left_over < 0:
            yield Broken(position=tape.position, message="more members than so small a bundle may have")
            return
        if tape.skip(header.length) is None:
            yield Broken(position=tape.position, message="a header is lost")
            return
        yield Start(header=header, offset=tape.position)
        left, whole = header.size, True
        while left:
            data = tape.take(left)
            if data is None:
                yield End(whole=False)
                yield Broken(position=tape.position, message="the tar ends inside a member")
                return
            left -= data.size
            whole = whole and data.data is not None
            yield data
        yield End(whole=whole)
        filling = -header.size % BLOCK
        # Filling that is lost says nothing about the member before it or the one behind it.
        if (tape.skip(filling) or bytes(filling)) != bytes(filling):
            yield Broken(position=tape.position - filling, message="a member is not filled up with zeros")
            return
    position = tape.position
    if tape.skip(len(END_OF_TAR)) != END_OF_TAR or tape.take(1) is not None:
        yield Broken(position=position, message="the tar does not end as it must")
