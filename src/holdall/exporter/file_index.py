"""Per-file data of one export: which stores hold it, its record, and whether it must be tried again.

Records are requested one by one, or read from the list of files if that takes fewer requests. Neither the number of
wanted files nor the list's length is known in advance. So a purpose's list is begun once its single requests have cost
as much as a page, and continued while its pages cost less than single requests would.

Everything is in a temporary SQLite file, so memory stays flat. Not thread-safe: only the event loop's thread uses it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import TypeVar

import msgspec

from holdall.model import FileView, Kind, Record, SourceId
from holdall.remote.contents import REFUSED, FetchedContent, Holder, ZipOf
from holdall.remote.survey import Missing, Surveyor
from holdall.temporary import TemporaryDatabase

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE wanted (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE holders (place INTEGER PRIMARY KEY, id TEXT NOT NULL, store TEXT NOT NULL, overlap INTEGER NOT NULL);
CREATE INDEX holders_by_file ON holders (id, place);
CREATE TABLE listed (id TEXT PRIMARY KEY, raw BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE waiting (place INTEGER PRIMARY KEY, has_content INTEGER NOT NULL, what BLOB NOT NULL);
CREATE INDEX waiting_by_content ON waiting (has_content, place);
"""
_KEPT = "CREATE TABLE kept (what TEXT, key BLOB, value BLOB NOT NULL, PRIMARY KEY (what, key)) WITHOUT ROWID"
_PAGE = 500
# What a page of up to 10,000 records may cost, in requests for one record each.
_PAGE_COST = 20


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the run: its record and the record's hash, None if there is none, and who says that it is gone.

    ``zip`` says which version of a skill it is the zip of: its record is that version's.
    """

    id: SourceId
    view: FileView | None
    record: str | None = None
    gone: Missing | None = None
    zip: ZipOf | None = None

    @property
    def filename(self) -> str | None:
        return self.view.filename if self.view else None

    @property
    def size(self) -> int | None:
        """What the server says; not always the number of bytes that come."""
        return self.view.size if self.view else None

    @property
    def due(self) -> int:
        """The bytes that progress expects of it, 0 where the server doesn't say how many."""
        return max(0, self.size or 0)


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A file to try again after all lists.

    ``holders`` is the number of its stores that were looked at. ``content`` is what came of it then; without one its
    content is to be taken from the parent, and all stores were ``listed`` when that was seen.
    """

    file: File
    holders: int = 0
    content: FetchedContent | None = None
    listed: bool = False


class KeyedValues(TemporaryDatabase):
    """Values on disk, by their type and a key. A context manager."""

    def __init__(self) -> None:
        super().__init__(_KEPT)

    def put(self, what: str, pairs: Iterable[tuple[str | bytes, object]]) -> None:
        """Keep a value for each key. Where ``pairs`` end in an error, those before it are kept."""
        rows = ((what, key, msgspec.json.encode(value)) for key, value in pairs)
        self._database.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", rows)

    def get(self, what: str, key: str | bytes, of: type[T]) -> T | None:
        """The value that was put there, None for none."""
        found = self._database.execute("SELECT value FROM kept WHERE what = ? AND key = ?", (what, key)).fetchone()
        return msgspec.json.decode(found[0], type=of) if found else None


class FileIndex(TemporaryDatabase):
    """One run's files. A context manager."""

    def __init__(self) -> None:
        super().__init__(_SCHEMA)
        self.wanted = 0
        """How many files were found so far."""

    # -- what is wanted ------------------------------------------------------------------------------

    def want(self, file_id: SourceId, holder: Holder | None = None) -> bool:
        """Add a file, held by the store ``holder`` if given. Returns True the first time."""
        is_new = self._database.execute("INSERT OR IGNORE INTO wanted VALUES (?)", (file_id,)).rowcount == 1
        self.wanted += is_new
        if holder is not None:
            self._database.execute(
                "INSERT INTO holders (id, store, overlap) VALUES (?, ?, ?)", (file_id, holder.store, holder.overlap)
            )
        return is_new

    def wants(self, file_id: SourceId) -> bool:
        """Whether a file was seen."""
        return self._database.execute("SELECT 1 FROM wanted WHERE id = ?", (file_id,)).fetchone() is not None

    def holders(self, file_id: SourceId) -> list[Holder]:
        """The stores that are known to hold a file, in the order in which they were seen."""
        rows = self._database.execute("SELECT store, overlap FROM holders WHERE id = ? ORDER BY place", (file_id,))
        return [Holder(store=SourceId(store), overlap=overlap) for store, overlap in rows]

    # -- what is known -------------------------------------------------------------------------------

    def add_listed(self, records: Iterable[tuple[str, bytes]]) -> None:
        """Keep file records that came out of a list, by id."""
        self._database.executemany("INSERT OR IGNORE INTO listed VALUES (?, ?)", records)

    def listed(self, file_id: SourceId) -> bytes | None:
        """The record of a file, if a list had it."""
        row = self._database.execute("SELECT raw FROM listed WHERE id = ?", (file_id,)).fetchone()
        return bytes(row[0]) if row else None

    # -- what waits ----------------------------------------------------------------------------------

    def wait(self, what: Waiting) -> None:
        """Try this file again after all lists."""
        self._database.execute(
            "INSERT INTO waiting (has_content, what) VALUES (?, ?)",
            (what.content is not None, msgspec.json.encode(what)),
        )

    def lacking(self) -> set[SourceId]:
        """The waiting files without any content. Zips of skills aren't among them: no vector store has them."""
        rows = self._database.execute("SELECT what FROM waiting WHERE has_content = 1 ORDER BY place")
        files = (msgspec.json.decode(what, type=Waiting).file for (what,) in rows)
        return {file.id for file in files if not file.zip}

    def waiting(self, *, content: bool) -> Iterator[Waiting]:
        """All that waits with or without a content, in the order in which it came; what is handed out waits no more."""
        while page := self._database.execute(
            "SELECT place, what FROM waiting WHERE has_content = ? ORDER BY place LIMIT ?", (content, _PAGE)
        ).fetchall():
            # Before they are handed out: what is put back meanwhile comes behind them.
            self._database.execute("DELETE FROM waiting WHERE has_content = ? AND place <= ?", (content, page[-1][0]))
            for _, what in page:
                yield msgspec.json.decode(what, type=Waiting)


