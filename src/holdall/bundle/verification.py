"""Verifies a bundle: every byte once (frames, seal, seek table, each tar member with its sha256), every entry against
index, manifest and tag files, every reference.

Reports all findings at once, each with a stable code, its entry if known, and a sentence. Declared losses aren't
damage; they are listed separately.
"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from itertools import groupby, zip_longest
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import (
    BAGIT_TXT,
    BLOCK,
    bag_faults,
    entry_faults,
    index_line,
    info_faults,
    manifest_line,
    parse_manifest_line,
)
from holdall.bundle.frames import BrokenTar, Member, Piece, SealHash, choose_frames, members, pieces
from holdall.bundle.layout import HoldallInfo, IndexEntry, Part
from holdall.bundle.reader import BundleReader
from holdall.bundle.references import DeclaredLoss, References, Report
from holdall.bundle.seekable import (
    FRAME_MAGIC,
    SEAL_SIZE,
    FrameError,
    FrameTable,
    encode_seal,
    encode_table,
    require_expansion,
)
from holdall.bundle.totals import declared_verdict
from holdall.errors import EXIT_LOOK, DamagedBundle, NotABundle
from holdall.legible import KEPT, Capped
from holdall.progress import Progress, Silent
from holdall.safe_files import fold, is_safe, open_regular, reading
from holdall.spilling import Sorter, ValueSorter
from holdall.untrusted import MAX_JSON, most_text
from holdall.verdict import COMPLETE, Verdict

if TYPE_CHECKING:
    from holdall.parsedtext import StoredText

T = TypeVar("T")

_TO_THE_END = 1 << 63
_LOOKED_INTO = frozenset({layout.BAGIT, layout.BAG_INFO, layout.INFO, layout.TAG_MANIFEST})
_PAYLOAD_STAGE = len(layout.OPENING)
_STAGES = {path: number + (number >= _PAYLOAD_STAGE) for number, path in enumerate((*layout.OPENING, *layout.CLOSING))}
_PIECE = 256 << 10
_SEAL_HEAD = 8  # magic and length, before the digest


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong. ``code`` is one of those in docs/commands.md, ``entry`` a path in the bundle."""

    code: str
    entry: str | None
    message: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found. ``sha256`` is over the whole file, None where not all of it was read; ``named`` is the one that
    the caller gave, if any.

    Of very many ``findings`` and ``losses`` the first thousand are kept; their totals count all of them.
    ``completeness`` says what the bundle lacks of what the project had when it was exported: no damage.
    """

    path: Path
    findings: Capped[Damage]
    losses: Capped[DeclaredLoss]
    info: HoldallInfo | None
    size: int
    sha256: str | None
    quick: bool
    completeness: Verdict = COMPLETE
    named: str | None = None

    @property
    def is_named(self) -> bool:
        """Whether it is the file whose sha256 was given, if one was."""
        return self.named is None or self.sha256 == self.named

    @property
    def whole(self) -> bool:
        return not self.findings

    @property
    def exit_code(self) -> int:
        """0 for a whole bundle, also one with declared losses; that of a finding where it is whole but another file."""
        return DamagedBundle.exit_code if self.findings else 0 if self.is_named else EXIT_LOOK


def verify(
    path: str | Path, *, quick: bool = False, sha256: str | None = None, progress: Progress | None = None
) -> Verification:
    """Prove the bundle at ``path``, as ``verified`` does, and close it."""
    with verified(path, quick=quick, sha256=sha256, keep=False, progress=progress) as (verdict, _):
        return verdict


@contextmanager
def verified(
    path: str | Path,
    *,
    quick: bool = False,
    sha256: str | None = None,
    keep: bool = True,
    progress: Progress | None = None,
    file: BufferedReader | None = None,
) -> Iterator[tuple[Verification, BundleReader | None]]:
    """Prove the bundle at ``path``; the verdict, and the bundle, which stays open; None where it is damaged.

    The file is opened once, and the reader ``keep``s what proves each frame again: what is read from it is what was
    proved, also where the file has been replaced or written into since. (A ``quick`` proof read no content, and keeps
    nothing.)

    ``quick`` looks at structure and completeness only: seek table, index, manifest, counts; it reads no content.
    ``sha256`` is compared with that of the whole file. ``file`` is the bundle where it is open already, and ``path``
    what it is called; it is closed at the end. Raises NotABundle, NewerFormat and CannotWrite (can't be
    read); everything else is a finding.
    """
    path = Path(path)
    with reading(path):
        file = file or open_regular(path)
    with file:
        run = _Run(path, file, quick=quick, sha256=sha256, keep=keep, progress=progress or Silent())
        with reading(path):
            verdict = run.run()
        yield verdict, run.bundle if verdict.whole else None


class _Run:
    """One run. ``bundle`` is there afterwards where its last frame could be read."""

    def __init__(
        self, path: Path, file: BufferedReader, *, quick: bool, sha256: str | None, keep: bool, progress: Progress
    ) -> None:
        self._path, self._file, self._quick, self._expected = path, file, quick, sha256
        self._keep, self._progress = keep, progress
        self._findings: Capped[Damage] = Capped()
        self._seen: set[tuple[str, str | None, str]] = set()
        self.bundle: BundleReader | None = None
        self._references: References | None = None

    def run(self) -> Verification:
        file = self._file
        frames = choose_frames(file)
        size = file.seek(0, 2)
        file.seek(0)
        if not len(frames) and file.read(4) != FRAME_MAGIC:
            raise NotABundle(
                f"can't verify {self._path}: not a holdall bundle", hint="name a file that `holdall export` wrote"
            )
        try:
            require_expansion(frames, size)
        except FrameError as error:
            self._find("frame", None, str(error))
            return self._outcome(size, _sha256_of(file))
        # First, so that a bundle of another major version is refused before anything else of it is looked at.
        unreadable = self._open(frames)
        self._progress.stage(f"Verifying {self._path.name}")
        scan, sha256 = None, None
        if not self._quick:
            self._progress.expect(bytes=frames.size, last=True)
            scan = FullScan(file, frames, self._find, self._progress, keep=self._keep)
            sha256 = scan.run()
        else:
            check_tail(file, frames, None, self._find)
            if self._expected is not None:
                sha256 = _sha256_of(file)
        if unreadable:
            self._find(*unreadable)
        if self.bundle:
            self._check_records(self.bundle, scan)
        return self._outcome(size, sha256)

    def _outcome(self, size: int, sha256: str | None) -> Verification:
        info = self.bundle.info if self.bundle else None
        completeness, losses = declared_verdict(info) if info else COMPLETE, Capped[DeclaredLoss]()
        if self._references:
            completeness, losses = self._references.verdict, self._references.losses
        return Verification(
            path=self._path,
            findings=self._findings,
            losses=losses,
            info=info,
            size=size,
            sha256=sha256,
            quick=self._quick,
            completeness=completeness,
            named=self._expected and self._expected.lower(),
        )

    def _find(self, code: str, entry: str | None, message: str) -> None:
        """Take a finding; the same thing found twice is one finding, and one entry is damaged once."""
        key = (code, entry, "" if code == "damaged" else message)
        if key in self._seen:
            return
        # A liar's bundle could have us remember millions; beyond those that are kept, one may count twice.
        if len(self._seen) < KEPT:
            self._seen.add(key)
        self._findings.append(Damage(code=code, entry=entry, message=message))

    def _open(self, frames: FrameTable) -> tuple[str, str | None, str] | None:
        """Read ``holdall.json``; where that can't be read, the finding that says so."""
        try:
            self.bundle = BundleReader(self._path, frames=frames, file=self._file)
        except DamagedBundle as error:
            return "damaged", layout.INFO, error.message
        except NotABundle as error:
            return "cut-short", None, error.message
        return None

    def _check_records(self, bundle: BundleReader, scan: FullScan | None) -> None:
        if scan and self._keep:
            bundle.frames.hold(scan.seal)
        if scan:
            self._references = References(bundle, self._find, scan.cut)
        inventory = Inventory(bundle, scan, self._find)
        proven = inventory.check_parts()
        # Against an index that is damaged itself, nothing can be held.
        if layout.INDEX in proven:
            self._try(inventory.check_index)
            if layout.MANIFEST in proven:
                self._try(inventory.check_manifest)
        self._try(inventory.check_info)
        self._try(inventory.check_tags)
        if layout.INDEX in proven:
            self._try(self._references.check if self._references else inventory.check_totals)

    def _try(self, check: Callable[[], None]) -> None:
        """What a check can't read is a finding too, and the next check runs."""
        try:
            check()
        except DamagedBundle as error:
            self._find("damaged", error.entry, error.message)
        except (FrameError, ValueError, RecursionError) as error:
            self._find("index", None, f"can't read index or manifest: {error}")


