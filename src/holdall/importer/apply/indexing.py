"""The files of one vector store: attached in batches, each with its own attributes and chunking, and waited for.

Memberships are read from the bundle as they are needed and sent 2000 at a time; what stays in memory is ids. A batch
has no word on single files, and servers were seen that call a batch complete which lost some: so the store itself is
listed at the end, and what it says of each file counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import islice
from math import inf
from typing import Any

import msgspec

from holdall.dialects.assistants import attachment
from holdall.errors import NotFound, RequestRefused, ServerFailed
from holdall.importer.apply.attaching import BATCHES, Attaching, Filling, Renamed, Unsearchable
from holdall.importer.apply.changes import keys_added
from holdall.importer.apply.context import FRESH, PATIENCE, Context
from holdall.importer.apply.writes import Writes
from holdall.importer.plan.difference import Difference, same
from holdall.importer.runs.runlines import Learned
from holdall.model import Kind, MembershipView, SourceId, TargetId
from holdall.remote.client import path

STALLED = 600.0
"""Seconds after which a store that finishes no further file is waited for no longer."""

# A file whose indexing failed for this may do under another name; for these it fails again.
_UNFIT = "unsupported_file"
_FINAL = frozenset({_UNFIT, "invalid_file"})


class _Batch(msgspec.Struct, frozen=True, kw_only=True):
    status: str | None = None
    file_counts: dict[str, Any] | None = None


class Indexing:
    """Attaches the files of each store and waits for its index."""

    def __init__(self, context: Context, writes: Writes, *, batch_files: int) -> None:
        self._account, self._folder = context.account, context.folder
        self._pace, self._progress = context.pace, context.progress
        self._attaching = Attaching(context, writes, batch_files=batch_files)

    async def attach(self, filling: Filling, renamed: Renamed) -> None:
        """Attach the files, and wait until each is indexed or given up; what came of it is in ``filling`` then.

        What the store has already from an earlier attempt is left as it is. A file whose type is refused is attached by
        what ``renamed`` makes of it, if anything. Raises what the account raises for a batch, apart from a refusal of
        single files, which is in the outcome.
        """
        await self._send_all(filling)
        if filling.refused:
            await self._attaching.send_renamed(filling, renamed, {})
        await self._look(filling)
        while unfit := {one.file for one in filling.troubles if one.code == _UNFIT and not one.failed_before}:
            bodies = {filling.file(body): body for body in await filling.bodies(unfit)}
            if not await self._attaching.send_renamed(filling, renamed, bodies):
                break
            await self._look(filling)
        await self._once_more(filling)
        if filling.differing or filling.merged:
            filling.unkept = await asyncio.to_thread(lambda: list(_unkept(filling)))

    async def _once_more(self, filling: Filling) -> None:
        """Send again files that a batch lost, and files whose indexing failed without a lasting reason."""
        if missing := {one.file for one in filling.troubles if one.missing}:
            await self._attaching.send_singly(filling, await filling.bodies(missing))
            if len(missing) == len(filling.sources):
                await self._folder.write(Learned(what=BATCHES, value=0))
            await self._look(filling)
        # Not where it failed at the source too, or the file itself is the reason.
        failed = [one for one in filling.troubles if one.status == "failed" and not one.failed_before]
        if repeated := {one.file for one in failed if one.code not in _FINAL}:
            await self._attaching.reattach(filling, await filling.bodies(repeated))
            await self._look(filling)

    async def _send_all(self, filling: Filling) -> None:
        """Send what isn't in the store from an earlier attempt."""
        there = await self._attaching.already_there(filling)
        records = filling.records(filling.files)
        # A store may have 100,000 files: no more of them are read at once than fit into a batch.
        while group := await asyncio.to_thread(lambda: list(islice(records, self._attaching.limit))):
            bodies = []
            for record in group:
                sent = attachment(record, filling.files[record.id])
                filling.recut += sent.recut
                if filling.take(record.id, sent.body) and sent.body["file_id"] not in there:
                    bodies.append(sent.body)
                if MembershipView.of(record).status == "failed":
                    filling.failed_before.add(record.id)
            await self._attaching.send(filling, bodies)

    async def _look(self, filling: Filling) -> None:
        """Wait for what was sent since the last look, and see what the store says of each file."""
        patient = True
        batches, filling.batches = filling.batches, []
        for batch in batches:
            patient = await self._wait(filling, batch) and patient
        refused = [
            Unsearchable(file=file, refused=True, reason=reason) for file, (reason, _) in filling.refused.items()
        ]
        filling.troubles = refused + await self._settled(filling, patient=patient)

    async def _wait(self, filling: Filling, batch: TargetId) -> bool:
        """Wait until the batch is done. Returns False after STALLED seconds without progress."""
        where = path("/vector_stores/{}/file_batches/{}", filling.store, batch)
        start = moved = self._pace.clock()
        before = None
        async for nth in self._pace.looks(inf):
            self._tell(nth)
            try:
                answer = msgspec.json.decode((await self._account.get(where)).raw, type=_Batch)
                if answer.status != "in_progress":
                    filling.ignored |= (answer.file_counts or {}).get("total") == 0
                    return True
                if answer.file_counts != before:
                    before, moved = answer.file_counts, self._pace.clock()
            except (NotFound, RequestRefused, ServerFailed):  # a fresh batch; or one that is forgotten once it is done
                if self._pace.clock() - start >= FRESH:
                    return True
            except msgspec.DecodeError:  # the store's own list will tell
                return True
            if self._pace.clock() - moved >= STALLED:
                break
        return False

    def _tell(self, nth: int) -> None:
        if nth == PATIENCE:
            self._progress.note("waiting for the destination to index files", kind="indexing")

    async def _settled(self, filling: Filling, *, patient: bool) -> list[Unsearchable]:
        """The files that aren't searchable once the store makes no more progress; at once if not ``patient``."""
        expected = {target: file for target, file in filling.sources.items() if file not in filling.refused}
        start = moved = self._pace.clock()
        before = -1
        troubles: list[Unsearchable] = []
        async for nth in self._pace.looks(inf):
            self._tell(nth)
            troubles, waiting = await self._listed(filling, expected)
            now = self._pace.clock()
            if waiting != before:
                before, moved = waiting, now
            # What a batch took may show in the list a little later; not so where the batch says that it took none.
            missing = any(trouble.missing for trouble in troubles) and not filling.ignored
            is_late = missing and now - start < max(FRESH, self._pace.settle)
            if not (waiting or is_late) or not patient or now - moved >= STALLED:
                break
        return troubles

    async def _listed(self, filling: Filling, expected: Mapping[TargetId, SourceId]) -> tuple[list[Unsearchable], int]:
        """One listing: files that are not completed, those that are missing, and how many are still in progress."""
        troubles: list[Unsearchable] = []
        seen: set[str] = set()
        waiting = 0
        if not expected:
            return troubles, waiting
        async for view in self._attaching.members(filling.store):
            file = expected.get(TargetId(view.id))
            if file is None:
                continue
            seen.add(view.id)
            filling.compare(view)
            if view.status == "completed":
                continue
            waiting += view.status == "in_progress"
            troubles.append(
                Unsearchable(
                    file=file,
                    refused=False,
                    reason=_reason(view),
                    failed_before=file in filling.failed_before,
                    status=view.status or "",
                    code=str((view.last_error or {}).get("code")),
                )
            )
        for target, file in expected.items():
            if target not in seen:
                reason = "the server accepted it in a batch, but it is not in the store"
                troubles.append(Unsearchable(file=file, refused=True, missing=True, reason=reason))
        return troubles, waiting


