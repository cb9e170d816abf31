"""An earlier bundle of the same project, out of which contents are taken instead of being fetched again.

A file never changes under its id, but an id is the server's word: only where size and creation time are the same too
is a file taken for the same one. A text is also what its store made of the file. What is taken is proved by its sha256
on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from holdall.bundle import layout
from holdall.bundle.layout import SUFFIX, Capture, HoldallInfo, IndexEntry, LedgerLine, Source
from holdall.bundle.reader import BundleReader, open_bundle
from holdall.errors import BundleError, DamagedBundle, pasteable
from holdall.exporter.file_index import passing_database
from holdall.exporter.losses import line_of, reason, same_loss
from holdall.exporter.policy import Policy
from holdall.exporter.report import ContentLoss, Doubtful, Finding
from holdall.joining import DEFAULT_OVERLAP, overlap_of
from holdall.model import Fidelity, FileView, MembershipView, epoch_seconds
from holdall.opening import Closing
from holdall.progress import Progress
from holdall.remote.transfer import ContentSink

__all__ = ["Parent", "ReusedContent", "choose_parent", "open_parent", "same_work"]

_SCHEMA = """
CREATE TABLE records (id TEXT PRIMARY KEY, bytes REAL, created_at REAL) WITHOUT ROWID;
CREATE TABLE lines (id TEXT PRIMARY KEY, line BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE overlaps (store TEXT, id TEXT, tokens INTEGER NOT NULL, PRIMARY KEY (store, id)) WITHOUT ROWID;
CREATE TABLE losses (line BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE entries (path TEXT PRIMARY KEY, entry BLOB NOT NULL) WITHOUT ROWID;
"""
_LOST = "SELECT 1 FROM losses WHERE line = ?"
_PIECE = 1 << 20
_FIDELITIES = list(Fidelity)


class ReusedContent(msgspec.Struct, frozen=True, kw_only=True):
    """A content of the parent that is still that of a file, and what the parent's ledger says of it.

    Of a text, ``store`` is the one that it was read from, and ``overlap`` how many tokens its parts share.
    """

    entry: IndexEntry
    line: LedgerLine
    store: str | None = None
    overlap: int = DEFAULT_OVERLAP

    @property
    def best(self) -> bool:
        """The file's bytes: nothing better is to be had, so nothing is asked for."""
        return self.line.fidelity not in (Fidelity.TEXT, Fidelity.UNAVAILABLE)

    @property
    def is_whole_text(self) -> bool:
        return self.line.fidelity is Fidelity.TEXT and not self.line.truncated


class Parent(Closing):
    """One earlier bundle, open for reading. A context manager; ``find`` and ``copy`` may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Raises NotABundle, DamagedBundle, NewerFormat, CannotWrite (can't be read)."""
        self.path = path
        self._reader: BundleReader = open_bundle(path)
        self.info: HoldallInfo = self._reader.info
        self.size = path.stat().st_size
        self._known = passing_database(_SCHEMA)

    def close(self) -> None:
        self._reader.close()
        self._known.close()

    def load(self) -> None:
        """Read what the parent says of its files. DamagedBundle where not all of it can be read; the rest counts."""
        old, encode = self._reader, msgspec.json.encode
        entries = (entry for entry in old.entries() if entry.fidelity is not None)
        self._insert("lines VALUES (?, ?)", ((line.id, encode(line)) for line in old.ledger()))
        self._insert("entries VALUES (?, ?)", ((entry.path, encode(entry)) for entry in entries))
        self._insert("losses VALUES (?)", ((same_loss(line),) for line in old.losses()))
        self._insert("records VALUES (?, ?, ?)", self._read_records())
        self._insert("overlaps VALUES (?, ?, ?)", self._read_overlaps())

    def _insert(self, values: str, rows: Iterator[tuple[object, ...]]) -> None:
        self._known.execute("BEGIN")
        try:
            self._known.executemany(f"INSERT OR REPLACE INTO {values}", rows)
        finally:
            self._known.execute("COMMIT")

    def _read_records(self) -> Iterator[tuple[object, ...]]:
        for record in self._reader.files():
            view = FileView.of(record)
            yield record.id, view.size, epoch_seconds(view.created_at)

    def _read_overlaps(self) -> Iterator[tuple[object, ...]]:
        for store in self._reader.stores():
            for record in self._reader.memberships(store.id):
                overlap = overlap_of(MembershipView.of(record).chunking_strategy)
                if overlap != DEFAULT_OVERLAP:
                    yield store.id, record.id, overlap

    def find(self, file: FileView) -> ReusedContent | None:
        """The parent's content of a file that is unchanged: same id, size and creation time. None for none."""
        row = self._row("SELECT bytes, created_at FROM records WHERE id = ?", file.id)
        made = epoch_seconds(file.created_at)
        if row is None or file.size is None or not made or row != (file.size, made):
            return None
        line = self._line(file.id)
        found = self._row("SELECT entry FROM entries WHERE path = ?", line.path) if line and line.path else None
        if not found or not line:
            return None
        taken = ReusedContent(entry=msgspec.json.decode(found[0], type=IndexEntry), line=line)
        if line.fidelity is not Fidelity.TEXT:
            return taken
        store = self._store_of(taken.entry)
        row = self._row("SELECT tokens FROM overlaps WHERE store = ? AND id = ?", store, file.id)
        return replace(taken, store=store, overlap=row[0] if row else DEFAULT_OVERLAP)

    def _line(self, file_id: str) -> LedgerLine | None:
        row = self._row("SELECT line FROM lines WHERE id = ?", file_id)
        return msgspec.json.decode(row[0], type=LedgerLine) if row else None

    def _row(self, statement: str, *key: str | bytes) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._known.execute(statement, key).fetchone()
        return row

    def knew(self, finding: Finding) -> bool:
        """Did the parent have this loss already, or a worse one?"""
        try:
            if isinstance(finding, ContentLoss | Doubtful):
                line = self._line(finding.id)
                if line is None or isinstance(finding, Doubtful):
                    return line is not None and bool(line.doubt)
                return _worth(line.fidelity, line.truncated) <= _worth(finding.fidelity, finding.truncated)
            why = reason(finding, Policy())
            return why is not None and self._row(_LOST, same_loss(line_of(finding, why))) is not None
        except BundleError:
            return False

    def copy(self, taken: ReusedContent, sink: ContentSink) -> None:
        """Put a content of the parent into ``sink`` and commit it. DamagedBundle, and nothing is kept, where the
        parent's bytes aren't those that were written."""
        try:
            with self._reader.open(taken.entry) as stream:
                while piece := stream.read(_PIECE):
                    sink.write(piece)
            sink.commit()
        finally:
            sink.abort()

    def _store_of(self, text: IndexEntry) -> str:
        """The store that a text was read from; where that is not in the bundle, what its folder is called."""
        name = text.path.removeprefix(layout.TEXTS).partition("/")[0]
        entry = self._reader.find(f"{layout.STORES}{name}{layout.RECORD}")
        return entry.id if entry and entry.id else name


@asynccontextmanager
async def open_parent(path: Path | None, progress: Progress) -> AsyncIterator[Parent | None]:
    """The bundle at ``path``, read as far as it can be; None where there is none."""
    if path is None:
        yield None
        return
    with await asyncio.to_thread(Parent, path) as parent:
        progress.stage("reading the parent bundle")
        try:
            await asyncio.to_thread(parent.load)
        except DamagedBundle as error:
            progress.note(f"{error.message}; what can't be taken from it is fetched")
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
    for _, _, path in sorted(found, reverse=True):
        if is_whole(path):
            return path
        note(f"{path} is damaged and no parent for this export; holdall verify {pasteable(path)} says more")
    return None


def _same_source(one: Source, other: Source) -> bool:
    if one.base_url != other.base_url or one.organization != other.organization:
        return False
    if one.project or other.project:
        return one.project == other.project
    return one.label == other.label


def same_work(info: HoldallInfo, capture: Capture) -> bool:
    """Was the parent asked for the same?"""
    return (info.selection, info.options) == (capture.selection, capture.options)


def _worth(fidelity: Fidelity, truncated: bool) -> tuple[int, bool]:
    """Higher is better."""
    return -_FIDELITIES.index(fidelity), not truncated
