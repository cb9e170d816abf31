"""One entry of a bundle as a stream, proved by its sha256 once it was read from start to end."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from holdall.bundle.layout import IndexEntry
from holdall.errors import DamagedBundle, pasteable

if TYPE_CHECKING:
    from holdall.bundle.reader import BundleReader


class EntryStream(io.RawIOBase):
    """The raw half of ``BundleReader.open``."""

    def __init__(self, reader: BundleReader, entry: IndexEntry) -> None:
        self._reader, self._entry = reader, entry
        self._position = 0
        self._hash = hashlib.sha256()
        self._hashed = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        base = (0, self._position, self._entry.size)[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        entry = self._entry
        size = min(len(view), entry.size - self._position)
        if size <= 0:
            return 0
        with self._reader.guarding(entry.path):
            frames = self._reader.frames
            piece = next(frames.chunks(entry.offset + self._position, size))
        view[: len(piece)] = piece
        # An upload that is repeated reads it again from the start.
        if self._position == 0:
            self._hash, self._hashed = hashlib.sha256(), 0
        # Frames that were proved are hashed as they are read.
        if self._position == self._hashed and not self._reader.frames.is_held:
            self._hash.update(piece)
            self._hashed += len(piece)
            if self._hashed == entry.size and self._hash.hexdigest() != entry.sha256:
                raise wrong_hash(self._reader.path, entry.path)
        self._position += len(piece)
        return len(piece)


def wrong_hash(bundle: Path, entry: str) -> DamagedBundle:
    """The error for an entry whose bytes have another sha256 than the index says."""
    return DamagedBundle(
        f"can't read {entry} in {bundle}: sha256 mismatch",
        hint=f"holdall verify {pasteable(bundle)} lists the damage",
        entry=entry,
    )
