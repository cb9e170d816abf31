"""File objects by id: one by one, or out of the list of files where that takes fewer requests.

How many files will be wanted is not known while lists are still being read, nor how long the list of files is. So the
list of a purpose is begun once so many of its files were asked for one by one as a page costs, and goes on as long as
its pages cost less than asking for what is wanted would.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator

import msgspec

from holdall.exporter.file_index import FileIndex
from holdall.model import FileView, Kind, MembershipView, Record, SourceId
from holdall.remote.contents import REFUSED
from holdall.remote.survey import Missing, Surveyor
from holdall.untrusted import NotJson, require_record

__all__ = ["FileRecords", "unfit"]

# What a page of up to 10,000 records may cost, in requests for one record each.
_PAGE_COST = 20


def unfit(raw: bytes, store: str | None = None) -> str:
    """Why no bundle can hold a record, of a membership in ``store``; ``""`` where one can."""
    try:
        id = require_record(raw).id
    except NotJson as error:
        return f"its record is not JSON that a bundle can hold: {error}"
    except msgspec.MsgspecError as error:
        return f"its record is not of a shape known here ({error})"
    except ValueError as error:
        return f"its record is over the limits of a bundle: {error}"
    if store is not None:
        other = MembershipView.of(Record(kind=Kind.MEMBERSHIP, id=SourceId(id), raw=raw)).vector_store_id
        if other and other != store:
            return f"its record is that of another vector store, {other}"
    return ""


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
        """Read on in the lists, if they are worth it, until one of them has the file."""
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
