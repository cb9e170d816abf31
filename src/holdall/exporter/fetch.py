"""Contents and the records about them, out of an account into a bundle: a lister, workers, a bounded queue between.

Memory stays flat: memberships and file objects go to disk line by line, and so does what is known of each file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from msgspec.structs import replace

from holdall.bundle.sinks import LineSink, Sink
from holdall.bundle.writer import BundleWriter
from holdall.errors import (
    DamagedBundle,
    HoldallError,
    NotFound,
    PermissionDenied,
    RequestRefused,
    ServerFailed,
    UnexpectedAnswer,
    one_error,
)
from holdall.exporter.booking import Booking
from holdall.exporter.parent import Parent, Taken
from holdall.exporter.records import FileRecords
from holdall.exporter.register import File, Register, Waiting
from holdall.joining import DEFAULT_OVERLAP, overlap_of
from holdall.model import FileView, Kind, Record, Rung, SourceId, StoreView, epoch_seconds
from holdall.progress import Progress
from holdall.remote.client import Account
from holdall.remote.contents import Content, Holder, Ladder
from holdall.remote.survey import Definitions, Surveyor
from holdall.untrusted import require_id

__all__ = ["Fetch"]

# Small contents become durable when they fill a frame together, or when so many seconds have gone by.
_CHECKPOINT_EVERY = 1.0
_REFUSED = (NotFound, RequestRefused, PermissionDenied, ServerFailed, UnexpectedAnswer)

Queue = asyncio.Queue[SourceId | Waiting | None]


class _Sinks:
    """The rungs' sinks of one file in the bundle."""

    def __init__(self, writer: BundleWriter, file: File) -> None:
        self._writer, self._file = writer, file
        self._created_at = epoch_seconds(file.view.created_at) if file.view else 0

    def content(self, rung: Rung) -> Sink:
        size = self._file.size
        return self._writer.open_content(
            self._file.id,
            self._file.filename,
            rung=rung,
            created_at=self._created_at,
            size_hint=size if size and size > 0 else None,
        )

    def text(self, store_id: SourceId) -> Sink:
        return self._writer.open_text(store_id, self._file.id, self._file.filename, created_at=self._created_at)


