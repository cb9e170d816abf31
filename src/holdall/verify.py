"""Prove a bundle whole: every byte against the seal, every entry against index and manifest, every reference.

All findings at once, each with a stable code, the entry it is about where that is known, and a sentence. What the
bundle itself declares as lost is not damage; it is listed beside the findings.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import BAGIT_TXT, manifest_line, parse_bag_info, parse_manifest_line
from holdall.bundle.layout import HoldallInfo, IndexEntry
from holdall.bundle.names import fold, is_safe
from holdall.bundle.reader import BundleReader
from holdall.bundle.references import Loss, References
from holdall.bundle.scan import Broken, Data, End, Piece, Start, choose_frames, members, pieces
from holdall.bundle.seekable import FrameError, FrameTable, encode_seal, encode_table
from holdall.bundle.sorting import Sorter
from holdall.errors import CannotWrite, DamagedBundle, NewerFormat, NotABundle
from holdall.progress import Progress, Silent

__all__ = ["Finding", "Verdict", "verify"]

CODES = {
    "sha256": "the file isn't the one whose sha256 was given",
    "frame": "a frame can't be decoded, or isn't what it must be",
    "seal": "the seal doesn't match what stands before it",
    "seek-table": "the seek table doesn't match the frames",
    "cut-short": "the file ends too early",
    "trailing": "something follows the end of the bundle",
    "tar": "the tar isn't as the format says",
    "damaged": "an entry's bytes are lost or changed",
    "missing": "an entry is in the index but not in the tar",
    "unlisted": "an entry is in the tar but not in the index",
    "name": "a name breaks the rules, or is there twice",
    "index": "index, manifest or holdall.json contradict each other or the tar",
    "count": "a count isn't the one declared",
    "digest": "a digest isn't the one declared",
    "reference": "a record refers to what isn't there, undeclared",
}
"""Every code a finding may have."""

_PLACE = struct.Struct(">QQ32s")
_TAG_FILES = frozenset(
    {
        layout.BAGIT,
        layout.README,
        layout.SPECIFICATION,
        layout.BAG_INFO,
        layout.MANIFEST,
        layout.INDEX,
        layout.INFO,
        layout.TAG_MANIFEST,
    }
)
_LOOKED_INTO = _TAG_FILES - {layout.MANIFEST, layout.INDEX}
_KEPT = 64 << 20
_TO_THE_END = 1 << 63
_LOST = bytes(32)  # stands for the sha256 of a member that could not be read whole


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong. ``code`` is a key of ``CODES``, ``entry`` a path in the bundle."""

    code: str
    entry: str | None
    message: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. ``sha256`` is over the whole file, None where not all of it was read."""

    path: Path
    findings: list[Finding]
    losses: list[Loss]
    info: HoldallInfo | None
    size: int
    sha256: str | None
    quick: bool

    @property
    def whole(self) -> bool:
        return not self.findings

    @property
    def exit_code(self) -> int:
        """0 for a whole bundle, also one with declared losses."""
        return DamagedBundle.exit_code if self.findings else 0


def verify(
    path: str | Path, *, quick: bool = False, sha256: str | None = None, progress: Progress | None = None
) -> Verdict:
    """Prove the bundle at ``path``.

    ``quick`` looks at structure and completeness only: seek table, index, manifest, counts; it reads no content.
    ``sha256`` is compared with that of the whole file. Raises NotABundle, NewerFormat and CannotWrite (can't be
    read); everything else is a finding.
    """
    return _Verification(Path(path), quick=quick, sha256=sha256, progress=progress or Silent()).run()


class _Verification:
    def __init__(self, path: Path, *, quick: bool, sha256: str | None, progress: Progress) -> None:
        self._path, self._quick, self._expected, self._progress = path, quick, sha256, progress
        self._findings: dict[tuple[str, str | None, str], Finding] = {}
        self._members, self._folded = Sorter(), Sorter()
        self._tags: dict[str, tuple[int, int, str]] = {}
        self._kept: dict[str, bytes] = {}
        self._bag: str | None = None
        self._followed = 0  # up to here the tar could be followed
        self._sha256: str | None = None

    def run(self) -> Verdict:
        try:
            with self._path.open("rb") as file:
                return self._run(file)
        except OSError as error:
            raise CannotWrite(f"can't read {self._path}: {error.strerror or error}") from None

    def _run(self, file: BinaryIO) -> Verdict:
        frames = choose_frames(file)
        size = file.seek(0, 2)
        if not len(frames):
            file.seek(0)
            if file.read(4) != b"\x28\xb5\x2f\xfd":
                raise NotABundle(
                    f"can't verify {self._path}: it is not a holdall bundle", hint="give the file that export wrote"
                )
        self._progress.stage("verifying")
        self._progress.expect(bytes=frames.size)
        if self._quick:
            self._check_tail(file, frames, None)
            self._hash_whole(file)
        else:
            self._scan(file, frames)
        losses, info = self._check_records(frames)
        if self._expected is not None and self._sha256 != self._expected.lower():
            self._find("sha256", None, f"the file's sha256 is {self._sha256}")
        return Verdict(
            path=self._path,
            findings=list(self._findings.values()),
            losses=losses,
            info=info,
            size=size,
            sha256=self._sha256,
            quick=self._quick,
        )

    def _find(self, code: str, entry: str | None, message: str) -> None:
        """Take a finding; the same thing found twice is one finding, and one entry is damaged once."""
        key = (code, entry, "" if code == "damaged" else message)
        self._findings.setdefault(key, Finding(code=code, entry=entry, message=message))

    # -- bytes and members ---------------------------------------------------------------------------

    def _scan(self, file: BinaryIO, frames: FrameTable) -> None:
        """One pass over the whole file: seal, frames, every member's sha256."""
        threads = os.cpu_count() or 1
        total = hashlib.sha256()
        with ThreadPoolExecutor(threads, thread_name_prefix="holdall-decode") as pool:
            scanned = self._watched(pieces(file, frames, pool, depth=threads + 2, see=total.update))
            self._follow(scanned)
            for _ in scanned:
                pass  # the tar could not be followed to its end, yet every frame counts
        self._check_tail(file, frames, total.copy().digest())
        file.seek(frames.length)
        while data := file.read(1 << 20):
            total.update(data)
        self._sha256 = total.hexdigest()

    def _watched(self, source: Iterator[Piece]) -> Iterator[Piece]:
        for piece in source:
            if piece.data is None:
                self._find("frame", None, f"frame {piece.number} can't be decoded: {piece.error}")
            self._progress.advance(bytes=piece.size)
            yield piece

    def _follow(self, source: Iterator[Piece]) -> None:
        path, offset, size, kept = "", 0, 0, bytearray()
        digest = hashlib.sha256()
        for event in members(source):
            match event:
                case Start(header=header, offset=offset):
                    path, size, kept = self._in_bag(header.path), header.size, bytearray()
                    digest = hashlib.sha256()
                    self._progress.advance(files=1)
                case Data(data=data) if data is not None:
                    digest.update(data)
                    if path in _LOOKED_INTO and len(kept) + len(data) <= _KEPT:
                        kept += data
                case End(whole=whole):
                    self._followed = offset + size
                    if not whole:
                        self._find("damaged", path, f"{path}: its bytes are lost")
                    self._take(path, offset, size, digest, bytes(kept) if whole else None)
                case Broken(position=position, message=message):
                    self._followed = position
                    self._find("tar", None, f"the tar can't be followed from byte {position} on: {message}")
                    return
        self._followed = _TO_THE_END

    def _in_bag(self, path: str) -> str:
        """The path inside the bag; the first member says what the bag is called."""
        bag, _, inside = path.partition("/")
        if self._bag is None:
            self._bag = bag
        if bag != self._bag or not inside:
            self._find("name", path, f"{path}: not in the bag's folder")
        return inside or path

    def _take(self, path: str, offset: int, size: int, digest: hashlib._Hash, kept: bytes | None) -> None:
        self._folded.add(fold(path).encode())
        if path.startswith("data/"):
            sha256 = digest.digest() if kept is not None else _LOST
            self._members.add(path.encode(), _PLACE.pack(offset, size, sha256))
        elif path not in _TAG_FILES:
            self._find("unlisted", path, f"{path}: no such tag file belongs to a bundle")
        elif kept is not None:
            self._tags[path] = offset, size, digest.hexdigest()
            self._kept[path] = kept

    def _check_tail(self, file: BinaryIO, frames: FrameTable, digest: bytes | None) -> None:
        """What follows the frames must be, bit for bit, the seal and the seek table that belong to them."""
        table = encode_table(frames)
        file.seek(frames.length)
        rest = file.read(len(encode_seal(bytes(32))) + len(table) + 1)
        seal = encode_seal(digest or bytes(32))
        found, after = rest[: len(seal)], rest[len(seal) :]
        if digest is None:
            found = found[:8] + seal[8:] if len(found) == len(seal) else found
        if len(rest) < len(seal) + len(table):
            where = frames.length + len(rest)
            self._find("cut-short", None, f"the file ends after {where} bytes, before the end of seal and seek table")
        elif found != seal:
            self._find("seal", None, "the seal is not the sha256 of what stands before it")
        if len(after) > len(table) and after[: len(table)] == table:
            self._find("trailing", None, "bytes follow the end of the bundle")
        elif len(after) >= len(table) and after != table:
            self._find("seek-table", None, "the seek table is not the one that belongs to the frames")

    def _hash_whole(self, file: BinaryIO) -> None:
        if self._expected is not None:
            file.seek(0)
            total = hashlib.sha256()
            while data := file.read(1 << 20):
                total.update(data)
            self._sha256 = total.hexdigest()

    # -- index, manifest, records --------------------------------------------------------------------

    def _check_records(self, frames: FrameTable) -> tuple[list[Loss], HoldallInfo | None]:
        try:
            bundle = BundleReader(self._path, frames=frames)
        except NewerFormat:
            raise
        except DamagedBundle as error:
            self._find("damaged", layout.INFO, error.message)
            return [], None
        except NotABundle as error:
            self._find("cut-short", None, error.message)
            return [], None
        with bundle:
            references = References(bundle, self._find)
            for check in (self._check_parts, self._check_index, self._check_tags):
                with self._finding():
                    check(bundle)
            with self._finding():
                if self._quick:
                    self._check_totals(bundle)
                else:
                    references.check()
            return references.losses, bundle.info

    @contextmanager
    def _finding(self) -> Iterator[None]:
        """A part that can't be read is a finding, and the next check goes on."""
        try:
            yield
        except DamagedBundle as error:
            self._find("damaged", error.entry, error.message)
        except (FrameError, ValueError, msgspec.MsgspecError) as error:
            self._find("index", None, f"index or manifest can't be read: {error}")

    def _check_parts(self, bundle: BundleReader) -> None:
        for path, part in ((layout.INDEX, bundle.info.index), (layout.MANIFEST, bundle.info.manifest)):
            digest = hashlib.sha256()
            try:
                for chunk in bundle.frames.chunks(part.offset, part.size):
                    digest.update(chunk)
            except FrameError as error:
                self._find("damaged", path, f"{path}: {error}")
                continue
            if digest.hexdigest() != part.sha256:
                self._find("damaged", path, f"{path}: its bytes are not those that holdall.json was made with")
            if path in self._tags and self._tags[path] != (part.offset, part.size, part.sha256):
                self._find("index", path, f"{path}: holdall.json and the tar differ about it")

    def _check_index(self, bundle: BundleReader) -> None:
        """Index against the members of the tar; both are sorted, so they are compared side by side."""
        unread = Sorter()
        members = _Ahead(iter(self._members))
        previous = b""
        for entry in bundle.entries(""):
            path = entry.path.encode()
            if path <= previous:
                self._find("index", entry.path, f"{entry.path}: out of order, or twice in the index")
            previous = path
            if not path.startswith(b"data/") or not is_safe(entry.path):
                self._find("name", entry.path, f"{entry.path}: not a name that a bundle may have")
            for extra in members.before(path):
                self._unlisted(extra)
            if members.key == path:
                self._compare(entry, members.take())
            elif self._quick or entry.offset >= self._followed:
                unread.add(entry.offset.to_bytes(8, "big"), msgspec.json.encode(entry))
            else:
                self._find("missing", entry.path, f"{entry.path}: in the index, but not in the tar")
        for extra in members.before(None):
            self._unlisted(extra)
        for _, line in unread:
            self._check_unread(bundle, msgspec.json.decode(line, type=IndexEntry))
        self._check_folded()
        self._check_manifest(bundle)

    def _unlisted(self, path: bytes) -> None:
        self._find("unlisted", path.decode(), f"{path.decode()}: in the tar, but not in the index")

    def _compare(self, entry: IndexEntry, place: bytes) -> None:
        offset, size, sha256 = _PLACE.unpack(place)
        if (offset, size) != (entry.offset, entry.size):
            self._find("index", entry.path, f"{entry.path}: index and tar differ about where it is or its size")
        elif sha256 != _LOST and sha256.hex() != entry.sha256:
            self._find("damaged", entry.path, f"{entry.path}: its bytes are not those that were written (sha256)")

    def _check_unread(self, bundle: BundleReader, entry: IndexEntry) -> None:
        """An entry beyond what could be followed: by its place in the index alone."""
        if entry.offset + entry.size > bundle.frames.frames.size:
            self._find("index", entry.path, f"{entry.path}: it lies past the end")
        elif not self._quick:
            try:
                digest = hashlib.sha256()
                for chunk in bundle.frames.chunks(entry.offset, entry.size):
                    digest.update(chunk)
            except FrameError:
                self._find("damaged", entry.path, f"{entry.path}: its bytes are lost")
            else:
                self._compare(entry, _PLACE.pack(entry.offset, entry.size, digest.digest()))

    def _check_folded(self) -> None:
        previous = None
        for name, _ in self._folded:
            if name == previous:
                path = name.decode()
                self._find("name", path, f"{path}: twice in the tar, as some systems compare names")
            previous = name

    def _check_manifest(self, bundle: BundleReader) -> None:
        """The manifest has the index's entries, in the same order."""
        lines = bundle.part_lines(bundle.info.manifest)
        for entry, line in zip_longest(bundle.entries(""), lines):
            if entry is None or line is None or manifest_line(entry.sha256, entry.path) != line + b"\n":
                path = entry.path if entry else parse_manifest_line((line or b"") + b"\n")[1]
                self._find("index", path, f"{path}: index and manifest differ from here on")
                return

    def _check_tags(self, bundle: BundleReader) -> None:
        if self._quick:
            return
        if self._followed == _TO_THE_END:
            for path in sorted(_TAG_FILES - self._tags.keys()):
                self._find("missing", path, f"{path}: not in the tar")
        kept = self._kept
        if kept.get(layout.BAGIT, BAGIT_TXT) != BAGIT_TXT:
            self._find("damaged", layout.BAGIT, "bagit.txt is not that of BagIt 1.0 in UTF-8")
        if kept.get(layout.INFO, bundle.raw_info) != bundle.raw_info:
            self._find("index", layout.INFO, "holdall.json is not what the last frame begins with")
        if layout.TAG_MANIFEST in kept and self._followed == _TO_THE_END:
            tags = sorted((path, tag[2]) for path, tag in self._tags.items() if path != layout.TAG_MANIFEST)
            if kept[layout.TAG_MANIFEST] != b"".join(manifest_line(sha256, path) for path, sha256 in tags):
                self._find("index", layout.TAG_MANIFEST, "the tag manifest does not list the tag files as they are")
        if layout.BAG_INFO in kept:
            counts = bundle.info.counts
            oxum = f"{counts.get('bytes')}.{counts.get('entries')}"
            if dict(parse_bag_info(kept[layout.BAG_INFO])).get("Payload-Oxum") != oxum:
                self._find("count", layout.BAG_INFO, "Payload-Oxum is not the payload's")

    def _check_totals(self, bundle: BundleReader) -> None:
        entries = size = 0
        for entry in bundle.entries():
            entries += 1
            size += entry.size
        for name, count in (("entries", entries), ("bytes", size)):
            if bundle.info.counts.get(name) != count:
                self._find("count", layout.INFO, f"{name}: {bundle.info.counts.get(name)} declared, {count} there")


class _Ahead:
    """The members by path, with a look at the next one."""

    def __init__(self, members: Iterator[tuple[bytes, bytes]]) -> None:
        self._members = members
        self._next = next(members, None)

    @property
    def key(self) -> bytes | None:
        return self._next[0] if self._next else None

    def take(self) -> bytes:
        assert self._next
        place = self._next[1]
        self._next = next(self._members, None)
        return place

    def before(self, path: bytes | None) -> Iterator[bytes]:
        """Take the members before ``path``, or all."""
        while self.key is not None and (path is None or self.key < path):
            yield self.key
            self.take()
