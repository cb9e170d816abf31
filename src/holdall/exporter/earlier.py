"""Earlier exports of the same project: an unfinished one, which is resumed, and the parent, whose unchanged contents
are reused instead of being fetched again.

A file never changes under its id, but an id is the server's word: only where size and creation time are the same too
it counts as the same file. A text is also what its store made of the file. A reused content is proved by its sha256
while it is copied.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from holdall.bundle import layout
from holdall.bundle.copying import copy_content
from holdall.bundle.layout import (
    CONTENT_FRAME,
    MOST_BESIDE,
    SUFFIX,
    Capture,
    HoldallInfo,
    IndexEntry,
    LedgerLine,
    Source,
)
from holdall.bundle.partial import discard_partial, find_partial, partial_folder, unfinished
from holdall.bundle.reader import BundleReader, open_bundle, wrong_hash
from holdall.bundle.sinks import Sink
from holdall.bundle.totals import record_hash
from holdall.errors import AlreadyExists, BundleError, DamagedBundle, pasteable
from holdall.exporter.file_index import KeyedValues
from holdall.exporter.report import ContentLoss, Doubtful, Finding, Policy, line_of, reason, same_loss
from holdall.join_parts import DEFAULT_OVERLAP, overlap_of
from holdall.model import Fidelity, FileView, Kind, MembershipView, SourceId, epoch_seconds
from holdall.progress import Progress
from holdall.safe_files import Closing

FRESH_FOR = 7 * 86400
"""Seconds after its start within which an unfinished bundle is resumed without asking."""

# Bytes of a frame that several contents may share: those that we write are shorter.
_LARGEST = 2 * CONTENT_FRAME
_FIDELITIES = list(Fidelity)
_Made = tuple[int | None, int]
"""A file's size and creation time."""
_made = msgspec.json.Decoder(_Made).decode
_line = msgspec.json.Decoder(LedgerLine).decode
_entry = msgspec.json.Decoder(IndexEntry).decode


class ReusedContent(msgspec.Struct, frozen=True, kw_only=True):
    """A content of the parent that is still that of a file, and what the parent's ledger says of it.

    Of a text, ``store`` is the one that it was read from, and ``overlap`` how many tokens its parts share.
    """

    entry: IndexEntry
    line: LedgerLine
    store: SourceId | None = None
    overlap: int = DEFAULT_OVERLAP


class _SharedFrame:
    """A frame of several contents, compressed and decoded, and how much of it was ``copied``."""

    def __init__(self, number: int, frame: bytes, data: bytes) -> None:
        self.number, self.frame, self.data = number, frame, data
        self.copied = 0