def _sha256_of(file: BufferedReader) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


# -- every byte ----------------------------------------------------------------------------------------


class Scanned(NamedTuple):
    """One member: its place; its sha256, None if it can't be read whole; the number of lines if it is a ``.jsonl``."""

    offset: int
    size: int
    sha256: str | None
    lines: int


class FullScan:
    """The result of one pass. Problems are reported on the way.

    ``members`` are those of the payload by their paths, ``tags`` the tag files, ``kept`` has the bytes of some of them,
    where they came whole; ``cut`` the paths of parsed texts that say of themselves that they stop short; ``followed``
    is how far the tar could be followed; ``seal`` proves the frames again, if it is to ``keep`` what that takes.
    """

    def __init__(
        self, file: BinaryIO, frames: FrameTable, report: Report, progress: Progress, *, keep: bool = False
    ) -> None:
        self._file, self._frames, self._find, self._progress = file, frames, report, progress
        self._file_size = file.seek(0, 2)
        self._room = most_text(self._file_size)
        self.members = ValueSorter(Scanned)
        self.cut, self._folded = Sorter(), Sorter()
        self.tags: dict[str, Scanned] = {}
        self.kept: dict[str, bytes] = {}
        self.followed = 0
        self.seal = SealHash(frames, keep=keep)
        self._bag: str | None = None
        self._stage = -1

    def run(self) -> str:
        """Read everything; returns the sha256 of the whole file."""
        scanned = self._watched(pieces(self._file, self._frames, threads=os.cpu_count() or 1, see=self.seal.add))
        self._follow(scanned)
        for _ in scanned:
            pass  # the tar could not be followed to its end, yet every frame counts
        self._check_folded()
        check_tail(self._file, self._frames, self.seal.digest(), self._find)
        self._file.seek(self._frames.length)
        return self.seal.digest(iter(partial(self._file.read, 1 << 20), b"")).hex()

    def _watched(self, source: Iterator[Piece]) -> Iterator[Piece]:
        for piece in source:
            if piece.data is None:
                self._find("frame", None, f"can't decode frame {piece.number}: {piece.error}")
            self._progress.advance(bytes=piece.size)
            yield piece

    def _follow(self, source: Iterator[Piece]) -> None:
        try:
            for member in members(source, self._file_size):
                self._read(member)
                self.followed = member.offset + member.size
        except BrokenTar as error:
            self.followed = error.position
            self._find("tar", None, f"can't read the tar from byte {error.position} on: {error.why}")
        else:
            self.followed = _TO_THE_END

    def _read(self, member: Member) -> None:
        path = self._in_bag(member.path)
        keeping = path in _LOOKED_INTO and member.size <= MAX_JSON
        text = None
        if path.startswith(layout.TEXTS) and self._room >= 0:
            from holdall.parsedtext import StoredText  # a bundle of originals has no texts

            text = StoredText(self._room)
        digest, lines, kept = hashlib.sha256(), 0, bytearray()
        for data in member:
            digest.update(data)
            if path.endswith(layout.LINES):
                lines += _line_ends(data)
            if text:
                text = self._read_text(path, text, data)
            if keeping:
                kept += data
        if not member.whole:
            self._find("damaged", path, f"{path}: unreadable")
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
                self._find("tar", path, f"{path}: too large ({found.size} bytes)")
        else:
            self._find("unlisted", path, f"{path}: unknown tag file")

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
        """The path inside the bag. The first member gives the bag's name."""
        bag, _, inside = path.partition("/")
        if self._bag is None:
            self._bag = bag
        if bag != self._bag or not inside:
            self._find("name", path, f"{path}: outside the bag's folder")
        return inside or path

    def _check_folded(self) -> None:
        previous = b"\0"
        for name, _ in self._folded:
            path = name.decode().replace("\0", "/")
            if name == previous:
                self._find("name", path, f"{path}: duplicate in the tar (on systems that ignore case)")
            elif name.startswith(previous + b"\0"):
                self._find("name", path, f"{path}: its folder is also a file (on systems that ignore case)")
            previous = name

    def _check_order(self, path: str) -> None:
        """The opening tag files come first, the closing ones last, each in their order."""
        stage = _STAGES.get(path, _PAYLOAD_STAGE)
        if stage < self._stage:
            self._find("tar", path, f"{path}: tag file in the wrong place")
        self._stage = max(stage, self._stage)


