"""The whole of a bundle's bytes, read once: frames, seal, seek table, and every member of the tar with its sha256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import msgspec

from holdall.bundle import layout
from holdall.bundle.lookup import frame_digest
from holdall.bundle.names import fold
from holdall.bundle.references import Report
from holdall.bundle.scan import CantFollow, Member, Piece, members, pieces
from holdall.bundle.seekable import SEAL_SIZE, FrameTable, encode_seal, encode_table
from holdall.bundle.sorting import Sorter, ValueSorter
from holdall.parsedtext import StoredText
from holdall.progress import Progress
from holdall.untrusted import MAX_JSON, most_text

__all__ = ["TO_THE_END", "FullScan", "Scanned", "check_tail", "line_ends"]

TO_THE_END = 1 << 63
_LOOKED_INTO = frozenset({layout.BAGIT, layout.BAG_INFO, layout.INFO, layout.TAG_MANIFEST})
_PAYLOAD = len(layout.OPENING)
_PIECE = 256 << 10
_SEAL_HEAD = 8  # magic and length, before the digest
_STAGES = {path: number + (number >= _PAYLOAD) for number, path in enumerate((*layout.OPENING, *layout.CLOSING))}


def line_ends(data: memoryview) -> int:
    """The newlines in ``data``, of which no whole copy is made."""
    return sum(data[at : at + _PIECE].tobytes().count(b"\n") for at in range(0, len(data), _PIECE))


class Scanned(NamedTuple):
    """Where a member lies; its sha256, None where it can't be read whole; of a ``.jsonl`` how many lines it has."""

    offset: int
    size: int
    sha256: str | None
    lines: int


