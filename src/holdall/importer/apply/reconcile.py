"""Did it happen? Looks for what was sent and never answered, until it is found or counts as not carried out.

A request may be carried out late, and lists may lag behind, so one look proves nothing: it is looked again and again
through the settle window. Stores and assistants are known by the attempt in their metadata. Files have no metadata, nor
have stores and assistants on servers that drop it; of those one is taken for ours only if it alone has the name (and
size) that was sent, was not there before the run, and is not claimed by anything else that the run did.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from typing import Any

import msgspec

from holdall.dialects.marks import OPERATION
from holdall.errors import RemoteError
from holdall.importer.apply.context import Context
from holdall.importer.plan.difference import fingerprints
from holdall.importer.runs.baseline import listed
from holdall.importer.runs.runlines import ALONE, Creation, Done, Failed
from holdall.importer.runs.runreport import Orphan
from holdall.kinds import noun
from holdall.model import Kind, SourceId, TargetId, credible
from holdall.remote.client import viewed

__all__ = ["Reconciler", "key"]

# Looks after which the user is told that something is being waited for: some ten seconds.
_PATIENCE = 8

Key = tuple[Kind, str, int | None]


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    id: TargetId
    name: str | None = None
    filename: str | None = None
    bytes: int | float | None = None
    metadata: dict[str, Any] | None = None


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    target: TargetId
    image: dict[str, str] | None = None
    inferred: bool = False


class _Listing(msgspec.Struct, frozen=True, kw_only=True):
    """The objects with one of the marks, the ids of the new, unclaimed ones that have one of the keys, and whether the
    list lacks something: by its own word, or something that this run made."""

    marked: dict[str, bytes]
    alike: dict[Key, list[TargetId]]
    lacks: bool


def key(intent: Creation) -> Key:
    """What an object is known by that carries no mark. A name that is missing may come back empty."""
    return intent.kind, intent.name or "", intent.size


class Reconciler:
    """Settles what is open in the journal of one run."""

    def __init__(self, context: Context) -> None:
        self._account, self._folder = context.account, context.folder
        self._pace, self._progress = context.pace, context.progress
        self._lags = False

    async def reconcile(self, intents: Iterable[Creation], *, once: bool = False) -> None:
        """Find out what came of creates and uploads, all of them within one window, and write it down. ``once``: look
        once, and don't wait.

        Raises what the account raises for a list, and Interrupted; what wasn't found out by then stays open.
        """
        waiting = {intent.op: intent for intent in intents}
        start, nth = self._pace.clock(), 0
        while waiting:
            looked = self._pace.clock()
            for op, found in (await self._look(waiting.values())).items():
                await self._happened(waiting.pop(op), found)
                self._lags = self._lags or nth > 0
            if not waiting or once or not await self._pace.within(start, nth, looked=looked):
                break
            nth += 1
            if nth == _PATIENCE:
                self._progress.note("looking whether a request was carried out whose answer was lost")
        for intent in waiting.values():
            await self._missed(intent)

    async def orphans(self) -> list[Orphan]:
        """What was given up and may stand at the destination all the same, with its id where it has turned up.

        What is in no list doesn't stand there, unless the list can't be had, or may lack something, or was seen to show
        things late. Whatever carries our mark is certain, so of those only what is there is listed.
        """
        missed = self._folder.state.missed
        by_op: dict[str, bytes] = {}
        alike: dict[Key, list[TargetId]] = {}
        shown: set[Kind] = set()
        try:
            for kind in sorted({intent.kind for intent in missed}):
                here = {intent.op: intent for intent in missed if intent.kind is kind}
                listing = await self._list(kind, here, {key(intent) for intent in here.values()})
                by_op |= listing.marked
                alike |= listing.alike
                if not (listing.lacks or self._lags):
                    shown.add(kind)
        except RemoteError as error:
            self._progress.note(f"the list of possible orphans has no ids: {error.message}")
        found = []
        for intent in missed:
            if intent.op in by_op:
                found.append(_orphan(intent, _identity(by_op[intent.op])))
            elif self._is_unmarked(intent.kind):
                ids = alike.get(key(intent), [])
                if ids or intent.kind not in shown:
                    found.append(_orphan(intent, ids.pop(0) if ids else None))
        # More of that name and size than were missed: which of them is ours, nobody can tell.
        last = {key(intent): intent for intent in missed}
        found += [_orphan(last[its], id) for its, ids in alike.items() for id in ids if self._is_unmarked(its[0])]
        return found

    def _is_unmarked(self, kind: Kind) -> bool:
        return kind is Kind.FILE or not self._folder.state.keeps_marks

    async def _look(self, wanted: Collection[Creation]) -> dict[str, _Found]:
        found: dict[str, _Found] = {}
        for kind in sorted({intent.kind for intent in wanted}):
            here = {intent.op: intent for intent in wanted if intent.kind is kind}
            listing = await self._list(kind, here, self._adoptable(kind, here.values()))
            for op, raw in listing.marked.items():
                looks = fingerprints(kind, viewed(raw, dict[str, Any], noun(kind)))
                found[op] = _Found(target=_identity(raw), image=looks)
            for op, intent in here.items():
                ids = listing.alike.get(key(intent), [])
                if op not in found and len(ids) == 1:
                    found[op] = _Found(target=ids[0], inferred=True)
        return found

    def _adoptable(self, kind: Kind, wanted: Collection[Creation]) -> set[Key]:
        """The keys by which an object may be taken for ours: no attempt of another source can have made one like it."""
        state = self._folder.state
        if state.learned.get(ALONE) == 0 or not self._is_unmarked(kind):
            return set()
        sources: dict[Key, set[SourceId]] = {}
        for intent in (*wanted, *state.missed):
            sources.setdefault(key(intent), set()).add(intent.source)
        return {key(intent) for intent in wanted if len(sources[key(intent)]) == 1}

    async def _list(self, kind: Kind, by_op: Container[str], keys: set[Key]) -> _Listing:
        marked: dict[str, bytes] = {}
        alike: dict[Key, list[TargetId]] = {}
        doubts: list[str] = []
        claimed = set(self._folder.state.claimed(kind))
        unseen = set(claimed)
        async for raw in listed(self._account, kind, doubts.append):
            seen = viewed(raw, _Seen, noun(kind))
            unseen.discard(seen.id)
            op = (seen.metadata or {}).get(OPERATION)
            if isinstance(op, str):
                if op in by_op:
                    marked[op] = raw
                continue
            is_file = kind is Kind.FILE
            size = credible(seen.bytes) if is_file else None
            its: Key = (kind, (seen.filename if is_file else seen.name) or "", size)
            if its in keys:
                alike.setdefault(its, []).append(seen.id)
        alike = {its: [id for id in ids if id not in claimed] for its, ids in alike.items()}
        if not any(alike.values()):
            return _Listing(marked=marked, alike={}, lacks=bool(doubts or unseen))
        before = self._folder.baseline
        new = before.newer(kind, (id for ids in alike.values() for id in ids))
        # Without the list of what was there before, any of these may be the one.
        return _Listing(
            marked=marked,
            alike={its: [id for id in ids if id in new] for its, ids in alike.items()},
            lacks=bool(doubts or unseen) or not before.is_whole(kind),
        )

    async def _happened(self, intent: Creation, found: _Found) -> None:
        await self._folder.write(Done(op=intent.op, target=found.target, image=found.image, inferred=found.inferred))
        how = "by its name and size" if found.inferred else "by its mark"
        self._audit(intent, "found", f"the answer was lost; known {how}", found.target)

    async def _missed(self, intent: Creation) -> None:
        said = f"the answer was lost; looked for it for {self._pace.settle:g} s, and did not find it for certain"
        await self._folder.write(Failed(op=intent.op, error=said, looked=True))
        self._audit(intent, "not found", said, None)

    def _audit(self, intent: Creation, outcome: str, detail: str, target: TargetId | None) -> None:
        self._folder.audit(
            "look", outcome, kind=intent.kind, source=intent.source, target=target, name=intent.name, detail=detail
        )


def _identity(raw: bytes) -> TargetId:
    return msgspec.json.decode(raw, type=_Seen).id


def _orphan(intent: Creation, id: TargetId | None) -> Orphan:
    return Orphan(kind=intent.kind, id=id, source=intent.source, name=intent.name, size=intent.size)
