"""Copies unchanged contents of an earlier bundle, some at a time: one by one, each would cost two hops to a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from msgspec.structs import replace

from holdall.bundle.partial import Stored
from holdall.errors import DamagedBundle
from holdall.exporter.content_sinks import ContentSinks
from holdall.exporter.earlier import Parent, ReusedContent
from holdall.exporter.file_index import File
from holdall.exporter.ledger import LedgerWriter
from holdall.exporter.turns import Put
from holdall.remote.contents import Holder

# Bytes that are copied together; each content counts as so many more.
_TOGETHER, _EACH = 4 << 20, 4 << 10  # no less than MOST_BESIDE: so much of the parent's frames may be held


class ContentCopy(NamedTuple):
    """A content to be copied for ``file``; of a text, ``holders`` are the stores that have it. ``instead`` looks for
    another one where the parent's is damaged."""

    file: File
    reused: ReusedContent
    holders: Sequence[Holder]
    instead: Callable[[], Awaitable[Put | None]]


class CopyRun:
    """Contents that follow each other in the bundle, and are taken out of the parent.

    They go in with ``end``, which has to be awaited before anything else is added; ``add`` does so when there are
    enough. For the event loop's thread only.
    """

    def __init__(self, parent: Parent, ledger: LedgerWriter) -> None:
        self._parent, self._ledger = parent, ledger
        self._copies: list[ContentCopy] = []
        self._size = 0

    def __len__(self) -> int:
        return len(self._copies)

    async def add(self, copy: ContentCopy) -> None:
        self._copies.append(copy)
        self._size += copy.reused.entry.size + _EACH
        if self._size >= _TOGETHER:
            await self.end()

    async def end(self) -> None:
        """ContentCopy what was added. What is damaged is replaced in its place."""
        if not self._copies:
            return
        copies, self._copies, self._size = self._copies, [], 0
        found = list(zip(copies, await asyncio.to_thread(self._read, copies), strict=True))
        # Those that have to be fetched are, at once.
        async with asyncio.TaskGroup() as group:
            fetching = [
                group.create_task(self._fetch(copy, sinks)) for copy, sinks in found if isinstance(sinks, DamagedBundle)
            ]
        fetched = iter([task.result() for task in fetching])
        for is_whole, some in groupby(found, key=lambda one: isinstance(one[1], ContentSinks)):
            if is_whole:
                for copy, stored in await asyncio.to_thread(self._add, list(some)):
                    self._ledger.reused(copy.file, stored)
                continue
            for _ in some:
                if (put := next(fetched)) is not None:
                    await put()

    def _read(self, copies: Sequence[ContentCopy]) -> list[ContentSinks | DamagedBundle]:
        """The contents, each proved and in a sink; or what is wrong with it."""
        return [self._sinks(copy) for copy in copies]

    def _sinks(self, copy: ContentCopy) -> ContentSinks | DamagedBundle:
        reused = copy.reused
        sinks = ContentSinks(self._ledger.writer, copy.file, copy.holders)
        try:
            self._parent.copy(
                reused, sinks.content(reused.line.fidelity) if reused.store is None else sinks.text(reused.store)
            )
        except DamagedBundle as error:
            return error
        return sinks

    def _add(
        self, copied: Sequence[tuple[ContentCopy, ContentSinks | DamagedBundle]]
    ) -> list[tuple[ContentCopy, Stored]]:
        added = []
        for copy, sinks in copied:
            assert isinstance(sinks, ContentSinks)
            file = copy.file
            line = replace(copy.reused.line, filename=file.filename, expected=file.size)
            added.append((copy, sinks.add(line)))
        return added

    async def _fetch(self, copy: ContentCopy, damage: DamagedBundle) -> Put | None:
        self._ledger.progress.note(f"{damage.message}; fetching it instead", kind="content damaged")
        return await copy.instead()
