"""Frames, seek table and seal: zstd's seekable format. The only importer of zstandard.

A bundle is a row of independent zstd frames, then a skippable frame with the seal, then the seek table. This module
doesn't know what frames hold. Input is untrusted: a frame's declared size and window are checked before decoding, its
length after (docs/format.md, "Frames").
"""

from __future__ import annotations

import io
import struct
import sys
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

import zstandard

from holdall.untrusted import most_bytes

LEVEL = 3
MAX_FRAME = 64 << 20
"""Neither the content nor the window of a frame may be larger than this."""

FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
SEAL_MAGIC = b"\x50\x2a\x4d\x18"
TABLE_MAGIC = b"\x5e\x2a\x4d\x18"
SEEKABLE_MAGIC = b"\xb1\xea\x92\x8f"
SEAL_SIZE = 8 + 32
_FOOTER_SIZE = 9
_MAX_COMPRESSED = MAX_FRAME + (MAX_FRAME >> 8) + 64
_MIN_COMPRESSED = 14  # magic, two bytes of header, one block with a byte in it, checksum
_HEADER_MAX = 18
_USUAL_BLOCK = 12  # bytes that one more block of what compresses well takes
_ENTRIES = 64 << 10
_CHECKSUM = 4


class _Codecs(threading.local):
    """zstd's contexts, which one thread at a time may use: each has its own."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_FRAME)


_codecs = _Codecs()


class FrameError(Exception):
    """A frame or table isn't what it must be. Callers, who know the entry, turn it into DamagedBundle or a finding."""