class Parent(Closing):
    """One earlier bundle, open for reading. A context manager; ``find`` and ``copy`` may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Raises NotABundle, DamagedBundle, NewerFormat, CannotWrite (can't be read)."""
        self.path = path
        self._reader: BundleReader = open_bundle(path)
        self.info: HoldallInfo = self._reader.info
        self.size = path.stat().st_size
        self._known = KeyedValues()
        self._has_texts = False
        # The one that was read last: those who share it follow one another.
        self._shared: _SharedFrame | None = None
        self.purposes: Counter[str] = Counter()
        """How many files it has of each purpose."""

    def close(self) -> None:
        self._reader.close()
        self._known.close()

    def load(self) -> None:
        """Read what the parent says of its files. DamagedBundle where not all of it can be read; the rest counts."""
        old = self._reader
        self._known.put("line", self._read_ledger())
        contents = (entry for entry in old.entries() if entry.fidelity is not None)
        self._known.put("entry", ((entry.id or "", entry) for entry in contents))
        self._known.put("loss", ((same_loss(line), True) for line in old.losses()))
        self._known.put("file", self._read_files())
        # Of a bundle's memberships only the overlap counts, and that of texts.
        if self._has_texts:
            self._known.put("overlap", self._read_overlaps())
        self._known.put("version", self._read_versions())

    def _read_ledger(self) -> Iterator[tuple[str, LedgerLine]]:
        for line in self._reader.ledger():
            self._has_texts |= line.fidelity is Fidelity.TEXT
            yield line.id, line

    def _read_files(self) -> Iterator[tuple[str, _Made]]:
        for file in map(FileView.of, self._reader.files()):
            self.purposes[file.purpose or ""] += 1
            yield file.id, (file.size, epoch_seconds(file.created_at))

    def _read_versions(self) -> Iterator[tuple[str, str]]:
        for skill in self._reader.definitions(Kind.SKILL):
            for record in self._reader.versions(Kind.SKILL, skill.id):
                yield record.id, record_hash(record.kind, record.raw)

    def _read_overlaps(self) -> Iterator[tuple[str, int]]:
        for store in self._reader.stores():
            for record in self._reader.memberships(store.id):
                overlap = overlap_of(MembershipView.of(record).chunking_strategy)
                if overlap != DEFAULT_OVERLAP:
                    yield f"{store.id} {record.id}", overlap

    def find(self, file: FileView) -> ReusedContent | None:
        """The parent's content of a file that is unchanged: same id, size and creation time. None for none."""
        # Of a file without a size or a creation time nothing but its id says that it is the same one.
        size, made = file.size, epoch_seconds(file.created_at)
        if size is None or not made:
            return None
        known = self._known.all(file.id)
        if "file" not in known or _made(known["file"]) != (size, made):
            return None
        found = self._content(known)
        if found is None or found.line.fidelity is not Fidelity.TEXT:
            return found
        store = self._store_of(found.entry)
        overlap = self._known.get("overlap", f"{store} {file.id}", int)
        return replace(found, store=store, overlap=DEFAULT_OVERLAP if overlap is None else overlap)

    def find_zip(self, version: str, hash: str | None) -> ReusedContent | None:
        """The parent's zip of a skill's version: a version never changes, and its record has this ``hash``."""
        known = self._known.all(version)
        if "version" not in known or msgspec.json.decode(known["version"], type=str) != hash:
            return None
        return self._content(known)

    def _content(self, known: Mapping[str, bytes]) -> ReusedContent | None:
        """The content that the ledger and the index agree upon."""
        if "line" not in known or "entry" not in known:
            return None
        line, entry = _line(known["line"]), _entry(known["entry"])
        return ReusedContent(entry=entry, line=line) if line.path == entry.path else None

    def knew(self, finding: Finding) -> bool:
        """Whether the parent had this loss already, or a worse one."""
        try:
            if isinstance(finding, ContentLoss | Doubtful):
                line = self._known.get("line", finding.id, LedgerLine)
                if line is None or isinstance(finding, Doubtful):
                    return line is not None and bool(line.doubt)
                return worth(line.fidelity, line.truncated) <= worth(finding.fidelity, finding.truncated)
            why = reason(finding, Policy())
            return why is not None and bool(self._known.get("loss", same_loss(line_of(finding, why)), bool))
        except BundleError:
            return False

    def copy(self, taken: ReusedContent, sink: Sink) -> None:
        """Put a content of the parent into ``sink`` and commit it. DamagedBundle, and nothing is kept, where the
        parent's bytes aren't those that were written."""
        entry = taken.entry
        try:
            if entry.size > sink.frames.small:
                copy_content(self._reader, entry, sink)
                sink.commit()
                return
            with self._reader.guarding(entry.path):
                for piece in self._pieces(entry, sink):
                    sink.write(piece)
            sink.commit()
            # The sink has hashed what it took: to read it as a stream would hash it twice.
            if sink.sha256 != entry.sha256:
                sink.discard()
                raise wrong_hash(self.path, entry.path)
        finally:
            sink.abort()

    def _pieces(self, entry: IndexEntry, sink: Sink) -> Iterator[memoryview]:
        """The bytes of an entry. Once the whole shared frame may have been copied, ``sink`` gets it, so that the same
        contents need not be compressed again."""
        table = self._reader.frames.frames
        number = table.find(entry.offset)
        _, _, start, size = table[number] if entry.size and number < len(table) else (0, 0, 0, 0)
        if entry.offset + entry.size > start + size or size > _LARGEST:
            yield from self._reader.frames.chunks(entry.offset, entry.size)
            return
        found = self._shared
        if found is None or found.number != number:
            self._shared = found = _SharedFrame(number, *self._reader.frames.both(number))
        # A frame in memory for each content that is copied would be too many: only for as many bytes as were copied.
        found.copied += entry.size + MOST_BESIDE
        if found.copied >= size and self._reader.frames.is_ours(found.frame, found.data):
            sink.known_frame = found.frame, found.data
        yield memoryview(found.data)[entry.offset - start :][: entry.size]

    def _store_of(self, text: IndexEntry) -> SourceId:
        """The store that a text was read from; where that is not in the bundle, what its folder is called."""
        name = text.path.removeprefix(layout.TEXTS).partition("/")[0]
        entry = self._reader.find(f"{layout.STORES}{name}{layout.RECORD}")
        return SourceId(entry.id if entry and entry.id else name)


