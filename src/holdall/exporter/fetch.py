"""Contents and the records about them, out of an account into a bundle: a lister, workers, a bounded queue between.

Memory stays flat: memberships and file objects go to disk line by line; held are ids alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from holdall.bundle.layout import IndexEntry, LedgerLine
from holdall.bundle.sinks import LineSink, Sink
from holdall.bundle.writer import BundleWriter
from holdall.errors import HoldallError
from holdall.exporter.report import Finding, Loss, Miscount, absent
from holdall.model import FileView, Record, Rung, SourceId, StoreView, epoch_seconds
from holdall.progress import Progress
from holdall.remote.client import Account
from holdall.remote.contents import Content, Ladder
from holdall.remote.survey import Definitions, Missing, Surveyor

__all__ = ["Fetch"]


class _Sinks:
    """The rungs' sinks of one file in the bundle."""

    def __init__(self, writer: BundleWriter, file_id: SourceId, file: FileView | None) -> None:
        self._writer, self._file_id = writer, file_id
        self._filename = file.filename if file else None
        self._created_at = epoch_seconds(file.created_at) if file else 0
        self._size = int(file.bytes) if file and file.bytes and file.bytes > 0 else None

    def content(self, rung: Rung) -> Sink:
        return self._writer.open_content(
            self._file_id,
            self._filename,
            rung=rung,
            created_at=self._created_at,
            size_hint=self._size,
        )

    def text(self, store_id: SourceId) -> Sink:
        return self._writer.open_text(store_id, self._file_id, self._filename, created_at=self._created_at)