def compress(data: bytes | bytearray | memoryview, least: int = 0) -> bytes:
    """One frame with content size and checksum, of ``least`` bytes or more (but four times those of ``data`` will do).

    Releases the GIL; safe from any thread.
    """
    frame = _codecs.compressor.compress(data)
    # What compresses too well is cut into more blocks, each of which takes three bytes and one of content.
    least = min(least, 4 * len(data))
    blocks = (least - len(frame)) // _USUAL_BLOCK + 1
    while len(frame) < least:
        frame = _in_blocks(data, -(-len(data) // blocks))
        blocks *= 2
    return frame


def _in_blocks(data: bytes | bytearray | memoryview, size: int) -> bytes:
    """One frame, with a block for each ``size`` bytes."""
    run, view = _codecs.compressor.compressobj(size=len(data)), memoryview(data)
    found = bytearray()
    for start in range(0, len(view), size):
        found += run.compress(view[start : start + size])
        found += run.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    return bytes(found + run.flush())


def declared_size(frame: bytes | memoryview) -> int:
    """The content size that the frame's header declares, within the limits, or FrameError."""
    try:
        header = zstandard.get_frame_parameters(frame[:_HEADER_MAX])
    except zstandard.ZstdError as error:
        raise FrameError(f"not a zstd frame ({error})") from None
    if not header.has_checksum or header.dict_id:
        raise FrameError("frame without checksum, or with a dictionary")
    if header.content_size in (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR):
        raise FrameError("frame without content size")
    if not header.content_size:
        raise FrameError("frame without content")
    if header.content_size > MAX_FRAME or header.window_size > MAX_FRAME:
        raise FrameError(f"frame declares {header.content_size} bytes, window {header.window_size}: over the limit")
    return header.content_size


def decompress(frame: bytes | memoryview, size: int) -> bytes:
    """The content of exactly one frame of ``size`` bytes, checksum proved. Releases the GIL; safe from any thread."""
    length, declared = _frame_at(io.BytesIO(frame), 0)
    if declared != size:
        raise FrameError("frame and seek table disagree on its size")
    if length != len(frame):
        raise FrameError("frame and seek table disagree on its length")
    try:
        data = _codecs.decompressor.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        if "not enough memory" in str(error):
            raise MemoryError from None
        raise FrameError(str(error)) from None
    if len(data) != size:
        raise FrameError("frame size does not match its header")
    return data


def decompress_damaged(frame: bytes | memoryview, size: int) -> bytes:
    """The decodable beginning of a damaged frame. Nothing proves it.

    Often a flipped bit shows only in the checksum, and the blocks before a hole are intact.
    """
    position = _header_length(frame)
    if position is None or declared_size(frame) != size:
        raise FrameError("not a zstd frame, or of another size")
    codec = zstandard.ZstdDecompressor(max_window_size=MAX_FRAME).decompressobj()
    found, last = bytearray(), False
    # Block by block, so that one that fails takes nothing with it; the checksum at the end is never reached.
    with suppress(zstandard.ZstdError, FrameError):
        codec.decompress(frame[:position])
        while not last and position + 3 <= len(frame) and len(found) < size:
            last, length = _block(int.from_bytes(frame[position : position + 3], "little"))
            found += codec.decompress(frame[position : position + 3 + length])
            position += 3 + length
    return bytes(found[:size])


def _header_length(frame: bytes | memoryview) -> int | None:
    if len(frame) < 6 or bytes(frame[:4]) != FRAME_MAGIC:
        return None
    return zstandard.frame_header_size(frame[:_HEADER_MAX])


def _block(header: int) -> tuple[bool, int]:
    kind = header >> 1 & 3
    if kind == 3:
        raise FrameError("frame with a block of the reserved type")
    return bool(header & 1), 1 if kind == 1 else header >> 3


class FrameTable:
    """The place of each frame, compressed and decompressed: two integers a frame."""

    def __init__(self, frames: Iterable[tuple[int, int]] = ()) -> None:
        self._ends = array("Q")
        self._data_ends = array("Q")
        for length, size in frames:
            self.append(length, size)

    def __len__(self) -> int:
        return len(self._ends)

    def append(self, length: int, size: int) -> None:
        self._ends.append(self.length + length)
        self._data_ends.append(self.size + size)

    def cut(self, count: int) -> None:
        """Forget all but the first ``count``."""
        del self._ends[count:], self._data_ends[count:]

    @property
    def length(self) -> int:
        """Compressed bytes of all frames."""
        return self._ends[-1] if self._ends else 0

    @property
    def size(self) -> int:
        """Decompressed bytes of all frames."""
        return self._data_ends[-1] if self._data_ends else 0

    def __getitem__(self, number: int) -> tuple[int, int, int, int]:
        """(offset, length, data offset, data size) of one frame."""
        offset = self._ends[number - 1] if number else 0
        data = self._data_ends[number - 1] if number else 0
        return offset, self._ends[number] - offset, data, self._data_ends[number] - data

    def find(self, position: int) -> int:
        """Number of the frame that holds the decompressed byte at ``position``."""
        return bisect_right(self._data_ends, position)


def walk(file: BinaryIO, end: int) -> FrameTable:
    """The zstd frames in the first ``end`` bytes of ``file``, by structure alone.

    Ends at the first thing that isn't a whole zstd frame within the limits; the caller checks where that is.
    """
    frames = FrameTable()
    with suppress(FrameError):
        while frames.length < end:
            length, size = _frame_at(file, frames.length)
            if frames.length + length > end:
                break
            frames.append(length, size)
    return frames


def _frame_at(file: BinaryIO, offset: int) -> tuple[int, int]:
    """Length, by its block headers, and declared content size of the frame at ``offset``, or FrameError."""
    file.seek(offset)
    header = file.read(_HEADER_MAX)
    size = declared_size(header)
    length, last = _header_length(header) or 0, False
    while not last:
        file.seek(offset + length)
        block = file.read(3)
        # No longer than any frame is: else a few bytes could have us read blocks without end.
        if not length or length > _MAX_COMPRESSED or len(block) < 3:
            raise FrameError("unterminated frame")
        last, block_length = _block(int.from_bytes(block, "little"))
        length += 3 + block_length
    return length + _CHECKSUM, size


def require_expansion(frames: FrameTable, file_size: int) -> None:
    """Raises FrameError if so small a file may not expand that much."""
    if frames.size > most_bytes(file_size):
        raise FrameError(f"it decodes to {frames.size} bytes, too many for a file of this size")


def encode_seal(digest: bytes) -> bytes:
    """The seal: a skippable frame with the sha256 of every byte before it."""
    return SEAL_MAGIC + struct.pack("<I", len(digest)) + digest


def encode_table(frames: FrameTable) -> bytes:
    """The seek table that belongs to ``frames`` (the data frames) followed by the seal."""
    count = len(frames) + 1
    # An array, because a table may have millions of frames.
    entries = array("I", bytes(8 * count))
    for number in range(len(frames)):
        _, entries[2 * number], _, entries[2 * number + 1] = frames[number]
    entries[-2], entries[-1] = SEAL_SIZE, 0
    if sys.byteorder == "big":
        entries.byteswap()
    body = entries.tobytes() + struct.pack("<IB", count, 0) + SEEKABLE_MAGIC
    return TABLE_MAGIC + struct.pack("<I", len(body)) + body


def read_table(file: BinaryIO) -> FrameTable:
    """The frames of a bundle by its seek table, proved to add up with the length of the file; FrameError where they
    don't."""
    file_size = file.seek(0, 2)
    if file_size < _FOOTER_SIZE + 8:
        raise FrameError("too short for a seek table")
    file.seek(file_size - _FOOTER_SIZE)
    footer = file.read(_FOOTER_SIZE)
    count, descriptor = struct.unpack("<IB", footer[:5])
    if footer[5:] != SEEKABLE_MAGIC:
        raise FrameError("no seek table at the end of the file")
    length = 8 + 8 * count + _FOOTER_SIZE
    if descriptor or not count >= 2 or length > min(file_size, 1 << 32):
        raise FrameError("seek table footer does not match the file")
    file.seek(file_size - length)
    if file.read(8) != TABLE_MAGIC + struct.pack("<I", length - 8):
        raise FrameError("seek table header does not match its footer")
    frames = FrameTable()
    for number, (compressed, size) in enumerate(_entries(file, count - 1)):
        if not 0 < size <= MAX_FRAME or not _MIN_COMPRESSED <= compressed <= _MAX_COMPRESSED:
            raise FrameError(f"the seek table lists an impossible frame {number}")
        frames.append(compressed, size)
    if struct.unpack("<II", file.read(8)) != (SEAL_SIZE, 0):
        raise FrameError("no seal in the seek table")
    if frames.length + SEAL_SIZE + length != file_size:
        raise FrameError("the seek table does not match the length of the file")
    return frames


def _entries(file: BinaryIO, count: int) -> Iterator[tuple[int, int]]:
    """Entries of a seek table, read in pieces, because their number is the file's own claim."""
    while count > 0:
        some = min(count, _ENTRIES)
        yield from struct.iter_unpack("<II", file.read(8 * some))
        count -= some