@asynccontextmanager
async def open_parent(path: Path | None, progress: Progress) -> AsyncIterator[Parent | None]:
    """The bundle at ``path``, read as far as it can be; None where there is none."""
    if path is None:
        yield None
        return
    with await asyncio.to_thread(Parent, path) as parent:
        progress.stage(f"Reading {path.name}")
        try:
            await asyncio.to_thread(parent.load)
        except DamagedBundle as error:
            progress.note(f"{error.message}; fetching what can't be reused from it")
        yield parent


def choose_parent(
    folder: Path, source: Source, is_whole: Callable[[Path], bool], note: Callable[[str], None]
) -> Path | None:
    """The newest whole bundle of ``source`` in ``folder``, or None.

    Without a project id or a label two projects can't be told apart, so there is none. Bundles are told by their
    ``holdall.json``; ``is_whole`` is asked of the newest only, and if it says no, of the next.
    """
    if not source.project and not source.label:
        return None
    found: list[tuple[int, str, Path]] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            with open_bundle(path) as bundle:
                if _same_source(bundle.info.source, source):
                    found.append((bundle.info.ended, path.name, path))
        except BundleError:
            continue  # not ours, or damaged: no parent, and nothing this export has to say about it
    # By when it ended, and not by its name, which is anybody's. To verify each of a long series would take too long.
    for _, _, path in sorted(found, reverse=True):
        if is_whole(path):
            return path
        note(f"{path} is damaged and not used as a parent; for details: holdall verify {pasteable(path)}")
    return None


def _same_source(one: Source, other: Source) -> bool:
    if (one.base_url, one.organization) != (other.base_url, other.organization):
        return False
    # A label is only what somebody called the project; its id says more.
    if one.project or other.project:
        return one.project == other.project
    return one.label == other.label


def worth(fidelity: Fidelity, truncated: bool) -> tuple[int, bool]:
    """What a content is worth: higher is better."""
    return -_FIDELITIES.index(fidelity), not truncated


def where_to_write(fresh: Path, capture: Capture, *, named: bool, resume: bool | None, now: float) -> tuple[Path, bool]:
    """The target of an export that would begin at ``fresh``, and whether it resumes an unfinished bundle.

    Where the user has not ``named`` the file, any unfinished bundle of the same capture in the folder is resumed.
    ``resume`` True: whatever its age; False: it is thrown away. Raises AlreadyExists where it is older than seven days
    and nothing was said, BundleInUse where it should be thrown away and another process is at it.
    """
    target = fresh if named else find_partial(fresh.parent, capture)
    begin = unfinished(target) if target else None
    if target and begin and resume is False:
        discard_partial(target)
    if target is None or begin is None or resume is False or not begin.can_resume(capture, target.name):
        return (fresh if named else _free(fresh)), False
    if resume is None and now - begin.started > FRESH_FOR:
        when = datetime.fromtimestamp(begin.started, UTC)
        raise AlreadyExists(
            f"can't write {target}: {partial_folder(target)} contains the same export, started on "
            f"{when:%Y-%m-%d} and unfinished",
            hint="--resume continues it; --no-resume deletes it and starts again",
        )
    return target, True


def _free(fresh: Path) -> Path:
    """A free name: another export may have begun in the same second."""
    stem, number, target = fresh.name.removesuffix(SUFFIX), 1, fresh
    while target.exists() or partial_folder(target).exists():
        number += 1
        target = fresh.with_name(f"{stem}-{number}{SUFFIX}")
    return target
