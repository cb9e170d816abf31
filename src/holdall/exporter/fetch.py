"""Fetches contents and their records from an account into a bundle: a lister, workers, and a bounded queue.

Memory stays flat: memberships, file objects and per-file data go to disk. What comes at once goes into the bundle in
listing order (``turns``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from holdall.agent_views import VersionView
from holdall.bundle import layout
from holdall.bundle.partial import Stored
from holdall.bundle.totals import record_hash
from holdall.errors import DamagedBundle, HoldallError
from holdall.exporter.content_sinks import ContentSinks, zip_of
from holdall.exporter.copy_run import ContentCopy, CopyRun
from holdall.exporter.earlier import Parent, ReusedContent
from holdall.exporter.file_index import File, FileRecords, Waiting, search_stores
from holdall.exporter.ledger import LedgerWriter, ledger_line
from holdall.exporter.turns import Put, Queue, Turn, in_turn, never
from holdall.join_parts import DEFAULT_OVERLAP, overlap_of
from holdall.model import Fidelity, FileView, Kind, Record, SourceId, StoreView
from holdall.remote.client import Account
from holdall.remote.contents import ContentFetcher, FetchedContent, Holder
from holdall.remote.survey import Definitions, Surveyor
from holdall.untrusted import require_id

# Small contents become durable when they fill a frame together, or when so many seconds have gone by.
_CHECKPOINT_EVERY = 1.0

T = TypeVar("T")


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
        self._copies = CopyRun(parent, ledger) if parent else None
        self._workers = account.limits.concurrency
        self._downloading = f"Downloading files from {account.endpoint.host}"

    async def contents(self) -> None:
        """Write all contents but the deferred ones, then their records."""
        self._progress.stage(self._downloading)
        with self._writer.open_files() as files:
            purposes = self._parent.purposes if self._parent else None
            async with aclosing(FileRecords(self._surveyor, self._index, purposes)) as records:

                async def one(found: File, turn: Turn) -> Put:
                    file, line = (found, b"") if found.zip else await self._file(found.id, records)
                    put = await self._first_look(file, turn)

                    async def put_both() -> None:
                        files.write(line)
                        await _do(put)

                    return put_both

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
            assert waiting.stored is not None
            self._ledger.reused(waiting.file, waiting.stored)

    # -- listing ---------------------------------------------------------------------------------------

    async def _list(self, queue: Queue[File]) -> None:
        for store in self._definitions.store_views:
            await self._list_store(store, queue)
        for agent, name in self._definitions.all_versions.items():
            await self._list_versions(Kind.FOUNDRY_AGENT, agent, name, queue)
        for skill in self._definitions.skill_views:
            await self._list_versions(Kind.SKILL, SourceId(skill.id), skill.name, queue)
        # After the stores, because a file of both tools may have its text in one of them.
        for file_id in (*self._surveyor.users(self._definitions.views).files, *self._definitions.files):
            await self._found(queue, file_id)
        self._progress.expect(last=True)

    async def _list_store(self, store: StoreView, queue: Queue[File]) -> None:
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

    async def _list_versions(self, kind: Kind, ident: SourceId, name: str | None, queue: Queue[File]) -> None:
        """The versions of a skill, whose zips are contents, or of a Foundry agent of that ``name``."""
        member = Kind.SKILL_VERSION if kind is Kind.SKILL else Kind.AGENT_VERSION
        with self._writer.open_members(kind, ident) as lines:
            asked = SourceId(name or ident) if kind is Kind.FOUNDRY_AGENT else ident
            async for version, line in self._surveyor.members(kind, asked, VersionView, required=False):
                if not self._ledger.takes(member, SourceId(version.id), line, ident):
                    continue
                lines.write(line + b"\n")
                if kind is Kind.SKILL:
                    self._progress.expect(files=1)
                    await queue.put(zip_of(ident, name, version, record_hash(member, line)))
            lines.commit()

    async def _memberships(self, store_id: SourceId) -> AsyncIterator[tuple[SourceId, bytes, int]]:
        """Each membership's file, its record, and how many tokens the parts of the file's text share."""
        if store_id in self._definitions.memberships:
            for record in self._definitions.memberships[store_id]:
                yield record.id, record.raw, DEFAULT_OVERLAP
            return
        async for membership, line in self._surveyor.memberships(store_id, required=False):
            yield SourceId(membership.id), line, overlap_of(membership.chunking_strategy)

    async def _found(self, queue: Queue[File], file_id: SourceId, holder: Holder | None = None) -> None:
        """Note that a store holds the file; queue it the first time."""
        if self._index.want(file_id, holder):
            try:
                require_id(file_id)
            except ValueError as error:
                self._ledger.unfit(Kind.FILE, file_id, f"exceeds the limits of a bundle: {error}")
                return
            self._progress.expect(files=1)
            await queue.put(File(id=file_id, view=None))

    async def _look_elsewhere(self) -> None:
        """Files of the code interpreter may be in other stores, and files of v1 definitions were put into some."""
        lacking = {id for id in self._index.lacking() if not self._holders(id)}
        if lacking:
            self._progress.stage(f"Searching other vector stores of {self._account.endpoint.host}")
            listed = {store.id for store in self._definitions.store_views}
            await search_stores(self._account, self._index, lacking, listed, self._progress)

    async def _look_again(self, *, content: bool) -> None:
        async def feed(queue: Queue[Waiting]) -> None:
            for waiting in self._index.waiting(content=content):
                await queue.put(waiting)

        await self._each(feed, self._second_look)

    async def _each(
        self, feed: Callable[[Queue[T]], Awaitable[None]], work: Callable[[T, Turn], Awaitable[Put | None]]
    ) -> None:
        """``in_turn``, with what came so far made durable every second."""
        checkpoints = asyncio.create_task(self._checkpoints())
        try:
            await in_turn(feed, work, self._workers)
            await self._end_copies()
        finally:
            checkpoints.cancel()
            # What went wrong in there, a full disk, is what the next content meets too.
            with suppress(asyncio.CancelledError, HoldallError):
                await checkpoints

    async def _end_copies(self) -> None:
        if self._copies:
            await self._copies.end()

    async def _checkpoints(self) -> None:
        while True:
            await asyncio.sleep(_CHECKPOINT_EVERY)
            await asyncio.to_thread(self._writer.checkpoint)

    # -- one file --------------------------------------------------------------------------------------

    async def _file(self, file_id: SourceId, records: FileRecords) -> tuple[File, bytes]:
        """One file, and its line for the bundle; an empty one where there is no record, or none that a bundle takes."""
        record = await records.get(file_id)
        # A file that is gone may still be known to the dump that named it.
        told = record if isinstance(record, Record) else self._definitions.file_records.get(file_id)
        view, hash, line = None, None, b""
        if told is not None:
            hash = record_hash(Kind.FILE, told.raw)
            if self._ledger.takes(Kind.FILE, file_id, told.raw, hash=hash):
                view, line = FileView.of(told), told.raw + b"\n"
                self._progress.expect(bytes=max(0, view.size or 0))
            else:
                hash = None
        gone = None if isinstance(record, Record) else replace(record, held=view is not None)
        return File(id=file_id, view=view, record=hash, gone=gone), line

    async def _first_look(self, file: File, turn: Turn, *, listed: bool = False, fresh: bool = False) -> Put | None:
        """Get one file's content: from an interrupted run, the parent unless it is to be ``fresh``, or the fetcher.

        Before all stores were ``listed``, a text comes from the first store that holds the file or not at all: what is
        left to the second look must not depend on which others were known by then.
        """
        # One function, because the order is the rule: bytes of the parent, bytes fetched, a text of the parent, a text.
        if self._keep(file, listed=listed):
            return None
        reused = None if fresh else self._unchanged(file)
        instead = partial(self._first_look, file, never, listed=listed, fresh=True)
        # The file's bytes are the best there is, so nothing is asked for.
        if (
            reused
            and reused.line.fidelity.is_bytes
            and (put := await self._reuse(file, reused, turn, instead, listed=listed))
        ):
            return put
        holders = self._index.holders(file.id)[: None if listed else 1]
        if reused and not listed and reused.store not in (None, *(holder.store for holder in holders)):
            reused = None
        # While the parent has the whole text, only what is better than a text is asked for.
        text = not (reused and reused.line.fidelity is Fidelity.TEXT and not reused.line.truncated)
        found = await self._fetch(file, holders, turn, text=text)
        if isinstance(found, FetchedContent) and reused and not reused.line.fidelity.is_bytes:
            if put := await self._reuse(file, reused, turn, instead, listed=listed):
                return put
            if not text:
                found = await self._fetch(file, holders, turn)
        if not isinstance(found, FetchedContent):
            return found
        return self._later(Waiting(file=file, holders=len(holders), content=found))

    async def _second_look(self, waiting: Waiting, turn: Turn) -> Put | None:
        """Try a file again after all lists: a store listed later may have its text."""
        file = waiting.file
        if waiting.content is None:
            return await self._first_look(file, turn, listed=waiting.listed)
        if self._keep(file, listed=True):
            return None
        reused, look = self._unchanged(file), partial(self._last_look, file, waiting.content, waiting.holders)
        if (
            reused
            and not reused.line.fidelity.is_bytes
            and (put := await self._reuse(file, reused, turn, partial(look, never), listed=True))
        ):
            return put
        return await look(turn)

    async def _last_look(self, file: File, found: FetchedContent, looked: int, turn: Turn) -> Put | None:
        """Fetch a file that is neither in the parent nor in the ``looked`` first stores that hold it; or miss it, for
        the reason ``found``."""
        holders = self._index.holders(file.id)
        if len(holders) > looked:
            again = await self._fetch(file, holders, turn)
            if not isinstance(again, FetchedContent):
                return again
            found = again
        self._ledger.missing(file, found)
        return None

    def _later(self, waiting: Waiting) -> Put:
        async def put() -> None:
            self._index.wait(waiting)

        return put

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

    def _sinks(self, file: File, holders: Sequence[Holder], turn: Turn) -> ContentSinks:
        # What was put off goes before it, if anything has changed, and so does what waits to be copied.
        return ContentSinks(self._writer, file, holders, turn=lambda: not (self._defer or self._copies) and turn())

    async def _fetch(
        self, file: File, holders: Sequence[Holder], turn: Turn, *, text: bool = True
    ) -> Put | FetchedContent:
        """Fetch a file's content, its text from one of ``holders``. Returns the answer if nothing was fetched."""
        holders = [one for one in holders if one.store not in self._definitions.memberships]
        sinks = self._sinks(file, holders, turn)
        content = await self._fetcher.fetch(file.id, file.view, holders, sinks, text=text, zip=file.zip)
        if sinks.fault:
            content = replace(content, message=sinks.fault)
            self._progress.note(f"{file.id} ({file.filename}): {sinks.fault}", kind="zip not valid")
        if content.fidelity is Fidelity.UNAVAILABLE:
            return content

        async def put() -> None:
            await self._stop_deferring()
            await self._end_copies()
            self._ledger.fetched(file, await asyncio.to_thread(sinks.add, ledger_line(file, content)))

        return put

    async def _stop_deferring(self) -> None:
        """Something has changed since the parent: what was put off comes first."""
        if self._defer:
            self._defer = False
            self._ledger.digests()
            await self._look_again(content=False)

    def _unchanged(self, file: File) -> ReusedContent | None:
        """The parent's content of a file, if unchanged."""
        if self._parent and file.zip:
            return self._parent.find_zip(file.id, file.record)
        reused = self._parent.find(file.view) if self._parent and file.view and not file.gone else None
        return reused if reused and self._is_cut_alike(file, reused) else None

    def _is_cut_alike(self, file: File, reused: ReusedContent) -> bool:
        """Whether a parent's text has the same overlap here as there; True for other contents."""
        return reused.store is None or self._overlap(file, reused.store, DEFAULT_OVERLAP) == reused.overlap

    async def _reuse(
        self,
        file: File,
        reused: ReusedContent,
        turn: Turn,
        instead: Callable[[], Awaitable[Put | None]],
        *,
        listed: bool,
    ) -> Put | None:
        """Reuse the parent's content, now or later; None if it is damaged or no longer fits. If only later it turns out
        to be damaged, ``instead`` is asked."""
        assert self._parent is not None
        assert self._copies is not None
        if self._defer:
            return partial(self._put_off, file, reused, turn, listed)
        # Meanwhile a store may have been listed that says otherwise.
        if not self._is_cut_alike(file, reused):
            return None
        # Of a text only, how it was cut is kept for a later run.
        holders = self._holders(file.id) if reused.store is not None else []
        if reused.entry.size <= layout.SHARED_FRAME:
            return partial(self._copies.add, ContentCopy(file, reused, holders, instead))
        sinks = self._sinks(file, holders, turn)
        sink = sinks.content(reused.line.fidelity) if reused.store is None else sinks.text(reused.store)
        try:
            await asyncio.to_thread(self._parent.copy, reused, sink)
        except DamagedBundle as error:
            self._progress.note(f"{error.message}; fetching it instead", kind="content damaged")
            return None
        finally:
            sink.abort()
        line = replace(reused.line, filename=file.filename, expected=file.size)

        async def put() -> None:
            await self._end_copies()
            self._ledger.reused(file, await asyncio.to_thread(sinks.add, line))

        return put

    async def _put_off(self, file: File, reused: ReusedContent, turn: Turn, listed: bool) -> None:
        """Reuse the content in ``take_deferred``, or now if something has changed meanwhile."""
        if self._defer:
            self._ledger.will_be_reused(file, reused.entry)
            self._index.wait(Waiting(file=file, listed=listed, stored=Stored(entry=reused.entry, ledger=reused.line)))
        else:
            await _do(await self._first_look(file, turn, listed=listed))


async def _do(put: Put | None) -> None:
    if put is not None:
        await put()
