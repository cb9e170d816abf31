"""Reads single records and contents of a bundle, without reading the rest.

Opening reads the seek table and the last frame. The rest is read on demand: index and ledger by bisection, a content
frame by frame, with its sha256 checked at the end. A bundle is untrusted: ``verification`` proves all of it, this
module only what it returns.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import TarError, ledger_line, parse_header, payload_line
from holdall.bundle.frames import FrameFile, SortedLines
from holdall.bundle.layout import HoldallInfo, IndexEntry, LedgerLine, Part
from holdall.bundle.loss_lines import LossLine, loss_line
from holdall.bundle.seekable import (
    FRAME_MAGIC,
    MAX_FRAME,
    FrameError,
    FrameTable,
    read_table,
    require_expansion,
)
from holdall.errors import DamagedBundle, NewerFormat, NotABundle, pasteable
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS
from holdall.model import Kind, Record, SourceId
from holdall.safe_files import Closing, open_regular, reading
from holdall.untrusted import MAX_JSON, most_lines, most_records, most_values, require_plain, require_record

T = TypeVar("T")


class PathHash(msgspec.Struct, frozen=True, kw_only=True):
    """What the manifest says of an entry, out of its line in the index, and what is limited of all entries."""

    path: str
    sha256: str
    size: int
    records: int | None = None


class Formatted(msgspec.Struct, frozen=True, kw_only=True):
    format: str


class _Path(msgspec.Struct, frozen=True, kw_only=True):
    path: str


class _Id(msgspec.Struct, frozen=True, kw_only=True):
    id: str


_path_decoder = msgspec.json.Decoder(_Path)
_path_hash_decoder = msgspec.json.Decoder(PathHash)
_id_decoder = msgspec.json.Decoder(_Id)


def open_bundle(path: str | Path, *, file: BinaryIO | None = None) -> BundleReader:
    """Open the bundle at ``path``, or ``file`` where it is open already, which is then closed with it. Raises
    NotABundle, DamagedBundle, NewerFormat, CannotWrite (can't be read)."""
    return BundleReader(Path(path), file=file)


class BundleReader(Closing):
    """One bundle. A context manager; methods may be called from any thread."""

    def __init__(self, path: Path, *, frames: FrameTable | None = None, file: BinaryIO | None = None) -> None:
        """``frames`` replaces a damaged seek table. ``file`` is the bundle if it is open already; it is closed with
        this reader, and stays open if this raises. ``size`` is its length in bytes."""
        self.path = path
        with reading(path):
            self._file = file or open_regular(path)
        try:
            self.frames = FrameFile(self._file, frames or _frame_table(path, self._file))
            self.size = self._file.seek(0, 2)
            self._most_lines = most_lines(self.size)
            self._most_records, self._most_values = most_records(self.size), most_values(self.size)
            self.bag, self.info, self.raw_info = self._read_info()
        except BaseException:
            if file is None:
                self._file.close()
            raise
        self._index = self._sorted(self.info.index, lambda line: _path_decoder.decode(line).path.encode())
        self._measured: set[int] = set()
        self._members: dict[Kind, dict[str, str]] = {}
        self._uses = self._values = self._record_bytes = 0

    def close(self) -> None:
        self._file.close()

    # -- entries -------------------------------------------------------------------------------------

    def entries(self, folder: str = "data/") -> Iterator[IndexEntry]:
        """The payload's entries below ``folder``, by ascending path."""
        room = _Room(self.frames.frames.size, self._most_lines)
        with self.guarding(layout.INDEX):
            for line in self._index.starting_at(folder.encode()):
                entry = payload_line(line)
                if not entry.path.startswith(folder):
                    return
                room.take(entry)
                yield entry

    def find(self, path: str) -> IndexEntry | None:
        """The entry of that path (``data/…``)."""
        with self.guarding(layout.INDEX):
            line = self._index.find(path.encode(errors="replace"))
            return payload_line(line) if line is not None else None

    def content(self, file_id: str) -> IndexEntry | None:
        """The content stored for a file, of whatever fidelity; None where the bundle has none."""
        line = self.ledger_line(file_id)
        return self.find(line.path) if line and line.path else None

    def open(self, entry: IndexEntry) -> BinaryIO:
        """The bytes of an entry as a seekable binary stream, one frame in memory.

        Read from start to end, it raises DamagedBundle in place of the last piece if the sha256 differs from the index;
        of a bundle that was verified, in place of the first frame that has changed since.
        """
        return cast(BinaryIO, io.BufferedReader(_EntryStream(self, entry), buffer_size=128 << 10))

    def read(self, entry: IndexEntry, limit: int = MAX_FRAME) -> bytes:
        """All bytes of an entry, proved; DamagedBundle where it declares more than ``limit``."""
        if entry.size > limit:
            raise DamagedBundle(
                f"can't read {entry.path}: it declares {entry.size} bytes, which is too large", entry=entry.path
            )
        with self.guarding(entry.path):
            data = self.frames.read(entry.offset, entry.size)
        # Frames that were proved are hashed as they are read.
        if not self.frames.is_held and hashlib.sha256(data).hexdigest() != entry.sha256:
            raise wrong_hash(self.path, entry.path)
        return data

    # -- records -------------------------------------------------------------------------------------

    def definitions(self, kind: Kind) -> Iterator[Record]:
        """The records of a kind that has a file for each."""
        for entry in self.entries(KINDS[kind].folder):
            if entry.path.endswith(layout.RECORD):
                yield self.record(kind, entry)

    def whole(self) -> Iterator[Record]:
        """The records of all kinds that one request copies."""
        return (record for kind in ASSISTANT_KINDS for record in self.definitions(kind))

    def assistants(self) -> Iterator[Record]:
        return self.definitions(Kind.ASSISTANT)

    def agents(self) -> Iterator[Record]:
        """Reusable agents; a bundle of format 1.0 has none."""
        return self.definitions(Kind.AGENT)

    def stores(self) -> Iterator[Record]:
        return self.definitions(Kind.STORE)

    def files(self) -> Iterator[Record]:
        """The file objects, including files whose content is missing."""
        entry = self.find(layout.FILES)
        return self.records(Kind.FILE, entry) if entry else iter(())

    def memberships(self, store_id: str) -> Iterator[Record]:
        """The memberships of one store; none if the bundle has none."""
        return self.members(Kind.STORE, store_id)

    def versions(self, kind: Kind, id: str) -> Iterator[Record]:
        """The versions of a skill or a Foundry agent, in the order in which the bundle has them; none if it has none:
        of an agent that was exported with its latest version only."""
        return self.members(kind, id)

    def members(self, kind: Kind, id: str) -> Iterator[Record]:
        """The records of the lines beside a definition, of ``Row.member``."""
        member, entry = KINDS[kind].member, self.members_entry(kind, id)
        return self.records(member, entry) if member and entry else iter(())

    def members_entry(self, kind: Kind, id: str) -> IndexEntry | None:
        """The entry with these lines; ``records`` is their number."""
        path = self._member_paths(kind).get(id)
        return self.find(path) if path else None

    def _member_paths(self, kind: Kind) -> dict[str, str]:
        """The path of the lines beside each definition, read once: an import asks for store after store."""
        if kind not in self._members:
            self._members[kind] = {
                entry.id: entry.path
                for entry in self.entries(KINDS[kind].folder)
                if entry.id is not None and layout.has_lines(entry.path)
            }
        return self._members[kind]

    def ledger(self) -> Iterator[LedgerLine]:
        """What became of each file, by ascending id."""
        return (line for _, line in self.lines(layout.LEDGER, ledger_line))

    def ledger_line(self, file_id: str) -> LedgerLine | None:
        """What became of one file."""
        with self.guarding(layout.LEDGER):
            line = self._ledger.find(file_id.encode(errors="replace")) if self._ledger else None
            return ledger_line(line) if line is not None else None

    @cached_property
    def _ledger(self) -> SortedLines | None:
        entry = self.find(layout.LEDGER)
        return self._sorted(entry, lambda line: _id_decoder.decode(line).id.encode()) if entry else None

    def losses(self) -> Iterator[LossLine]:
        """The recorded losses, besides the ledger's."""
        return (line for _, line in self.lines(layout.LOSSES, loss_line))

    def lines(self, path: str, decode: Callable[[bytes], T]) -> Iterator[tuple[bytes, T]]:
        """Each line at ``path``, raw and decoded. The sha256 is checked at the end."""
        if entry := self.find(path):
            guard = self.guarding(path)
            for raw in self._raw_lines(entry):
                with guard:
                    line = decode(raw)
                yield raw, line

    # -- inside --------------------------------------------------------------------------------------

    def path_hashes(self) -> Iterator[PathHash]:
        """Path and sha256 of each line of the index; the other fields are looked at by ``entries``."""
        room = _Room(self.frames.frames.size, self._most_lines)
        with self.guarding(layout.INDEX):
            for line in self._index:
                require_plain(line)
                found = _path_hash_decoder.decode(line)
                room.take(found)
                yield found

    def part_lines(self, part: Part) -> Iterator[bytes]:
        """The raw lines of index or manifest, without newlines; FrameError if unreadable."""
        return iter(self._sorted(part, bytes))

    def _sorted(self, part: Part | IndexEntry, key: Callable[[bytes], bytes]) -> SortedLines:
        return SortedLines(self.frames, part.offset, part.size, key, most=self._most_lines)

    def record(self, kind: Kind, entry: IndexEntry) -> Record:
        """The record that is the whole of an entry."""
        measuring = self._is_new(entry)
        raw = self.read(entry, limit=MAX_JSON)
        return self._record(kind, raw, self.guarding(entry.path), measuring=measuring)

    def records(self, kind: Kind, entry: IndexEntry) -> Iterator[Record]:
        """The records of a ``.jsonl`` entry. The sha256 is checked at the end."""
        measuring, guard = self._is_new(entry), self.guarding(entry.path)
        for raw in self._raw_lines(entry):
            yield self._record(kind, raw, guard, measuring=measuring)

    def _raw_lines(self, entry: IndexEntry) -> Iterator[bytes]:
        """The lines of a ``.jsonl`` entry, without their newlines."""
        most, count = entry.records or 0, 0
        with self.open(entry) as stream, self.guarding(entry.path):
            while line := stream.readline(MAX_JSON + 1):
                count += 1
                if not line.endswith(b"\n"):
                    raise ValueError("unterminated line")
                if count > most:
                    raise ValueError(f"more lines than in the index ({most})")
                yield line[:-1]

    def _record(self, kind: Kind, raw: bytes, guard: _Guarding, *, measuring: bool) -> Record:
        """A record that anybody may decode."""
        with guard:
            found = require_record(raw)
            if measuring:
                self._values += found.values
                self._record_bytes += len(raw)
                if self._record_bytes > self._most_records:
                    raise ValueError("records too long for a bundle of this size")
                if found.uses and kind in DEFINITIONS:
                    self._uses += found.uses
                if self._values > self._most_values:
                    raise ValueError("too many values for a bundle of this size")
                if self._uses > self._most_lines:
                    raise ValueError(
                        f"more than {self._most_lines} tools and references, the limit for a bundle of this size"
                    )
            return Record(kind=kind, id=SourceId(found.id), raw=raw)

    def _is_new(self, entry: IndexEntry) -> bool:
        """Whether this entry's records are read for the first time; from here on they aren't."""
        new = entry.offset not in self._measured
        self._measured.add(entry.offset)
        return new

    def guarding(self, path: str) -> _Guarding:
        """Name the entry where reading it fails."""
        return _Guarding(self.path, path)

    def _read_info(self) -> tuple[str, HoldallInfo, bytes]:
        """The bag's name and ``holdall.json``, both from the last frame."""
        frames = self.frames.frames
        with self.guarding(layout.INFO):
            if not len(frames):
                raise FrameError("no intact frame")
            # Before the first frame is decoded.
            require_expansion(frames, self.size)
            data = self.frames.frame(len(frames) - 1)
            found = parse_header(data)
            bag, _, path = found.path.partition("/") if found else ("", "", "")
            if not found or path != layout.INFO or found.length + found.size > len(data):
                raise FrameError("not at the start of the last frame")
            raw = data[found.length : found.length + found.size]
            require_plain(raw)
            require_format(self.path, msgspec.json.decode(raw, type=Formatted).format)
            self.info_offset = frames[len(frames) - 1][2] + found.length
            info = msgspec.json.decode(raw, type=HoldallInfo)
            lines = 2 * info.counts.get("entries", 0)
            lines += sum(info.counts.get(row.count, 0) for row in KINDS.values() if not row.folder)
            lines += sum(fidelity.files for fidelity in info.fidelities.values())
            if lines > self._most_lines:
                raise ValueError(
                    f"it declares {lines} lines, more than {self._most_lines}, the limit for a bundle of this size"
                )
            return bag, info, raw


class _EntryStream(io.RawIOBase):
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


def require_format(path: Path, found: str) -> None:
    """Raises NewerFormat for another major version than this reads, FrameError for what is none."""
    match = re.fullmatch(r"(0|[1-9][0-9]{0,5})\.[0-9]{1,6}", found)
    if not match:
        raise FrameError(f"unknown format {found[:20]!r}")
    if int(match[1]) != layout.MAJOR:
        raise NewerFormat(
            f"can't read {path}: its format is {found}, and this version of holdall reads {layout.MAJOR}.x",
            hint="install a newer version of holdall",
        )


def _frame_table(path: Path, file: BinaryIO) -> FrameTable:
    try:
        with reading(path):
            return read_table(file)
    except FrameError as error:
        file.seek(0)
        if file.read(4) != FRAME_MAGIC:
            raise NotABundle(
                f"can't read {path}: not a holdall bundle", hint="name a file that `holdall export` wrote"
            ) from None
        raise DamagedBundle(
            f"can't read {path}: {error}",
            hint="it may be truncated: compare its size with the original; holdall extract --salvage recovers "
            "what is intact",
        ) from None


class _Room:
    """What all entries of a bundle may have together: bytes and lines."""

    def __init__(self, size: int, most_lines: int) -> None:
        self._size, self._lines, self._most_lines = size, most_lines, most_lines

    def take(self, entry: IndexEntry | PathHash) -> None:
        """Raises ValueError where there is no room for it."""
        # Entries may lie over each other: a small file could promise more of them than any disk holds.
        self._size -= entry.size
        self._lines -= 2 + (entry.records or 0)
        if self._size < 0:
            raise ValueError("its entries are larger than the bundle")
        if self._lines < 0:
            raise ValueError(f"more than {self._most_lines} lines, the limit for a bundle of this size")


class _Guarding:
    """A context manager: what ``BundleReader.guarding`` gives."""

    # A class, because a generator costs as much as the record that is read in it.
    __slots__ = ("_bundle", "_path")

    def __init__(self, bundle: Path, path: str) -> None:
        self._bundle, self._path = bundle, path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, FrameError | TarError | ValueError | RecursionError):
            raise DamagedBundle(
                f"can't read {self._path} in {self._bundle}: {error}",
                hint=f"holdall verify {pasteable(self._bundle)} lists the damage; holdall extract --salvage recovers "
                f"the rest",
                entry=self._path,
            ) from None
