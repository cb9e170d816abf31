"""An earlier bundle of the same project, out of which contents are taken instead of being fetched again.

A file never changes under its id, but an id is the server's word: only where size and creation time are the same too
is a file taken for the same one. What is taken is proved by its sha256 on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from holdall.bundle.layout import SUFFIX, Capture, HoldallInfo, IndexEntry, LedgerLine, Source
from holdall.bundle.reader import BundleReader, open_bundle
from holdall.errors import BundleError
from holdall.exporter.register import passing_database
from holdall.model import FileView, Rung

__all__ = ["Parent", "Taken", "better", "choose_parent"]

_SCHEMA = """
CREATE TABLE records (id TEXT PRIMARY KEY, bytes REAL, created_at REAL) WITHOUT ROWID;
"""
_PIECE = 1 << 20
_RUNGS = list(Rung)


class _Sink(Protocol):
    def write(self, data: bytes) -> None: ...

    def commit(self) -> IndexEntry: ...

    def abort(self) -> None: ...


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A content of the parent that is still that of a file, and what the parent's ledger says of it."""

    entry: IndexEntry
    line: LedgerLine

    @property
    def best(self) -> bool:
        """Nothing better is to be had anywhere, so nothing is asked."""
        return self.line.rung not in (Rung.TEXT, Rung.UNAVAILABLE)


def better(rung: Rung, than: Rung) -> bool:
    """Is one rung higher on the ladder than another?"""
    return _RUNGS.index(rung) < _RUNGS.index(than)


class Parent:
    """One earlier bundle, open for reading. A context manager; ``find`` and ``copy`` may be called from any thread."""

    def __init__(self, path: Path) -> None:
        """Raises NotABundle, DamagedBundle, NewerFormat, CannotWrite (can't be read)."""
        self.path = path
        self._reader: BundleReader = open_bundle(path)
        self.info: HoldallInfo = self._reader.info
        self._records = passing_database(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()
        self._records.close()

    def load(self) -> None:
        """Read what the parent says of its files. DamagedBundle where it can't be read: then nothing is taken."""
        self._records.execute("BEGIN")
        self._records.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", self._read_records())
        self._records.execute("COMMIT")

    def _read_records(self) -> Iterator[tuple[str, float | None, float | None]]:
        for record in self._reader.files():
            view = msgspec.json.decode(record.raw, type=FileView)
            yield record.id, view.bytes, view.created_at

    def find(self, file: FileView) -> Taken | None:
        """The parent's content of a file that is unchanged: same id, size and creation time.

        None where there is none, or where it can't be looked up.
        """
        row = self._records.execute("SELECT bytes, created_at FROM records WHERE id = ?", (file.id,)).fetchone()
        if row is None or file.bytes is None or file.created_at is None or row != (file.bytes, file.created_at):
            return None
        try:
            line = self._reader.ledger_line(file.id)
            entry = self._reader.find(line.path) if line and line.path else None
        except BundleError:
            return None
        return Taken(entry=entry, line=line) if entry and line and entry.rung is not None else None

    def line(self, file_id: str) -> LedgerLine | None:
        """What the parent's ledger says of a file, changed or not; None where it says nothing, or can't be read."""
        try:
            return self._reader.ledger_line(file_id)
        except BundleError:
            return None

    def copy(self, taken: Taken, sink: _Sink) -> IndexEntry:
        """Put a content of the parent into ``sink`` and commit it. DamagedBundle, and nothing is kept, where the
        parent's bytes aren't those that were written."""
        try:
            with self._reader.open(taken.entry) as stream:
                while piece := stream.read(_PIECE):
                    sink.write(piece)
            return sink.commit()
        finally:
            sink.abort()

    def store_of(self, taken: Taken) -> str | None:
        """The store out of which a text was read."""
        if taken.line.rung is not Rung.TEXT:
            return None
        folder = taken.entry.path.split("/")[2]
        entry = self._reader.find(f"data/vector_stores/{folder}.json")
        return entry.id if entry else None


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
        note(f"{path} is damaged and no parent for this export; holdall verify {path} says more")
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
