"""Contents and the records about them, out of an account into a bundle: a lister, workers, a bounded queue between.

Memory stays flat: memberships and file objects go to disk line by line, and so does what is known of each file.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress

from msgspec.structs import replace

from holdall.bundle.digest import record_hash
from holdall.bundle.journal import Stored
from holdall.bundle.layout import LedgerLine
from holdall.bundle.sinks import LineSink, Sink
from holdall.bundle.writer import BundleWriter
from holdall.errors import DamagedBundle, HoldallError, one_error
from holdall.exporter.file_index import File, FileIndex, Waiting
from holdall.exporter.ledger import LedgerWriter, line_of
from holdall.exporter.parent import Parent, ReusedContent
from holdall.exporter.records import FileRecords
from holdall.joining import DEFAULT_OVERLAP, overlap_of
from holdall.model import Fidelity, FileView, Kind, Record, SourceId, StoreView, epoch_seconds
from holdall.progress import Progress
from holdall.remote.client import Account
from holdall.remote.contents import REFUSED, ContentFetcher, FetchedContent, Holder
from holdall.remote.survey import Definitions, Surveyor
from holdall.untrusted import require_id

__all__ = ["Fetch"]

# Small contents become durable when they fill a frame together, or when so many seconds have gone by.
_CHECKPOINT_EVERY = 1.0

Queue = asyncio.Queue[SourceId | Waiting | None]


class _Sinks:
    """The sinks of one file, by fidelity; the content that was committed goes into the bundle with its line."""

    def __init__(self, writer: BundleWriter, file: File, holders: Iterable[Holder]) -> None:
        self._writer, self._file = writer, file
        self._overlaps = {holder.store: holder.overlap for holder in holders}
        self._opened: list[tuple[Sink, SourceId | None]] = []

    def content(self, fidelity: Fidelity) -> Sink:
        size = self._file.size
        return self._open(self._writer.open_content(size if size and size > 0 else None), None)

    def text(self, store_id: SourceId) -> Sink:
        return self._open(self._writer.open_content(text=True), store_id)

    def _open(self, sink: Sink, store_id: SourceId | None) -> Sink:
        self._opened = [*(one for one in self._opened if one[0].is_open), (sink, store_id)]
        return sink

    def add(self, line: LedgerLine) -> Stored:
        sink, store = next(one for one in self._opened if one[0].sha256)
        return self._writer.add_content(
            sink,
            line,
            created_at=epoch_seconds(self._file.view.created_at) if self._file.view else 0,
            record=self._file.record,
            store=store,
            overlap=self._overlaps.get(store, DEFAULT_OVERLAP) if store is not None else None,
        )


class Fetch:
    """One run: a lister that finds files, and workers that fetch them, joined by a bounded queue."""

    def __init__(
        self,
        account: Account,
        surveyor: Surveyor,
        definitions: Definitions,
        writer: BundleWriter,
        progress: Progress,
        register: FileIndex,
        booking: LedgerWriter,
        fetcher: ContentFetcher,
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
        self._fetcher = fetcher
        self._stores = [SourceId(store.id) for store in definitions.store_views]

    async def contents(self) -> None:
        """All contents but those deferred, then the records about them, into the writer."""
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
        for file_id in (*self._surveyor.users(self._definitions.views).files, *self._definitions.files):
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
        async for membership, line in self._surveyor.memberships(store_id, required=False):
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
            others = [record for record in await surveyor.definitions(Kind.STORE) if record.id not in self._stores]
        except REFUSED as error:
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
            except REFUSED as error:
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
        view = hash = None
        if told is not None and self._booking.takes(Kind.FILE, file_id, told.raw):
            files.write(told.raw + b"\n")
            self._booking.record(Kind.FILE, file_id, told.raw)
            view, hash = FileView.of(told), record_hash(Kind.FILE, told.raw)
            self._progress.expect(bytes=view.size or 0)
        gone = None if isinstance(record, Record) else replace(record, held=view is not None)
        return File(id=file_id, view=view, record=hash, gone=gone)

    async def _one(self, file: File) -> None:
        """One file's content by the best way there is: an interrupted run, the parent, the fetcher."""
        if self._keep(file, listed=False):
            return
        taken = self._unchanged(file)
        if taken and taken.best and await self._take(file, taken):
            return
        stores = self._register.stores(file.id)
        # While the parent has the whole text, only what is better than a text is asked for.
        text = not (taken and taken.is_whole_text)
        nothing = await self._fetch(file, text=text)
        if nothing and taken and not taken.best:
            if await self._take(file, taken):
                return
            if not text:
                nothing = await self._fetch(file)
        if nothing:
            self._register.wait(Waiting(file=file, stores=len(stores), content=nothing))

    async def _again(self, waiting: SourceId | Waiting) -> None:
        """The second look at a file."""
        assert isinstance(waiting, Waiting)
        file, nothing = waiting.file, waiting.content
        if nothing is None:
            await self._one(file)
            return
        if self._keep(file, listed=True):
            return
        stores = self._register.stores(file.id)
        if len(stores) > waiting.stores:
            nothing = await self._fetch(file)
        if nothing:
            self._booking.lost(file, nothing)

    def _keep(self, file: File, *, listed: bool) -> bool:
        """Keep what an interrupted run stored, if it is still the content of that file.

        It is where the file's record is the same, or there is no record to be had any more; a text also has to have
        been cut as readers will think that it was. Once all stores were ``listed``, one that doesn't hold the file
        (any more) is known to be no hindrance.
        """
        stored = self._writer.content(file.id)
        if stored is None or not (stored.record == file.record if file.record else file.gone):
            return False
        if stored.store is not None:
            cuts = [holder.overlap for holder in self._holders(file) if holder.store == stored.store]
            if stored.overlap != next(iter(cuts), DEFAULT_OVERLAP if listed else None):
                return False
        self._writer.keep(file.id)
        self._booking.kept(file, stored)
        return True

    def _holders(self, file: File) -> list[Holder]:
        return [
            Holder(store=self._stores[number], overlap=self._register.overlap(file.id, number))
            for number in self._living(self._register.stores(file.id))
        ]

    async def _fetch(self, file: File, *, text: bool = True) -> FetchedContent | None:
        """A file's content by the best way, into bundle and ledger; what was said where nothing was got."""
        holders = self._holders(file)
        sinks = _Sinks(self._writer, file, holders)
        content = await self._fetcher.fetch(file.id, file.view, holders, sinks, text=text)
        if content.fidelity is Fidelity.UNAVAILABLE:
            return content
        self._booking.got(file, await asyncio.to_thread(sinks.add, line_of(file, content)))
        return None

    def _unchanged(self, file: File) -> ReusedContent | None:
        taken = self._parent.find(file.view) if self._parent and file.view and not file.gone else None
        return None if taken and taken.store is not None and self._store_for(file, taken) is None else taken

    async def _take(self, file: File, taken: ReusedContent) -> bool:
        """The parent's content instead of a download, now or later; False where it is damaged there."""
        assert self._parent is not None
        if self._defer:
            self._booking.foresee(file, taken.entry)
            self._register.wait(Waiting(file=file, stores=0))
            return True
        sinks = _Sinks(self._writer, file, self._holders(file))
        store = self._store_for(file, taken)
        sink = sinks.content(taken.line.fidelity) if store is None else sinks.text(store)
        try:
            await asyncio.to_thread(self._parent.copy, taken, sink)
        except DamagedBundle as error:
            self._progress.note(f"{error.message}; it is fetched instead")
            return False
        finally:
            sink.abort()
        line = replace(taken.line, filename=file.filename, expected=file.size)
        self._booking.took(file, await asyncio.to_thread(sinks.add, line))
        return True

    def _store_for(self, file: File, taken: ReusedContent) -> SourceId | None:
        """The store in which a text of the parent lies: the one that its route names, if readers will think that it was
        cut as it was there. None for none, and for no text."""
        cuts = (holder.overlap for holder in self._holders(file) if holder.store == taken.store)
        fits = taken.store is not None and next(cuts, DEFAULT_OVERLAP) == taken.overlap
        return SourceId(taken.store) if fits and taken.store is not None else None