def check_tail(file: BinaryIO, frames: FrameTable, digest: bytes | None, report: Report) -> None:
    """Check that exactly the seal with the frames' ``digest`` (None if they weren't read) and their seek table
    follow."""
    table, end = encode_table(frames), frames.length
    file.seek(end)
    rest = file.read(SEAL_SIZE + len(table) + 1)
    found, after = rest[:SEAL_SIZE], rest[SEAL_SIZE:]
    seal = encode_seal(found[_SEAL_HEAD:] if digest is None else digest)
    listed = after[: len(table)] == table
    if not listed and (found[:_SEAL_HEAD] != seal[:_SEAL_HEAD] or len(after) < len(table)):
        report("cut-short", None, f"the frames end at byte {end}, without seal and seek table")
        return
    if found != seal:
        report("seal", None, "the seal does not match the sha256 of the data before it")
    if not listed:
        report("seek-table", None, "the seek table does not match the frames")
    elif len(after) > len(table):
        report("trailing", None, "extra bytes after the end of the bundle")


def _line_ends(data: memoryview) -> int:
    """The newlines in ``data``, of which no whole copy is made."""
    return sum(data[at : at + _PIECE].tobytes().count(b"\n") for at in range(0, len(data), _PIECE))


# -- index, manifest and tag files ---------------------------------------------------------------------