class FullScan:
    """What one pass found. Everything that isn't as it must be is reported on the way.

    ``members`` are those of the payload by their paths, ``tags`` the tag files, ``kept`` has the bytes of some of them,
    where they came whole; ``cut`` the paths of parsed texts that say of themselves that they stop short; ``followed``
    is how far the tar could be followed; ``digests`` has those of the frames, where they were asked for.
    """

    def __init__(self, file: BinaryIO, frames: FrameTable, report: Report, progress: Progress) -> None:
        self._file, self._frames, self._find, self._progress = file, frames, report, progress
        self._file_size = file.seek(0, 2)
        self._room = most_text(self._file_size)
        self.members = ValueSorter(Scanned)
        self.cut, self._folded = Sorter(), Sorter()
        self.tags: dict[str, Scanned] = {}
        self.kept: dict[str, bytes] = {}
        self.followed = 0
        self.digests = bytearray()
        self._bag: str | None = None
        self._stage = -1

    def run(self, *, keep: bool = False) -> str:
        """Read everything; returns the sha256 of the whole file. ``keep``: the digests of the frames, too."""
        total = hashlib.sha256()

        def see(frame: bytes) -> None:
            total.update(frame)
            if keep:
                self.digests += frame_digest(frame)

        scanned = self._watched(pieces(self._file, self._frames, threads=os.cpu_count() or 1, see=see))
        self._follow(scanned)
        for _ in scanned:
            pass  # the tar could not be followed to its end, yet every frame counts
        self._check_folded()
        check_tail(self._file, self._frames, total.copy().digest(), self._find)
        self._file.seek(self._frames.length)
        while data := self._file.read(1 << 20):
            total.update(data)
        return total.hexdigest()

    def _watched(self, source: Iterator[Piece]) -> Iterator[Piece]:
        for piece in source:
            if piece.data is None:
                self._find("frame", None, f"frame {piece.number} can't be decoded: {piece.error}")
            self._progress.advance(bytes=piece.size)
            yield piece

    def _follow(self, source: Iterator[Piece]) -> None:
        try:
            for member in members(source, self._file_size):
                self._read(member)
                self.followed = member.offset + member.size
        except CantFollow as error:
            self.followed = error.position
            self._find("tar", None, f"the tar can't be followed from byte {error.position} on: {error.why}")
        else:
            self.followed = TO_THE_END

    def _read(self, member: Member) -> None:
        path = self._in_bag(member.path)
        self._progress.advance(files=1)
        keeping = path in _LOOKED_INTO and member.size <= MAX_JSON
        text = StoredText(self._room) if path.startswith(layout.TEXTS) and self._room >= 0 else None
        digest, lines, kept = hashlib.sha256(), 0, bytearray()
        for data in member:
            digest.update(data)
            if path.endswith(layout.LINES):
                lines += line_ends(data)
            if text:
                text = self._read_text(path, text, data)
            if keeping:
                kept += data
        if not member.whole:
            self._find("damaged", path, f"{path}: its bytes are lost")
        elif text:
            self._read_text(path, text, None)
        sha256 = digest.hexdigest() if member.whole else None
        self._take(path, Scanned(member.offset, member.size, sha256, lines))
        if keeping and member.whole:
            self.kept[path] = bytes(kept)

    def _take(self, path: str, found: Scanned) -> None:
        # With the lowest of all characters between them a folder's files come right behind a file of its name.
        self._folded.add(fold(path).replace("/", "\0").encode())
        self._check_order(path)
        if path.startswith("data/"):
            self.members.add(path, found)
        elif path in layout.TAG_FILES:
            self.tags[path] = found
            if path in _LOOKED_INTO and found.size > MAX_JSON:
                self._find("tar", path, f"{path}: {found.size} bytes, more than it may have")
        else:
            self._find("unlisted", path, f"{path}: no such tag file belongs to a bundle")

    def _read_text(self, path: str, text: StoredText, data: memoryview | None) -> StoredText | None:
        """``text`` with ``data`` fed to it, None for its end; None where it is no parsed text."""
        try:
            if data is not None:
                text.feed(data)
            elif text.end():
                self.cut.add(path.encode())
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            self._find("record", path, f"{path}: not a parsed text: {error}")
            return None
        finally:
            self._room = text.room
        return text

    def _in_bag(self, path: str) -> str:
        """The path inside the bag; the first member says what the bag is called."""
        bag, _, inside = path.partition("/")
        if self._bag is None:
            self._bag = bag
        if bag != self._bag or not inside:
            self._find("name", path, f"{path}: not in the bag's folder")
        return inside or path

    def _check_folded(self) -> None:
        previous = b"\0"
        for name, _ in self._folded:
            path = name.decode().replace("\0", "/")
            if name == previous:
                self._find("name", path, f"{path}: twice in the tar, as some systems compare names")
            elif name.startswith(previous + b"\0"):
                self._find("name", path, f"{path}: in a folder that is a file, as some systems compare names")
            previous = name

    def _check_order(self, path: str) -> None:
        """The opening tag files come first, the closing ones last, each in their order."""
        stage = _STAGES.get(path, _PAYLOAD)
        if stage < self._stage:
            self._find("tar", path, f"{path}: not in its place among the tag files")
        self._stage = max(stage, self._stage)


def check_tail(file: BinaryIO, frames: FrameTable, digest: bytes | None, report: Report) -> None:
    """What follows the frames must be, bit for bit, the seal with their ``digest``, None where nobody read them, and
    the seek table that belongs to them."""
    table, end = encode_table(frames), frames.length
    file.seek(end)
    rest = file.read(SEAL_SIZE + len(table) + 1)
    found, after = rest[:SEAL_SIZE], rest[SEAL_SIZE:]
    seal = encode_seal(found[_SEAL_HEAD:] if digest is None else digest)
    listed = after[: len(table)] == table
    if not listed and (found[:_SEAL_HEAD] != seal[:_SEAL_HEAD] or len(after) < len(table)):
        report("cut-short", None, f"the frames end at byte {end}, and not in seal and seek table")
        return
    if found != seal:
        report("seal", None, "the seal is not the sha256 of what stands before it")
    if not listed:
        report("seek-table", None, "the seek table is not the one that belongs to the frames")
    elif len(after) > len(table):
        report("trailing", None, "bytes follow the end of the bundle")
