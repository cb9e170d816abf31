"""Recovers the whole entries of a damaged or truncated bundle.

Each readable line of the index proves its entry by a sha256, even if other lines are lost and the entry's frames are
damaged. Entries without a line are taken from the tar, as far as it can be followed, if all their frames decode with
the right checksum.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import salvaged_line
from holdall.bundle.frames import BrokenTar, FrameFile, Member, choose_frames, members, pieces, split_lines
from holdall.bundle.layout import IndexEntry
from holdall.bundle.reader import BundleReader
from holdall.bundle.seekable import FrameError, decompress, decompress_damaged, require_expansion
from holdall.errors import BundleError, DamagedBundle, NewerFormat, NotABundle
from holdall.safe_files import Closing, open_regular, reading
from holdall.spilling import Taken, ValueSorter
from holdall.untrusted import most_lines

_PIECE = 256 << 10


class Find(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that may be whole. Reading ``pieces`` to the end proves it, with ``sha256`` if known; else they raise
    DamagedBundle. Read them before the next find.
    """

    entry: IndexEntry
    sha256: str | None
    pieces: Iterator[memoryview]


class Salvage(Closing):
    """A possibly damaged bundle. A context manager; ``finds`` may be run once.

    ``notes`` says afterwards what could not be named: a broken tar, an incomplete index.
    """

    def __init__(self, path: Path) -> None:
        """Raises NotABundle if there is no frame, CannotWrite if the file can't be read. ``finds`` raises NewerFormat
        for another major version."""
        self.path = path
        self.notes: list[str] = []
        with reading(path):
            self._file = open_regular(path)
        frames = choose_frames(self._file)
        if not len(frames):
            self._file.close()
            raise NotABundle(f"can't salvage {path}: it contains no frame of a bundle")
        self._size = self._file.seek(0, 2)
        try:
            require_expansion(frames, self._size)
        except FrameError as error:
            self._file.close()
            raise DamagedBundle(f"can't salvage {path}: {error}") from None
        self._frames = FrameFile(self._file, frames)
        # For entries, which their sha256 proves; the index has nothing but its frames' checksums.
        self._remains = FrameFile(self._file, frames, decode=_whole_or_remains)
        self._listed = Taken()

    def close(self) -> None:
        self._file.close()

    def finds(self) -> Iterator[Find]:
        """All recoverable payload entries, those in the index first."""
        place = self._index_place()
        listed = ValueSorter(IndexEntry)
        complete = place is not None
        for number, line in enumerate(split_lines(self._index_pieces(*place)) if place else ()):
            if number == most_lines(self._size):  # no honest index has so many
                complete = False
                break
            try:
                entry = salvaged_line(line or b"")  # where one is lost, nothing, which is no line either
            except (ValueError, RecursionError):
                complete = False
            else:
                if self._listed.add(entry.path):
                    listed.add(entry.offset, entry)
        end = 0
        for entry in listed:
            if entry.offset < end:
                # No accident does that, and a few kilobytes could be saved as anything.
                self.notes.append(f"{entry.path}: overlaps another entry")
                continue
            end = entry.offset + entry.size
            yield Find(entry=entry, sha256=entry.sha256, pieces=self._pieces(entry))
        listed.close()
        if not complete:
            self.notes.append("the index is damaged: some entries may be missing from this list")
            yield from self._follow()

    def _index_place(self) -> tuple[int, int] | None:
        """Offset and size of the index: as holdall.json says, else as the tar shows."""
        try:
            with BundleReader(self.path, frames=self._frames.frames) as bundle:
                return bundle.info.index.offset, bundle.info.index.size
        except NewerFormat:
            raise  # what it would say with these bytes nobody here knows
        except BundleError:
            pass
        with suppress(BrokenTar):
            for member in self._members():
                if _inside(member) == layout.INDEX:
                    return member.offset, member.size
        return None

    def _index_pieces(self, position: int, size: int) -> Iterator[bytes | None]:
        """The bytes of the index; None for each hole."""
        end = position + size
        while position < min(end, self._frames.frames.size):
            number = self._frames.frames.find(position)
            _, _, start, length = self._frames.frames[number]
            try:
                piece = self._frames.frame(number)[position - start : min(end, position + _PIECE) - start]
            except FrameError:
                yield None
                position = start + length
            else:
                yield piece
                position += len(piece)
        if position < end:
            yield None

    def _pieces(self, entry: IndexEntry) -> Iterator[memoryview]:
        try:
            yield from self._remains.chunks(entry.offset, entry.size)
        except FrameError as error:
            raise _lost(entry.path, str(error)) from None

    def _members(self) -> Iterator[Member]:
        return members(pieces(self._file, self._frames.frames, threads=os.cpu_count() or 1), self._size)

    def _follow(self) -> Iterator[Find]:
        """The tar's members without a line in the index."""
        try:
            for member in self._members():
                path = _inside(member)
                if path.startswith("data/") and self._listed.add(path):
                    entry = IndexEntry(path=path, offset=member.offset, size=member.size, sha256="")
                    yield Find(entry=entry, sha256=None, pieces=_whole(member, path))
        except BrokenTar as error:
            self.notes.append(f"can't read the tar beyond byte {error.position}: {error.why}")


def _inside(member: Member) -> str:
    """Its path in the bag."""
    return member.path.partition("/")[2]


def _whole(member: Member, path: str) -> Iterator[memoryview]:
    yield from member
    if not member.whole:
        raise _lost(path, "parts of it are unreadable")


def _whole_or_remains(frame: bytes, size: int) -> bytes:
    try:
        return decompress(frame, size)
    except FrameError:
        return decompress_damaged(frame, size)


def _lost(path: str, why: str) -> DamagedBundle:
    return DamagedBundle(f"can't save {path}: {why}", entry=path)
