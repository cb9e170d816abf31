"""Per-file data of one export: which stores hold it, its record, and whether it must be tried again.

Records are requested one by one, or read from the list of files if that takes fewer requests. Neither the number of
wanted files nor the list's length is known in advance. So a purpose's list is begun once its single requests have cost
as much as a page, and continued while its pages cost less than single requests would.

Everything is in a temporary SQLite file, so memory stays flat. Not thread-safe: only the event loop's thread uses it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Container, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from holdall.bundle.partial import Stored
from holdall.join_parts import overlap_of
from holdall.model import FileView, Kind, Record, SourceId
from holdall.progress import Progress
from holdall.remote.client import Account
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
_KEPT = "CREATE TABLE kept (key BLOB, what TEXT, value BLOB NOT NULL, PRIMARY KEY (key, what)) WITHOUT ROWID"
_PAGE = 500
_HOLDS = "INSERT INTO holders (id, store, overlap) VALUES (?, ?, ?)"
_WAITS = "INSERT INTO waiting (has_content, what) VALUES (?, ?)"
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
    content is to be taken from the parent, which has it as ``stored``, and all stores were ``listed`` when that was
    seen.
    """

    file: File
    holders: int = 0
    content: FetchedContent | None = None
    stored: Stored | None = None
    listed: bool = False


_encode = msgspec.json.Encoder().encode
_waiting = msgspec.json.Decoder(Waiting).decode


class KeyedValues(TemporaryDatabase):
    """Values on disk, by a key and what they are. A context manager."""

    def __init__(self) -> None:
        super().__init__(_KEPT)

    def put(self, what: str, pairs: Iterable[tuple[str | bytes, object]]) -> None:
        """Keep a value for each key. Where ``pairs`` end in an error, those before it are kept."""
        rows = ((key, what, _encode(value)) for key, value in pairs)
        self._database.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", rows)

    def get(self, what: str, key: str | bytes, of: type[T]) -> T | None:
        """The value that was put there, None for none."""
        found = self._database.execute("SELECT value FROM kept WHERE key = ? AND what = ?", (key, what)).fetchone()
        return msgspec.json.decode(found[0], type=of) if found else None

    def all(self, key: str | bytes) -> dict[str, bytes]:
        """Everything that was put under a key, as JSON."""
        return dict(self._database.execute("SELECT what, value FROM kept WHERE key = ?", (key,)))


class FileIndex(TemporaryDatabase):
    """One run's files. A context manager."""

    def __init__(self) -> None:
        super().__init__(_SCHEMA)
        self.wanted = 0
        """How many files were found so far."""
        # Rows that nobody has asked for yet: many at once take a third of the time.
        self._fresh: dict[str, list[tuple[Any, ...]]] = {_HOLDS: [], _WAITS: []}

    # -- what is wanted ------------------------------------------------------------------------------

    def want(self, file_id: SourceId, holder: Holder | None = None) -> bool:
        """Add a file, held by the store ``holder`` if given. Returns True the first time."""
        is_new = self._database.execute("INSERT OR IGNORE INTO wanted VALUES (?)", (file_id,)).rowcount == 1
        self.wanted += is_new
        if holder is not None:
            self._add(_HOLDS, (file_id, holder.store, holder.overlap))
        return is_new

    def wants(self, file_id: SourceId) -> bool:
        """Whether a file was seen."""
        return self._database.execute("SELECT 1 FROM wanted WHERE id = ?", (file_id,)).fetchone() is not None

    def holders(self, file_id: SourceId) -> list[Holder]:
        """The stores that are known to hold a file, in the order in which they were seen."""
        self._write(_HOLDS)
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
        self._add(_WAITS, (what.content is not None, _encode(what)))

    def lacking(self) -> set[SourceId]:
        """The waiting files without any content. Zips of skills aren't among them: no vector store has them."""
        self._write(_WAITS)
        rows = self._database.execute("SELECT what FROM waiting WHERE has_content = 1 ORDER BY place")
        files = (_waiting(what).file for (what,) in rows)
        return {file.id for file in files if not file.zip}

    def waiting(self, *, content: bool) -> Iterator[Waiting]:
        """All that waits with or without a content, in the order in which it came; what is handed out waits no more."""
        while page := self._page(content=content):
            # Before they are handed out: what is put back meanwhile comes behind them.
            self._database.execute("DELETE FROM waiting WHERE has_content = ? AND place <= ?", (content, page[-1][0]))
            for _, what in page:
                yield _waiting(what)

    # -- inside ----------------------------------------------------------------------------------------

    def _page(self, *, content: bool) -> list[tuple[int, bytes]]:
        """The first of those that wait, and their places."""
        self._write(_WAITS)
        rows = self._database.execute(
            "SELECT place, what FROM waiting WHERE has_content = ? ORDER BY place LIMIT ?", (content, _PAGE)
        )
        return rows.fetchall()

    def _add(self, statement: str, row: tuple[Any, ...]) -> None:
        """Add a row soon, or when such rows are asked for."""
        rows = self._fresh[statement]
        rows.append(row)
        if len(rows) >= _PAGE:
            self._write(statement)

    def _write(self, statement: str) -> None:
        if rows := self._fresh[statement]:
            self._fresh[statement] = []
            self._database.executemany(statement, rows)


class FileRecords:
    """The records of the files that a run wants; ``aclose`` ends the lists."""

    def __init__(self, surveyor: Surveyor, index: FileIndex, purposes: Mapping[str, int] | None = None) -> None:
        """``purposes`` count the files that an earlier bundle had: as if those had been asked for."""
        self._surveyor, self._index = surveyor, index
        self._asked: Counter[str] = Counter(purposes)
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


async def search_stores(
    account: Account, index: FileIndex, lacking: set[SourceId], listed: Container[str], progress: Progress
) -> None:
    """Note which of the project's stores that were not ``listed`` hold one of the files ``lacking``. Only their lists
    are read."""
    surveyor = Surveyor(account)  # whose doubts are nobody's: what is listed here isn't exported
    try:
        others = await surveyor.definitions(Kind.STORE)
    except REFUSED as error:
        progress.note(f"missing files were not searched for in other vector stores: {error.message}")
        return
    for record in others:
        if not lacking:
            return
        if record.id in listed:
            continue
        try:
            async for membership, _ in surveyor.memberships(record.id):
                if membership.id in lacking:
                    overlap = overlap_of(membership.chunking_strategy)
                    index.want(SourceId(membership.id), Holder(store=record.id, overlap=overlap))
                    lacking.discard(SourceId(membership.id))
        except REFUSED as error:
            progress.note(f"missing files were not searched for in {record.id}: {error.message}", kind="store unread")