def _unkept(filling: Filling) -> Iterator[Difference]:
    """The differences between the files' memberships in the store and in the bundle.

    Of two source files that share a copy, one differs. Also collects the attributes ``added`` by the server.
    """
    added = filling.added
    copies = {file: target for target, file in filling.sources.items() if target in filling.differing}
    copies |= {file: filling.files[file] for file in filling.merged if filling.files[file] in filling.differing}
    for record in filling.records(copies):
        target = copies[record.id]
        wanted = attachment(record, target).body
        attributes, chunking = filling.differing[target]
        if target not in filling.shared:
            added |= dict.fromkeys(keys_added(wanted.get("attributes"), attributes))
        for field, there in (("attributes", attributes), ("chunking_strategy", chunking)):
            here = wanted.get(field)
            if here is None and field == "chunking_strategy":  # nobody gave one, so it is the server's choice
                continue
            if not same(Kind.MEMBERSHIP, field, here, there, added=added):
                yield Difference(
                    kind=Kind.MEMBERSHIP,
                    source=record.id,
                    target=target,
                    inside=filling.source,
                    field=field,
                    bundle=here,
                    destination=there,
                )


def _reason(view: MembershipView) -> str:
    if view.status == "in_progress":
        return "indexing timed out"
    error = view.last_error or {}
    said = error.get("message") or error.get("code")
    return f"{view.status or 'not indexed'}: {said}" if said else str(view.status or "not indexed")
