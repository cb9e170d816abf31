"""Fetches contents and their records from an account into a bundle: a lister, workers, and a bounded queue.

Memory stays flat: memberships, file objects and per-file data go to disk. The owner's originals and containers, for
contents that the server refuses, are used only on request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

from holdall.bundle.digest import record_hash
from holdall.bundle.journal import Stored
from holdall.bundle.layout import LedgerLine
from holdall.bundle.sinks import LineSink, Sink
from holdall.bundle.writer import BundleWriter
from holdall.errors import DamagedBundle, HoldallError, one_error
from holdall.exporter.earlier import Parent, ReusedContent
from holdall.exporter.file_index import File, FileRecords, Waiting
from holdall.exporter.ledger import LedgerWriter, ledger_line
from holdall.join_parts import DEFAULT_OVERLAP, overlap_of
from holdall.model import Fidelity, FileView, Kind, Record, SourceId, StoreView, epoch_seconds
from holdall.originals import Originals
from holdall.progress import Progress
from holdall.remote.client import Account
from holdall.remote.containers import Containers
from holdall.remote.contents import REFUSED, ContentFetcher, FetchedContent, Holder
from holdall.remote.survey import Definitions, Surveyor
from holdall.untrusted import require_id

# Small contents become durable when they fill a frame together, or when so many seconds have gone by.
_CHECKPOINT_EVERY = 1.0

T = TypeVar("T")
Queue: TypeAlias = asyncio.Queue[T | None]
"""What is to be worked on; None at its end, once for each worker."""


class Fallbacks(msgspec.Struct, frozen=True, kw_only=True):
    """``originals`` is the owner's folder; ``containers`` the name that containers get, unlike any other's. None: not
    used."""

    originals: Path | None = None
    containers: str | None = None


@asynccontextmanager
async def open_fetcher(
    account: Account, fallbacks: Fallbacks, progress: Progress
) -> AsyncIterator[tuple[ContentFetcher, Containers | None]]:
    """A fetcher with these fallbacks, and the containers that it uses. On leaving, every container that was made is
    deleted, whatever happened.

    Raises UsageFault where the folder is none.
    """
    async with AsyncExitStack() as stack:
        originals = containers = None
        if fallbacks.originals:
            progress.stage(f"Reading originals in {fallbacks.originals}")
            originals = stack.enter_context(await asyncio.to_thread(Originals, fallbacks.originals))
            for note in originals.notes():
                progress.note(note)
        if fallbacks.containers:
            containers = await stack.enter_async_context(Containers(account, name=fallbacks.containers))
        yield ContentFetcher(account, originals=originals, containers=containers), containers


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
        ledger: LedgerWriter,
        fetcher: ContentFetcher,
        *,
        parent: Parent | None = None,
        defer: bool = False,
    ) -> None:
        """``parent`` has contents of an earlier bundle; with ``defer`` they are reused in ``take_deferred`` only."""
        self._account, self._surveyor, self._definitions = account, surveyor, definitions
        self._ledger, self._index, self._writer, self._progress = ledger, ledger.index, ledger.writer, ledger.progress
        self._fetcher, self._parent, self._defer = fetcher, parent, defer
        self._workers = account.limits.concurrency
        self._downloading = f"Downloading files from {account.endpoint.host}"

    async def contents(self) -> None:
        """Write all contents but the deferred ones, then their records."""
        self._progress.stage(self._downloading)
        with self._writer.open_files() as files:
            async with aclosing(FileRecords(self._surveyor, self._index)) as records:

                async def one(file_id: SourceId) -> None:
                    await self._first_look(await self._file(file_id, records, files))

                await self._each(self._list, one)
                await self._look_elsewhere()
                self._progress.stage(self._downloading)
                # A store that was listed later may have the text that an earlier one had not.
                await self._look_again(content=True)
            await asyncio.to_thread(files.commit)

    async def take_deferred(self, *, read: bool) -> None:
        """Finish what was deferred: ``read`` the contents out of the parent, or only count them."""
        self._defer = False
        if read:
            await self._look_again(content=False)
            await self._look_again(content=True)  # what turned out to be damaged, and is gone
            return
        for waiting in self._index.waiting(content=False):
            if (reused := self._unchanged(waiting.file)) is not None:
                self._ledger.reused(waiting.file, Stored(entry=reused.entry, ledger=reused.line))

    # -- listing ---------------------------------------------------------------------------------------

    async def _list(self, queue: Queue[SourceId]) -> None:
        for store in self._definitions.store_views:
            await self._list_store(store, queue)
        # After the stores, because a file of both tools may have its text in one of them.
        for file_id in (*self._surveyor.users(self._definitions.views).files, *self._definitions.files):
            await self._found(queue, file_id)
        self._progress.expect(last=True)

    async def _list_store(self, store: StoreView, queue: Queue[SourceId]) -> None:
        store_id = SourceId(store.id)
        with self._writer.open_memberships(store_id) as lines:
            count = 0
            async for file_id, line, overlap in self._memberships(store_id):
                count += 1
                if self._ledger.takes(Kind.MEMBERSHIP, file_id, line, store_id):
                    lines.write(line + b"\n")
                await self._found(queue, file_id, Holder(store=store_id, overlap=overlap))
            lines.commit()
        if store_id not in self._definitions.memberships:
            self._ledger.store(store_id, store.total, count)

    async def _memberships(self, store_id: SourceId) -> AsyncIterator[tuple[SourceId, bytes, int]]:
        """Each membership's file, its record, and how many tokens the parts of the file's text share."""
        if store_id in self._definitions.memberships:
            for record in self._definitions.memberships[store_id]:
                yield record.id, record.raw, DEFAULT_OVERLAP
            return
        async for membership, line in self._surveyor.memberships(store_id, required=False):
            yield SourceId(membership.id), line, overlap_of(membership.chunking_strategy)

    async def _found(self, queue: Queue[SourceId], file_id: SourceId, holder: Holder | None = None) -> None:
        """Note that a store holds the file; queue it the first time."""
        if self._index.want(file_id, holder):
            try:
                require_id(file_id)
            except ValueError as error:
                self._ledger.unfit(Kind.FILE, file_id, f"exceeds the limits of a bundle: {error}")
                return
            self._progress.expect(files=1)
            await queue.put(file_id)

    async def _look_elsewhere(self) -> None:
        """Look in the project's other stores for files still missing and in no store of the definitions.

        Files of the code interpreter may be in one, and files of v1 definitions were put into some. Only their lists
        are read.
        """
        lacking = {id for id in self._index.lacking() if not self._holders(id)}
        if not lacking:
            return
        self._progress.stage(f"Searching other vector stores of {self._account.endpoint.host}")
        surveyor = Surveyor(self._account)  # whose doubts are nobody's: what is listed here isn't exported
        try:
            others = await surveyor.definitions(Kind.STORE)
        except REFUSED as error:
            self._progress.note(f"missing files were not searched for in other vector stores: {error.message}")
            return
        listed = {store.id for store in self._definitions.store_views}
        for record in others:
            if not lacking:
                return
            if record.id in listed:
                continue
            try:
                async for membership, _ in surveyor.memberships(record.id):
                    if membership.id in lacking:
                        overlap = overlap_of(membership.chunking_strategy)
                        self._index.want(SourceId(membership.id), Holder(store=record.id, overlap=overlap))
                        lacking.discard(SourceId(membership.id))
            except REFUSED as error:
                self._progress.note(
                    f"missing files were not searched for in {record.id}: {error.message}", kind="store unread"
                )

    async def _look_again(self, *, content: bool) -> None:
        async def feed(queue: Queue[Waiting]) -> None:
            for waiting in self._index.waiting(content=content):
                await queue.put(waiting)

        await self._each(feed, self._second_look)

    async def _each(self, feed: Callable[[Queue[T]], Awaitable[None]], work: Callable[[T], Awaitable[None]]) -> None:
        """``work`` on all that ``feed`` puts into the queue, so many at once as requests may be."""
        # Bounded: a lister that is faster than the contents waits, and memory stays flat.
        queue: Queue[T] = asyncio.Queue(maxsize=64 * self._workers)

        async def feeding() -> None:
            await feed(queue)
            for _ in range(self._workers):
                await queue.put(None)

        async def working() -> None:
            while (found := await queue.get()) is not None:
                await work(found)

        checkpoints = asyncio.create_task(self._checkpoints())
        try:
            with one_error():
                async with asyncio.TaskGroup() as group:
                    group.create_task(feeding())
                    for _ in range(self._workers):
                        group.create_task(working())
        finally:
            checkpoints.cancel()
            # What went wrong in there, a full disk, is what the next content meets too.
            with suppress(asyncio.CancelledError, HoldallError):
                await checkpoints

    async def _checkpoints(self) -> None:
        while True:
            await asyncio.sleep(_CHECKPOINT_EVERY)
            await asyncio.to_thread(self._writer.checkpoint)

    # -- one file --------------------------------------------------------------------------------------

    async def _file(self, file_id: SourceId, records: FileRecords, files: LineSink) -> File:
        """Add a file's record to the bundle, and return it decoded."""
        record = await records.get(file_id)
        # A file that is gone may still be known to the dump that named it.
        told = record if isinstance(record, Record) else self._definitions.file_records.get(file_id)
        view = hash = None
        if told is not None and self._ledger.takes(Kind.FILE, file_id, told.raw):
            files.write(told.raw + b"\n")
            view, hash = FileView.of(told), record_hash(Kind.FILE, told.raw)
            self._progress.expect(bytes=max(0, view.size or 0))
        gone = None if isinstance(record, Record) else replace(record, held=view is not None)
        return File(id=file_id, view=view, record=hash, gone=gone)

    async def _first_look(self, file: File) -> None:
        """Get one file's content: from an interrupted run, the parent, or the fetcher."""
        if self._keep(file, listed=False):
            return
        reused = self._unchanged(file)
        # The file's bytes are the best there is, so nothing is asked for.
        if reused and reused.line.fidelity.is_bytes and await self._reuse(file, reused):
            return
        holders = len(self._index.holders(file.id))
        # While the parent has the whole text, only what is better than a text is asked for.
        text = not (reused and reused.line.fidelity is Fidelity.TEXT and not reused.line.truncated)
        missing = await self._fetch(file, text=text)
        if missing and reused and not reused.line.fidelity.is_bytes:
            if await self._reuse(file, reused):
                return
            if not text:
                missing = await self._fetch(file)
        if missing:
            self._index.wait(Waiting(file=file, holders=holders, content=missing))

    async def _second_look(self, waiting: Waiting) -> None:
        """Try a file again after all lists: a store listed later may have its text."""
        file, missing = waiting.file, waiting.content
        if missing is None:
            await self._first_look(file)
            return
        if self._keep(file, listed=True):
            return
        if len(self._index.holders(file.id)) > waiting.holders:
            missing = await self._fetch(file)
        if missing:
            self._ledger.missing(file, missing)

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
            overlap = self._overlap(file, stored.store, DEFAULT_OVERLAP if listed else None)
            if stored.overlap != overlap:
                return False
        self._writer.keep(file.id)
        self._ledger.resumed(file, stored)
        return True

    def _holders(self, file_id: SourceId) -> list[Holder]:
        """The stores that hold a file at the server; others exist only in a dump."""
        return [one for one in self._index.holders(file_id) if one.store not in self._definitions.memberships]

    def _overlap(self, file: File, store: str, default: int | None) -> int | None:
        """How many tokens the parts of a file's text share in a store; ``default`` where it isn't known to hold it."""
        return next((one.overlap for one in self._holders(file.id) if one.store == store), default)

    async def _fetch(self, file: File, *, text: bool = True) -> FetchedContent | None:
        """Fetch a file's content into bundle and ledger. Returns the result if nothing was fetched."""
        holders = self._holders(file.id)
        sinks = _Sinks(self._writer, file, holders)
        content = await self._fetcher.fetch(file.id, file.view, holders, sinks, text=text)
        if content.fidelity is Fidelity.UNAVAILABLE:
            return content
        self._ledger.fetched(file, await asyncio.to_thread(sinks.add, ledger_line(file, content)))
        return None

    def _unchanged(self, file: File) -> ReusedContent | None:
        """The parent's content of a file, if unchanged."""
        reused = self._parent.find(file.view) if self._parent and file.view and not file.gone else None
        return reused if reused and self._is_cut_alike(file, reused) else None

    def _is_cut_alike(self, file: File, reused: ReusedContent) -> bool:
        """Whether a parent's text has the same overlap here as there; True for other contents."""
        return reused.store is None or self._overlap(file, reused.store, DEFAULT_OVERLAP) == reused.overlap

    async def _reuse(self, file: File, reused: ReusedContent) -> bool:
        """Reuse the parent's content, now or later; False if it is damaged or no longer fits."""
        assert self._parent is not None
        if self._defer:
            self._ledger.will_be_reused(file, reused.entry)
            self._index.wait(Waiting(file=file))
            return True
        # Meanwhile a store may have been listed that says otherwise.
        if not self._is_cut_alike(file, reused):
            return False
        sinks = _Sinks(self._writer, file, self._holders(file.id))
        sink = sinks.content(reused.line.fidelity) if reused.store is None else sinks.text(reused.store)
        try:
            await asyncio.to_thread(self._parent.copy, reused, sink)
        except DamagedBundle as error:
            self._progress.note(f"{error.message}; fetching it instead", kind="content damaged")
            return False
        finally:
            sink.abort()
        line = replace(reused.line, filename=file.filename, expected=file.size)
        self._ledger.reused(file, await asyncio.to_thread(sinks.add, line))
        return True
