"""The files of one vector store: attached in batches, each with its own attributes and chunking, and waited for.

Memberships are read from the bundle as they are needed and sent 2000 at a time; what stays in memory is ids. A batch
has no word on single files, and servers were seen that call a batch complete which lost some: so the store itself is
listed at the end, and what it says of each file counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from holdall.dialects import assistants as dialect
from holdall.errors import NotFound, RequestRefused
from holdall.importer.writes import FRESH, Pace, Writes
from holdall.model import MembershipView, Record, SourceId, TargetId
from holdall.progress import Progress
from holdall.remote.client import Account, path

__all__ = ["STALLED", "Attached", "Indexing", "Trouble"]

STALLED = 600.0
"""Seconds after which a store that finishes no further file is waited for no longer."""

# Looks after which the user is told that something is being waited for: some ten seconds.
_PATIENCE = 8


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the store that isn't searchable in the copy. ``refused``: it isn't even attached."""

    file: SourceId
    refused: bool
    reason: str
    failed_before: bool = False


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a store: ``recut`` files whose chunking the source didn't tell, and the troubles."""

    troubles: list[Trouble]
    recut: int


class _Counts(msgspec.Struct, frozen=True, kw_only=True):
    in_progress: int | float | None = None
    completed: int | float | None = None
    failed: int | float | None = None
    cancelled: int | float | None = None
    total: int | float | None = None


class _Batch(msgspec.Struct, frozen=True, kw_only=True):
    status: str | None = None
    file_counts: _Counts | None = None


