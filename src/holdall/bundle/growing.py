"""The file in which a stream grows: its frames, and the hash of all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BufferedRandom
from typing import Any

import msgspec

from holdall.bundle.seekable import encode_seal, encode_table, walk


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """An end that a file had, to which it can be cut back."""

    count: int
    length: int
    hash: Any


class GrowingFile:
    """Frames, one behind another. One thread at a time may write; another may sync ``file``."""

    def __init__(self, file: BufferedRandom, end: int) -> None:
        """Go on behind the first ``end`` bytes of ``file``, which has no more."""
        self.file = file
        self.frames = walk(file, end)
        file.seek(0)
        self._hash = hashlib.file_digest(file, "sha256")

    def append(self, frame: bytes | memoryview, size: int) -> None:
        """Write one frame, in which ``size`` bytes are. Raises OSError."""
        self._hash.update(frame)
        self.file.write(frame)
        self.frames.append(len(frame), size)

    def mark(self) -> Mark:
        """The end as it is."""
        return Mark(count=len(self.frames), length=self.frames.length, hash=self._hash.copy())

    def cut_back(self, mark: Mark) -> None:
        """Take away what came after ``mark``. Raises OSError."""
        self.frames.cut(mark.count)
        self._hash = mark.hash
        self.file.truncate(mark.length)
        self.file.seek(mark.length)

    def since(self, count: int) -> Iterator[tuple[bytes, int]]:
        """The frames but for the first ``count``, read back: (compressed, decompressed size)."""
        try:
            for number in range(count, len(self.frames)):
                offset, length, _, size = self.frames[number]
                self.file.seek(offset)
                yield self.file.read(length), size
        finally:
            self.file.seek(self.frames.length)

    def seal(self) -> tuple[int, str]:
        """Write seal and seek table: (bytes, sha256) of the whole file. Raises OSError."""
        ending = encode_seal(self._hash.digest()) + encode_table(self.frames)
        self._hash.update(ending)
        self.file.write(ending)
        return self.file.tell(), self._hash.hexdigest()


class DirectEntry:
    """An entry whose frames are written to the bundle as they come. Its header already says its ``size``, which may
    prove wrong: then the stream is cut back."""

    def __init__(self, out: GrowingFile, path: str, offset: int, size: int) -> None:
        self.path, self.offset, self.size = path, offset, size
        self._out, self._start = out, len(out.frames)

    def append(self, frame: bytes | memoryview, size: int) -> None:
        """Write one frame, in which ``size`` bytes are. Raises OSError."""
        self._out.append(frame, size)

    def frames(self) -> Iterator[tuple[bytes, int]]:
        """What was written, read back: (compressed, decompressed size)."""
        return self._out.since(self._start)