class Inventory:
    """The checks of one bundle, each a method, against the ``scan`` of its bytes; None where nobody read them: then no
    content is read here either."""

    def __init__(self, bundle: BundleReader, scan: FullScan | None, report: Report) -> None:
        self._bundle, self._scan, self._find = bundle, scan, report
        self._followed = scan.followed if scan else 0
        self._payload_end = 1 << 62  # known once the index has been read
        self._counted = False

    def check_parts(self) -> set[str]:
        """Which of index and manifest match holdall.json."""
        proven = set()
        info = self._bundle.info
        for path, part in ((layout.INDEX, info.index), (layout.MANIFEST, info.manifest)):
            scanned = self._scan.tags.get(path) if self._scan else None
            try:
                sha256, _ = self._read(part)
            except FrameError as error:
                self._find("damaged", path, f"{path}: {error}")
                continue
            if sha256 != part.sha256:
                self._find("damaged", path, f"{path}: does not match holdall.json")
            elif scanned and scanned[:3] != (part.offset, part.size, part.sha256):
                self._find("index", path, f"{path}: holdall.json and the tar disagree")
            else:
                proven.add(path)
        return proven

    def _read(self, part: Part | IndexEntry) -> tuple[str, int]:
        """The sha256 and the number of lines of what is there; FrameError if unreadable."""
        digest, lines = hashlib.sha256(), 0
        for chunk in self._bundle.frames.chunks(part.offset, part.size):
            digest.update(chunk)
            lines += _line_ends(chunk)
        return digest.hexdigest(), lines

    def check_index(self) -> None:
        """Compare the index with the tar's members, side by side: both are sorted."""
        unread = ValueSorter(IndexEntry)
        members: Iterator[tuple[bytes, Scanned | IndexEntry]] = self._scan.members.items() if self._scan else iter(())
        # Of one path, the first member belongs to the first line, and the second to the second.
        both = heapq.merge(_numbered(members), _numbered(self._read_index()), key=itemgetter(0))
        for (key, _), found in groupby(both, key=itemgetter(0)):
            path = key.decode(errors="replace")
            place: Scanned | None = None
            line: IndexEntry | None = None
            for _, one in found:
                if isinstance(one, IndexEntry):
                    line = one
                else:
                    place = one
            if line is None:
                self._unlisted(path)
            elif place is not None:
                self._compare(line, place)
            elif line.offset >= self._followed:
                unread.add(line.offset, line)
            else:
                self._find("missing", path, f"{path}: in the index, but not in the tar")
        for entry in unread:
            self._check_unread(entry)

    def _read_index(self) -> Iterator[tuple[bytes, IndexEntry]]:
        """Each line behind its path, held to its form."""
        previous = b""
        self._payload_end = self._entries = self._bytes = 0
        for line in self._bundle.part_lines(self._bundle.info.index):
            entry = index_line(line)
            path = entry.path.encode()
            for fault in entry_faults(line, entry, self._bundle.info.format):
                self._find("index", entry.path, f"{entry.path}: {fault}")
            if path <= previous:
                self._find("index", entry.path, f"{entry.path}: out of order or duplicate in the index")
            previous = path
            self._entries += 1
            self._bytes += entry.size
            self._payload_end = max(self._payload_end, entry.offset + entry.size)
            if not path.startswith(b"data/") or not is_safe(entry.path):
                self._find("name", entry.path, f"{entry.path}: name not allowed in a bundle")
            yield path, entry
        self._counted = True

    def _unlisted(self, path: str) -> None:
        self._find("unlisted", path, f"{path}: in the tar, but not in the index")

    def _compare(self, entry: IndexEntry, place: Scanned) -> None:
        offset, size, sha256, lines = place
        if (offset, size) != (entry.offset, entry.size):
            self._find("index", entry.path, f"{entry.path}: index and tar disagree on its position or size")
        elif sha256 is None:
            pass  # that its bytes are lost was found when they were read
        elif sha256 != entry.sha256:
            self._find("damaged", entry.path, f"{entry.path}: sha256 mismatch")
        elif entry.path.endswith(layout.LINES) and entry.records not in (None, lines):
            self._find("count", entry.path, f"{entry.path}: {entry.records} lines declared, {lines} found")

    def _check_unread(self, entry: IndexEntry) -> None:
        """An entry beyond what could be followed: by its place in the index alone."""
        if entry.offset + entry.size > self._bundle.frames.frames.size:
            self._find("index", entry.path, f"{entry.path}: past the end of the tar")
        elif self._scan:
            try:
                place = Scanned(entry.offset, entry.size, *self._read(entry))
                # Its header too: without that no tar program finds it.
                self._bundle.frames.read(max(entry.offset - BLOCK, 0), BLOCK)
            except FrameError:
                self._find("damaged", entry.path, f"{entry.path}: unreadable")
            else:
                self._compare(entry, place)

    def check_manifest(self) -> None:
        """The manifest has the index's entries, in the same order."""
        for entry, line in zip_longest(self._bundle.path_hashes(), self._bundle.part_lines(self._bundle.info.manifest)):
            if entry is None or line is None or manifest_line(entry.sha256, entry.path) != line + b"\n":
                path = entry.path if entry else parse_manifest_line((line or b"") + b"\n")[1]
                self._find("index", path, f"{path}: index and manifest disagree from here on")
                return

    def check_tags(self) -> None:
        """Check the tag files that the scan found, and the content of those it kept."""
        if self._scan is None:
            return
        tags, kept = self._scan.tags, self._scan.kept
        if self._followed == _TO_THE_END:
            for path in sorted(layout.TAG_FILES - tags.keys()):
                self._find("missing", path, f"{path}: not in the tar")
        else:
            reached = (*layout.OPENING, *([layout.BAG_INFO] if self._followed >= self._payload_end else []))
            for path in reached:
                if path not in tags:
                    self._find("damaged", path, f"{path}: unreadable")
        self._check_kept(tags, kept)

    def _check_kept(self, tags: dict[str, Scanned], kept: dict[str, bytes]) -> None:
        if kept.get(layout.BAGIT, BAGIT_TXT) != BAGIT_TXT:
            self._find("damaged", layout.BAGIT, "bagit.txt: not BagIt 1.0 in UTF-8")
        if kept.get(layout.INFO, self._bundle.raw_info) != self._bundle.raw_info:
            self._find("index", layout.INFO, "holdall.json: differs from the start of the last frame")
        elif layout.INFO in tags and tags[layout.INFO].offset != self._bundle.info_offset:
            self._find("index", layout.INFO, "holdall.json: not at the start of the last frame")
        if layout.TAG_MANIFEST in kept and self._followed == _TO_THE_END:
            listed = sorted(tags.keys() - {layout.TAG_MANIFEST})
            if kept[layout.TAG_MANIFEST] != b"".join(manifest_line(str(tags[path].sha256), path) for path in listed):
                self._find("index", layout.TAG_MANIFEST, "the tag manifest does not match the tag files")
        if layout.BAG_INFO in kept:
            self._check_bag_info(kept[layout.BAG_INFO])

    def _check_bag_info(self, raw: bytes) -> None:
        try:
            for fault in bag_faults(raw, self._bundle.info):
                self._find("count", layout.BAG_INFO, fault)
        except ValueError as error:
            self._find("tar", layout.BAG_INFO, f"can't read bag-info.txt: {error}")

    def check_info(self) -> None:
        """Check what can be checked in holdall.json alone."""
        try:
            for fault in info_faults(self._bundle.raw_info, self._bundle.info):
                self._find("index", layout.INFO, f"holdall.json: {fault}")
        except ValueError as error:
            self._find("index", layout.INFO, f"holdall.json is ambiguous: {error}")

    def check_totals(self) -> None:
        """Number and size of the entries, which ``check_index`` has counted; none where it couldn't read on."""
        if not self._counted:
            return
        counts = self._bundle.info.counts
        for name, count in (("entries", self._entries), ("bytes", self._bytes)):
            if counts.get(name) != count:
                self._find("count", layout.INFO, f"{name}: {counts.get(name)} declared, {count} found")


def _numbered(items: Iterable[tuple[bytes, T]]) -> Iterator[tuple[tuple[bytes, int], T]]:
    """Each of those that follow one another under one key with its number among them."""
    for key, same in groupby(items, key=itemgetter(0)):
        for number, (_, one) in enumerate(same):
            yield (key, number), one