class Indexing:
    """Attaches and waits, store by store."""

    def __init__(self, account: Account, writes: Writes, *, pace: Pace, progress: Progress) -> None:
        self._account = account
        self._writes = writes
        self._pace = pace
        self._progress = progress

    async def attach(
        self,
        source: SourceId,
        store: TargetId,
        memberships: Iterable[Record],
        files: Mapping[SourceId, TargetId],
        names: Mapping[SourceId, str],
    ) -> Attached:
        """Attach those ``memberships`` whose files were uploaded, and wait until each is indexed or given up.

        ``names`` are the files' names at the destination. Raises what the account raises for a batch, apart from a
        refusal of single files, which is in the outcome.
        """
        sources: dict[TargetId, SourceId] = {}
        failed_before: set[SourceId] = set()
        refused: dict[SourceId, str] = {}
        batches: list[TargetId] = []
        recut = position = 0
        for group in _grouped(memberships, files, dialect.BATCH_FILES):
            bodies = []
            for record in group:
                target = files[record.id]
                attachment = dialect.attachment(record, target)
                recut += attachment.recut
                bodies.append(attachment.body)
                sources[target] = record.id
                if msgspec.json.decode(record.raw, type=MembershipView).status == "failed":
                    failed_before.add(record.id)
            batches += await self._send(source, store, bodies, position, sources, names, refused)
            position += len(group)
        patient = True
        for batch in batches:
            patient = await self._wait(store, batch) and patient
        expected = {target: file for target, file in sources.items() if file not in refused}
        troubles = [Trouble(file=file, refused=True, reason=reason) for file, reason in refused.items()]
        troubles += await self._settled(store, expected, failed_before, patient=patient)
        return Attached(troubles=troubles, recut=recut)

    async def _send(
        self,
        source: SourceId,
        store: TargetId,
        bodies: list[dict[str, Any]],
        first: int,
        sources: Mapping[TargetId, SourceId],
        names: Mapping[SourceId, str],
        refused: dict[SourceId, str],
    ) -> list[TargetId]:
        """Send one batch. Where it is refused for some files' type, send the others without them."""
        if not bodies:
            return []
        try:
            return [await self._writes.attach(source, store, bodies, first=first)]
        except RequestRefused as error:
            if error.code != "unsupported_file":
                raise
            reason = error.detail or error.message
        extensions = _extensions(reason)
        culprits = [b for b in bodies if _extension(names.get(sources[b["file_id"]], "")) in extensions]
        if not culprits and len(bodies) == 1:
            culprits = bodies
        for body in culprits:
            refused[sources[body["file_id"]]] = reason
        if culprits:
            rest = [body for body in bodies if sources[body["file_id"]] not in refused]
            return await self._send(source, store, rest, first, sources, names, refused)
        # The message names no type that is here: halve until the file is alone.
        half = len(bodies) // 2
        return [
            *await self._send(source, store, bodies[:half], first, sources, names, refused),
            *await self._send(source, store, bodies[half:], first + half, sources, names, refused),
        ]

    async def _wait(self, store: TargetId, batch: TargetId) -> bool:
        """Until the batch is done, or has stood still for STALLED seconds: False then."""
        where = path("/vector_stores/{}/file_batches/{}", store, batch)
        start = moved = self._pace.clock()
        nth, before = 0, None
        while True:
            try:
                answer = msgspec.json.decode((await self._account.get(where)).raw, type=_Batch)
                if answer.status != "in_progress":
                    return True
                if answer.file_counts != before:
                    before, moved = answer.file_counts, self._pace.clock()
            except NotFound:  # a fresh batch; or a server that forgets batches when they are done
                if self._pace.clock() - start >= FRESH:
                    return True
            except msgspec.DecodeError:  # the store's own list will tell
                return True
            if self._pace.clock() - moved >= STALLED:
                return False
            await self._pause(nth)
            nth += 1

    async def _pause(self, nth: int) -> None:
        """Wait before the next look, and tell once why nothing seems to happen."""
        if nth == _PATIENCE:
            self._progress.note("waiting for the destination to index the files")
        await self._pace.pause(nth)

    async def _settled(
        self, store: TargetId, expected: Mapping[TargetId, SourceId], failed_before: set[SourceId], *, patient: bool
    ) -> list[Trouble]:
        """What the store says of its files once nothing moves any more; right away if not ``patient``."""
        start = moved = self._pace.clock()
        nth, before = 0, -1
        while True:
            troubles, waiting = await self._listed(store, expected, failed_before)
            now = self._pace.clock()
            if waiting != before:
                before, moved = waiting, now
            missing = any(trouble.refused for trouble in troubles)
            if not waiting and not (missing and now - start < FRESH):
                return troubles
            if not patient or now - moved >= STALLED:
                return troubles
            await self._pause(nth)
            nth += 1

    async def _listed(
        self, store: TargetId, expected: Mapping[TargetId, SourceId], failed_before: set[SourceId]
    ) -> tuple[list[Trouble], int]:
        """One listing: files that are not completed, those that are missing, and how many are still in progress."""
        troubles: list[Trouble] = []
        seen: set[str] = set()
        waiting = 0
        if not expected:
            return troubles, waiting
        async for raw in self._account.items(path("/vector_stores/{}/files", store)):
            view = msgspec.json.decode(raw, type=MembershipView)
            file = expected.get(TargetId(view.id))
            if file is None:
                continue
            seen.add(view.id)
            if view.status == "completed":
                continue
            waiting += view.status == "in_progress"
            troubles.append(
                Trouble(file=file, refused=False, reason=_reason(view), failed_before=file in failed_before)
            )
        for target, file in expected.items():
            if target not in seen:
                reason = "the server took it into a batch, but the store doesn't have it"
                troubles.append(Trouble(file=file, refused=True, reason=reason))
        return troubles, waiting


def _grouped(memberships: Iterable[Record], files: Mapping[SourceId, TargetId], size: int) -> Iterator[list[Record]]:
    """The memberships whose files are there, each file once, ``size`` at a time."""
    group: list[Record] = []
    seen: set[SourceId] = set()
    for record in memberships:
        if record.id in files and record.id not in seen:
            seen.add(record.id)
            group.append(record)
            if len(group) == size:
                yield group
                group = []
    if group:
        yield group


def _reason(view: MembershipView) -> str:
    if view.status == "in_progress":
        return "still being indexed when the deadline came"
    error = view.last_error or {}
    said = error.get("message") or error.get("code")
    return f"{view.status or 'not indexed'}: {said}" if said else str(view.status or "not indexed")


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _extensions(message: str) -> set[str]:
    """The extensions that a refusal names, without their dots; not those of a list of what would be accepted."""
    accused = re.split(
        r"supported (?:formats|types|files|extensions)\b", re.sub(r"https?://\S+", " ", message), flags=re.I
    )
    dotted = re.findall(r"\.([A-Za-z0-9_+-]+)", accused[0])
    return {word.lower() for word in dotted or re.findall(r"[A-Za-z0-9_+-]+", accused[0])}