class Fetch:
    """One run: a lister that finds files, and workers that fetch them, joined by a bounded queue."""

    def __init__(
        self,
        account: Account,
        surveyor: Surveyor,
        definitions: Definitions,
        writer: BundleWriter,
        progress: Progress,
        register: Register,
        booking: Booking,
        ladder: Ladder,
        *,
        parent: Parent | None = None,
        defer: bool = False,
    ) -> None:
        """``parent`` has contents of an earlier bundle; with ``defer`` they are taken in ``take_deferred`` only."""
        self._account, self._surveyor, self._definitions, self._writer, self._progress = (
            account,
            surveyor,
            definitions,
            writer,
            progress,
        )
        self._register, self._booking, self._parent, self._defer = register, booking, parent, defer
        self._workers = account.limits.concurrency
        self._ladder = ladder
        self._stores = [SourceId(store.id) for store in definitions.store_views]

    async def contents(self) -> None:
        """All contents but those deferred, then the records about them, into the writer."""
        self._register.remember(self._writer.earlier_ledger())
        self._progress.stage("files")
        with self._writer.open_files() as files:
            async with FileRecords(self._surveyor, self._register) as records:

                async def one(found: SourceId | Waiting) -> None:
                    assert isinstance(found, str)
                    await self._one(await self._identified(found, records, files))

                await self._each(self._list, one)
                await self._look_elsewhere()
                # A store that was listed later may have the text that an earlier one had not.
                await self._each(self._waiting(content=True), self._again)
            await asyncio.to_thread(files.commit)

    async def take_deferred(self, *, read: bool) -> None:
        """Bring what was deferred to its end: contents out of the parent, or only their places in the books."""
        self._defer = False
        if read:
            await self._each(self._waiting(content=False), self._again)
            await self._each(self._waiting(content=True), self._again)  # what turned out to be damaged, and is gone
            return
        for waiting in self._register.waiting(content=False):
            if (taken := self._unchanged(waiting.file)) is not None:
                self._booking.unread(waiting.file, taken.line, taken.entry)

    # -- listing ---------------------------------------------------------------------------------------

    async def _list(self, queue: Queue) -> None:
        for number, store in enumerate(self._definitions.store_views):
            await self._list_store(number, store, queue)
        # After the stores, because a file of both tools may have its text in one of them.
        for file_id in (*self._surveyor.tool_files(self._definitions.views), *self._definitions.files):
            await self._found(queue, file_id)

    async def _list_store(self, number: int, store: StoreView, queue: Queue) -> None:
        store_id = SourceId(store.id)
        with self._writer.open_memberships(store_id) as lines:
            count = 0
            async for file_id, line, overlap in self._memberships(store_id):
                count += 1
                if self._booking.takes(Kind.MEMBERSHIP, file_id, line, store_id):
                    lines.write(line + b"\n")
                    self._booking.record(Kind.MEMBERSHIP, file_id, line, store_id)
                self._register.cut(file_id, number, overlap)
                await self._found(queue, file_id, number)
            await asyncio.to_thread(lines.commit)
        if store_id not in self._definitions.memberships:
            self._booking.store(store_id, store.total, count)

    async def _memberships(self, store_id: SourceId) -> AsyncIterator[tuple[SourceId, bytes, int]]:
        """Each membership's file, its record, and how many tokens the parts of the file's text share."""
        if store_id in self._definitions.memberships:
            for record in self._definitions.memberships[store_id]:
                yield record.id, record.raw, DEFAULT_OVERLAP
            return
        async for membership, line in self._surveyor.memberships(store_id):
            yield SourceId(membership.id), line, overlap_of(membership.chunking_strategy)

    async def _found(self, queue: Queue, file_id: SourceId, store: int | None = None) -> None:
        """A file was seen: remember the store that holds it; fetch it the first time."""
        if self._register.want(file_id, store):
            try:
                require_id(file_id)
            except ValueError as error:
                self._booking.unfit(Kind.FILE, file_id, f"no bundle can hold it: {error}")
                return
            self._progress.expect(files=1)
            await queue.put(file_id)

    async def _look_elsewhere(self) -> None:
        """For files of which nothing was got, and that no store of the definitions has: the project's other stores.

        Files of the code interpreter may be in one, and those of definitions from before there were stores were put
        into some. They are read no further than to see which of the files they have.
        """
        lacking = {id for id in self._register.lacking() if not self._living(self._register.stores(id))}
        if not lacking:
            return
        self._progress.stage("looking for files in other vector stores")
        surveyor = Surveyor(self._account)  # whose doubts are nobody's: what is listed here isn't exported
        try:
            others = [record for record in await surveyor.stores() if record.id not in self._stores]
        except _REFUSED as error:
            self._progress.note(f"files that could not be got are not looked for in other stores: {error.message}")
            return
        for record in others:
            if not lacking:
                return
            number = len(self._stores)
            self._stores.append(record.id)
            try:
                async for membership, _ in surveyor.memberships(record.id):
                    if membership.id in lacking:
                        self._register.want(SourceId(membership.id), number)
                        self._register.cut(SourceId(membership.id), number, overlap_of(membership.chunking_strategy))
                        lacking.discard(SourceId(membership.id))
            except _REFUSED as error:
                self._progress.note(f"files that could not be got are not looked for in {record.id}: {error.message}")

    def _living(self, numbers: Iterable[int]) -> list[int]:
        """Those of the stores that the server has; others are there by the word of a dump only."""
        return [number for number in numbers if self._stores[number] not in self._definitions.memberships]

    def _waiting(self, *, content: bool) -> Callable[[Queue], Awaitable[None]]:
        async def feed(queue: Queue) -> None:
            for waiting in self._register.waiting(content=content):
                await queue.put(waiting)

        return feed

    async def _each(
        self, feed: Callable[[Queue], Awaitable[None]], work: Callable[[SourceId | Waiting], Awaitable[None]]
    ) -> None:
        """``work`` on all that ``feed`` puts into the queue, so many at once as requests may be."""
        queue: Queue = asyncio.Queue(maxsize=64 * self._workers)

        async def feeding() -> None:
            await feed(queue)
            for _ in range(self._workers):
                await queue.put(None)

        async def working() -> None:
            while (found := await queue.get()) is not None:
                await work(found)

        with one_error():
            async with self._checkpoints(), asyncio.TaskGroup() as group:
                group.create_task(feeding())
                for _ in range(self._workers):
                    group.create_task(working())

    @asynccontextmanager
    async def _checkpoints(self) -> AsyncIterator[None]:
        async def tick() -> None:
            while True:
                await asyncio.sleep(_CHECKPOINT_EVERY)
                await asyncio.to_thread(self._writer.checkpoint)

        ticking = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticking.cancel()
            # What went wrong in there, a full disk, is what the next content meets too.
            with suppress(asyncio.CancelledError, HoldallError):
                await ticking

    # -- one file --------------------------------------------------------------------------------------

    async def _identified(self, file_id: SourceId, records: FileRecords, files: LineSink) -> File:
        """A file's record, into the bundle and read."""
        record = await records.get(file_id)
        # A file that is gone may still be known to the dump that named it.
        told = record if isinstance(record, Record) else self._definitions.file_records.get(file_id)
        view = None
        if told is not None and self._booking.takes(Kind.FILE, file_id, told.raw):
            files.write(told.raw + b"\n")
            self._booking.record(Kind.FILE, file_id, told.raw)
            view = FileView.of(told)
            self._progress.expect(bytes=view.size or 0)
        gone = None if isinstance(record, Record) else replace(record, held=view is not None)
        return File(id=file_id, view=view, gone=gone)

    async def _one(self, file: File) -> None:
        """One file's content by the best way there is: an interrupted run, the parent, the ladder."""
        if entry := self._writer.content(file.id):
            self._booking.kept(file, entry)
            return
        taken = self._unchanged(file)
        if taken and taken.best and await self._take(file, taken):
            return
        stores = self._register.stores(file.id)
        # While the parent has the whole text, only what is better than a text is asked for.
        text = not (taken and taken.is_whole_text)
        content = await self._fetch(file, stores, text=text)
        if content.rung is Rung.UNAVAILABLE and taken and not taken.best:
            if await self._take(file, taken):
                return
            if not text:
                content = await self._fetch(file, stores)
        if content.rung is Rung.UNAVAILABLE:
            self._register.wait(Waiting(file=file, stores=len(stores), content=content))
        else:
            self._booking.got(file, content)

    async def _again(self, waiting: SourceId | Waiting) -> None:
        """The second look at a file."""
        assert isinstance(waiting, Waiting)
        file, content = waiting.file, waiting.content
        if content is None:
            await self._one(file)
            return
        stores = self._register.stores(file.id)
        if len(stores) > waiting.stores:
            content = await self._fetch(file, stores)
        self._booking.got(file, content)

    async def _fetch(self, file: File, stores: list[int], *, text: bool = True) -> Content:
        holders = [
            Holder(store=self._stores[number], overlap=self._register.overlap(file.id, number))
            for number in self._living(stores)
        ]
        return await self._ladder.fetch(file.id, file.view, lambda: holders, _Sinks(self._writer, file), text=text)

    def _unchanged(self, file: File) -> Taken | None:
        return self._parent.find(file.view) if self._parent and file.view and not file.gone else None

    async def _take(self, file: File, taken: Taken) -> bool:
        """The parent's content instead of a download, now or later; False where it is damaged there."""
        assert self._parent is not None
        if self._defer:
            self._booking.foresee(file, taken.entry)
            self._register.wait(Waiting(file=file, stores=0))
            return True
        sink = self._sink_for(file, taken)
        try:
            entry = await asyncio.to_thread(self._parent.copy, taken, sink)
        except DamagedBundle as error:
            self._progress.note(f"{error.message}; it is fetched instead")
            return False
        finally:
            sink.abort()
        self._booking.took(file, taken.line, entry)
        return True

    def _sink_for(self, file: File, taken: Taken) -> Sink:
        sinks = _Sinks(self._writer, file)
        if taken.line.rung is not Rung.TEXT:
            return sinks.content(taken.line.rung)
        # Under the store that it was read from, as the ledger's route says.
        assert self._parent is not None
        return sinks.text(SourceId(self._parent.store_of(taken)))