class Fetch:
    """One run: a lister that finds files, and workers that fetch them, joined by a bounded queue."""

    def __init__(
        self, account: Account, surveyor: Surveyor, definitions: Definitions, writer: BundleWriter, progress: Progress
    ) -> None:
        self._surveyor, self._definitions, self._writer, self._progress = surveyor, definitions, writer, progress
        self._workers = account.limits.concurrency
        self._ladder = Ladder(account, progress=progress)
        self._queue: asyncio.Queue[SourceId | None] = asyncio.Queue(maxsize=64 * self._workers)
        self._stores_of: dict[SourceId, list[SourceId]] = {}
        self._tool_users: dict[str, list[str]] = {}
        self._store_users: dict[str, list[str]] = {}
        for view in definitions.views:
            for store_id in view.store_ids:
                self._store_users.setdefault(store_id, []).append(view.id)
            for file_id in view.file_ids:
                self._tool_users.setdefault(file_id, []).append(view.id)
        # Files without content so far, with the number of stores that had been asked for their text.
        self._poor: list[tuple[SourceId, FileView | None, Record | Missing, Content, int]] = []
        self.rungs: dict[Rung, int] = {}
        self.losses: list[Finding] = [absent(missing) for missing in definitions.missing]

    async def contents(self) -> None:
        """All contents, then the records about them, into the writer."""
        files = self._writer.open_files()
        self._progress.stage("files")
        async with _one_error(), asyncio.TaskGroup() as group:
            group.create_task(self._list())
            for _ in range(self._workers):
                group.create_task(self._work(files))
        await self._last_resort()
        await asyncio.to_thread(files.commit)

    async def _list(self) -> None:
        for store in self._definitions.store_views:
            await self._list_store(store)
        # After the stores, because a file of both tools may have its text in one of them.
        for file_id in (*self._surveyor.tool_files(self._definitions.views), *self._definitions.files):
            await self._found(file_id)
        for _ in range(self._workers):
            await self._queue.put(None)

    async def _list_store(self, store: StoreView) -> None:
        store_id = SourceId(store.id)
        lines = self._writer.open_memberships(store_id)
        if store_id in self._definitions.memberships:
            for record in self._definitions.memberships[store_id]:
                lines.write(record.raw + b"\n")
                await self._found(record.id, store_id)
            await asyncio.to_thread(lines.commit)
            return
        count = 0
        async for membership, line in self._surveyor.memberships(store_id):
            lines.write(line + b"\n")
            count += 1
            await self._found(SourceId(membership.id), store_id)
        await asyncio.to_thread(lines.commit)
        said = store.file_counts.total if store.file_counts else None
        if said is not None and int(said) != count:
            self.losses.append(Miscount(id=store.id, what="files of a vector store", counted=int(said), found=count))

    async def _found(self, file_id: SourceId, store_id: SourceId | None = None) -> None:
        """A file was seen: remember the store that holds it; fetch it the first time."""
        known = file_id in self._stores_of
        stores = self._stores_of.setdefault(file_id, [])
        if store_id is not None:
            stores.append(store_id)
        if not known:
            self._progress.expect(files=1)
            await self._queue.put(file_id)

    async def _work(self, files: LineSink) -> None:
        while (file_id := await self._queue.get()) is not None:
            record = await self._surveyor.file(file_id)
            view = None
            # A file that is gone may still be known to the dump that named it.
            told = record if isinstance(record, Record) else self._definitions.file_records.get(file_id)
            if told is not None:
                files.write(told.raw + b"\n")
                view = msgspec.json.decode(told.raw, type=FileView)
                self._progress.expect(bytes=int(view.bytes or 0))
            if kept := self._writer.content(file_id):
                self._rebook(file_id, view, record, kept)
                continue
            asked = len(self._stores_of[file_id])
            content = await self._fetch(file_id, view)
            if content.rung is Rung.UNAVAILABLE:
                self._poor.append((file_id, view, record, content, asked))
            else:
                self._book(file_id, view, record, content)

    async def _fetch(self, file_id: SourceId, view: FileView | None) -> Content:
        stores = self._stores_of[file_id]
        return await self._ladder.fetch(file_id, view, lambda: stores, _Sinks(self._writer, file_id, view))

    async def _last_resort(self) -> None:
        """Ask the stores that were not known yet to hold a file when it was its turn, then book it either way."""
        for file_id, view, record, content, asked in self._poor:
            if len(self._stores_of[file_id]) > asked:
                content = await self._fetch(file_id, view)
            self._book(file_id, view, record, content)

    def _book(self, file_id: SourceId, view: FileView | None, record: Record | Missing, content: Content) -> None:
        """Enter one file into the ledger, and among the losses where it isn't there byte for byte."""
        entry = self._writer.content(file_id) if content.rung is not Rung.UNAVAILABLE else None
        self._writer.add_ledger(
            LedgerLine(
                id=file_id,
                filename=view.filename if view else None,
                rung=content.rung,
                path=entry.path if entry else None,
                expected=_size(view),
                size=content.size,
                route=content.route,
                status=content.status,
                code=content.code,
                message=content.message,
                truncated=content.truncated,
            )
        )
        self._tally(file_id, view, record, content)

    def _rebook(self, file_id: SourceId, view: FileView | None, record: Record | Missing, kept: IndexEntry) -> None:
        """A content that an interrupted run has stored; its line in the ledger is kept too."""
        size = kept.size
        self._progress.advance(bytes=size)
        self._tally(file_id, view, record, Content(rung=kept.rung or Rung.ORIGINAL, size=size))

    def _tally(self, file_id: SourceId, view: FileView | None, record: Record | Missing, content: Content) -> None:
        self._progress.advance(files=1)
        self.rungs[content.rung] = self.rungs.get(content.rung, 0) + 1
        expected = _size(view)
        if isinstance(record, Missing):
            self.losses.append(absent(record, self._used_by(file_id)))
        if content.rung is not Rung.ORIGINAL:
            self.losses.append(
                Loss(
                    id=file_id,
                    filename=view.filename if view else None,
                    rung=content.rung,
                    expected=expected,
                    used_by=self._used_by(file_id),
                    status=content.status,
                    code=content.code,
                    message=content.message,
                    truncated=content.truncated,
                )
            )
        elif expected is not None and content.size is not None and expected != content.size:
            self.losses.append(Miscount(id=file_id, what="bytes of a file", counted=expected, found=content.size))

    def _used_by(self, file_id: SourceId) -> list[str]:
        users = list(self._tool_users.get(file_id, ()))
        for store_id in self._stores_of.get(file_id, ()):
            users.extend(self._store_users.get(store_id, ()))
        return list(dict.fromkeys(users))


def _size(view: FileView | None) -> int | None:
    return int(view.bytes) if view and view.bytes is not None else None


@asynccontextmanager
async def _one_error() -> AsyncIterator[None]:
    """Out of a task group's ExceptionGroup the one error that a caller can act upon."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves: list[BaseException] = []
        stack: list[BaseException] = [group]
        while stack:
            error = stack.pop()
            if isinstance(error, BaseExceptionGroup):
                stack.extend(error.exceptions)
            else:
                leaves.append(error)
        raise next((leaf for leaf in leaves if isinstance(leaf, HoldallError)), leaves[0]) from None