class FileRecords:
    """The records of the files that a run wants; ``aclose`` ends the lists."""

    def __init__(self, surveyor: Surveyor, index: FileIndex) -> None:
        self._surveyor, self._index = surveyor, index
        self._asked: Counter[str] = Counter()
        self._done: set[str] = set()
        self._list: AsyncGenerator[list[Record], None] | None = None
        self._purpose = ""
        self._pages = 0
        self._lock = asyncio.Lock()

    async def aclose(self) -> None:
        if self._list is not None:
            await self._list.aclose()

    async def get(self, file_id: SourceId) -> Record | Missing:
        """One file object, its JSON on one line; Missing where the server doesn't know it (any more)."""
        found = self._index.listed(file_id) or await self._listed(file_id)
        if found is not None:
            return Record(kind=Kind.FILE, id=file_id, raw=found)
        record = await self._surveyor.one(Kind.FILE, file_id)
        if isinstance(record, Record):
            self._asked[FileView.of(record).purpose or ""] += 1
        return record

    async def _listed(self, file_id: SourceId) -> bytes | None:
        """Continue the lists, if worth it, until one has the file."""
        async with self._lock:
            while (found := self._index.listed(file_id)) is None and self._worth_a_page():
                await self._read_page()
            return found

    def _worth_a_page(self) -> bool:
        if self._index.wanted <= _PAGE_COST * (self._pages + 1):
            return False
        if self._list is None:
            self._begin()
        return self._list is not None

    def _begin(self) -> None:
        """Begin the list of the purpose that was asked for most, if that was often enough."""
        for purpose, times in self._asked.most_common():
            if times < _PAGE_COST:
                return
            if purpose and purpose not in self._done:
                self._purpose, self._list = purpose, self._surveyor.file_pages(purpose)
                return

    async def _read_page(self) -> None:
        assert self._list is not None
        self._pages += 1
        try:
            page = await anext(self._list, None)
        except REFUSED:
            page = None  # a server without such a list; one by one it is, then
        if page is None:
            self._done.add(self._purpose)
            self._list = None
        else:
            self._index.add_listed((record.id, record.raw) for record in page)
