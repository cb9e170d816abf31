"""What is left of a run's effects at the account, and who uses it: all that an undo has to look at. Reads only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from holdall.dialects.marks import OPERATION
from holdall.errors import NotFound, RequestRefused
from holdall.importer.plan.requests import sha256_of
from holdall.importer.runs.baseline import PLACES, Baseline, listed
from holdall.importer.runs.effects import Effect, Made
from holdall.importer.runs.runlines import Attach, Creation, Detach, Update, Written
from holdall.importer.runs.runstate import RunState
from holdall.importer.written.requestfolder import listed as listed_requests
from holdall.kinds import KINDS, WHOLE
from holdall.model import AssistantView, Kind, StoreView, TargetId
from holdall.progress import Progress
from holdall.remote.client import Account, path, viewed

__all__ = ["Member", "Observed", "ObservedAssistant", "PossibleOrphan", "WrittenFile", "look"]

# What one page of a list has.
_PAGE = 100


class ObservedAssistant(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An assistant, with the stores and files that it refers to."""

    id: TargetId
    name: str | None
    stores: list[TargetId]
    files: list[TargetId]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A file in a store."""

    attributes: dict[str, Any] | None = None
    chunking_strategy: dict[str, Any] | None = None


class PossibleOrphan(msgspec.Struct, frozen=True, kw_only=True):
    """Something that may be of the run, by its name (and a file's size) alone; it is never deleted."""

    kind: Kind
    id: TargetId
    name: str | None
    size: int | float | None = None


class WrittenFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file among the written requests; ``mentions`` are the ids of what the run made, as far as they stand in it."""

    path: TargetId
    sha256: str
    mentions: list[TargetId]


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """The account as it is.

    ``found`` has what lives of what the run made or updated, memberships aside, as the account shows it; ``users`` are
    all assistants. ``members``: of stores that the run made all files, of the others those files that the run made, put
    in or took out. ``late`` was made by the run though its journal has no answer. ``alive`` says that something of what
    the run made or updated is there, or that it did neither. ``written`` is all that is among the written requests,
    whoever wrote it.
    """

    found: dict[TargetId, dict[str, Any]]
    users: list[ObservedAssistant]
    stores: dict[TargetId, str | None]
    members: dict[TargetId, dict[TargetId, Member]]
    late: list[Made]
    orphans: list[PossibleOrphan]
    alive: bool = True
    written: list[WrittenFile] = []


class _Listed(msgspec.Struct, frozen=True, kw_only=True):
    id: TargetId
    name: str | None = None
    filename: str | None = None
    bytes: int | float | None = None
    metadata: dict[str, Any] | None = None
    attributes: dict[str, Any] | None = None
    chunking_strategy: dict[str, Any] | None = None


async def look(
    account: Account,
    state: RunState,
    baseline: Baseline,
    *,
    everywhere: bool,
    progress: Progress,
    output: Path | None = None,
    again: bool = False,
) -> Observed:
    """Look at what the run did. ``everywhere``: in stores that the run didn't touch, too, for files of the run.
    ``output`` is OUTPUT_DIR, where written requests are. ``again``: what the lists don't have counts as gone.

    Raises what the account raises, and CannotWrite; what isn't there is no error.
    """
    progress.stage("looking at the destination")
    effects = state.effects()
    looker = _Looker(account, state, everywhere, again)
    await looker.assistants()
    await looker.agents()
    await looker.stores()
    await looker.files()
    await looker.members()
    written = _written(output, effects) if output else []
    ours = {effect.target for effect in effects if isinstance(effect, Written)}
    idle = not effects and not state.uncertain
    alive = idle or bool(looker.found) or any(one.path in ours for one in written)
    return Observed(
        found=looker.found,
        users=looker.users,
        stores=looker.names,
        members=looker.inside,
        late=looker.late,
        orphans=looker.orphans(baseline),
        alive=alive,
        written=written,
    )


def _written(output: Path, effects: list[Effect]) -> list[WrittenFile]:
    made = [effect.target for effect in effects if isinstance(effect, Made)]
    return [
        WrittenFile(path=TargetId(path), sha256=sha256_of(data), mentions=[id for id in made if id.encode() in data])
        for path, data in listed_requests(output)
    ]


class _Looker:
    def __init__(self, account: Account, state: RunState, everywhere: bool, again: bool) -> None:
        self._account, self._everywhere, self._again = account, everywhere, again
        effects = state.effects()
        self._made = {effect.target: effect for effect in effects if isinstance(effect, Made)}
        self._touched: dict[TargetId, Kind] = {target: made.kind for target, made in self._made.items()}
        self._in_store: dict[TargetId, set[TargetId]] = {}
        for effect in effects:
            match effect:
                case Attach(target=store, files=files):
                    self._in_store.setdefault(store, set()).update(files)
                case Detach(store=store, target=file):
                    self._in_store.setdefault(store, set()).add(file)
                case Update(store=str(store), target=file):
                    self._in_store.setdefault(store, set()).add(file)
                case Update(kind=kind, target=target):
                    self._touched[target] = kind
                case _:
                    pass
        self._files = {target for target, made in self._made.items() if made.kind is Kind.FILE}
        self._uncertain = {intent.op: intent for intent in state.uncertain if intent.kind is not Kind.FILE}
        # What may be of the run: by name and size, or because the run took it for its own by these.
        self._lost = {
            (intent.kind, intent.name or "", intent.size)
            for intent in state.uncertain
            if intent.kind is Kind.FILE or not state.keeps_marks
        }
        self._inferred = {made.target for made in state.inferred}
        self._perhaps: dict[TargetId, PossibleOrphan] = {}
        self._totals: dict[TargetId, int | None] = {}
        self.found: dict[TargetId, dict[str, Any]] = {}
        self.users: list[ObservedAssistant] = []
        self.names: dict[TargetId, str | None] = {}
        self.inside: dict[TargetId, dict[TargetId, Member]] = {}
        self.late: list[Made] = []

    async def assistants(self) -> None:
        async for raw in self._all(Kind.ASSISTANT):
            view = viewed(raw, AssistantView, "an assistant")
            stores, files = [TargetId(id) for id in view.store_ids], [TargetId(id) for id in view.file_ids]
            self.users.append(ObservedAssistant(id=TargetId(view.id), name=view.name, stores=stores, files=files))

    async def agents(self) -> None:
        """Those of the run; where it had to do with none, the account need not have any."""
        touched = {*self._touched.values(), *(intent.kind for intent in self._uncertain.values())}
        for kind in (kind for kind in WHOLE if KINDS[kind].rare and kind in touched):
            async for _ in self._all(kind):
                pass

    async def stores(self) -> None:
        async for raw in self._all(Kind.STORE):
            view = viewed(raw, StoreView, "a vector store")
            self.names[TargetId(view.id)] = view.name
            self._totals[TargetId(view.id)] = view.total

    async def files(self) -> None:
        """Those of the run; where it had to do with none, nobody needs the list."""
        if self._files or self._inferred or any(kind is Kind.FILE for kind, _, _ in self._lost):
            async for _ in self._all(Kind.FILE):
                pass

    def orphans(self, baseline: Baseline) -> list[PossibleOrphan]:
        """What may be of the run and came since it began, as far as that can be told. Raises CannotWrite."""
        found = [one for one in self._perhaps.values() if one.id not in self._made]
        newer = {
            id
            for kind in {one.kind for one in found}
            for id in baseline.newer(kind, [one.id for one in found if one.kind is kind], perhaps=True)
        }
        return sorted((one for one in found if one.id in newer | self._inferred), key=lambda one: one.id)

    async def _all(self, kind: Kind) -> AsyncIterator[bytes]:
        """Every object of a kind; those of the run that a lagging list leaves out are asked for one by one.

        Where there is no list (any longer) there is nothing of the kind, if nothing of it is there by its id either.
        Raises NotFound where something is: who uses what is not known then.
        """
        seen: set[TargetId] = set()
        absent: NotFound | None = None
        try:
            async for raw in listed(self._account, kind):
                one = viewed(raw, _Listed, f"a record of {PLACES[kind]}")
                seen.add(one.id)
                self._keep(kind, one, raw)
                yield raw
        except NotFound as error:
            absent = error
        if self._again and not absent:
            return
        for target in [target for target, its in self._touched.items() if its is kind and target not in seen]:
            found = await self._get(path(PLACES[kind] + "/{}", target))
            if found is None:
                continue
            if absent and kind is not Kind.FILE:
                raise absent
            self._keep(kind, viewed(found, _Listed, f"a record of {PLACES[kind]}"), found)
            yield found

    def _keep(self, kind: Kind, listed: _Listed, raw: bytes) -> None:
        name = listed.filename if kind is Kind.FILE else listed.name
        size = listed.bytes if kind is Kind.FILE else None
        if listed.id in self._inferred or (kind, name or "", size) in self._lost:
            self._perhaps[listed.id] = PossibleOrphan(kind=kind, id=listed.id, name=name, size=size)
        op = (listed.metadata or {}).get(OPERATION)
        intent = self._uncertain.get(op) if isinstance(op, str) else None
        if intent is not None and intent.kind is kind and listed.id not in self._made:
            self._made[listed.id] = made = _late(intent, listed.id)
            self._touched[listed.id] = kind
            self.late.append(made)
        if listed.id in self._touched:
            self.found[listed.id] = viewed(raw, dict[str, Any], f"{kind} {listed.id}")

    async def members(self) -> None:
        """Look into the stores: those of the run whole, the others for the files that matter."""
        work: list[Coroutine[Any, Any, None]] = []
        for store in self.names:
            made = store in self._made
            wanted = self._in_store.get(store, set()) | (self._files if self._everywhere else set())
            # Also where the store counts none: servers were seen that don't count.
            if made or wanted:
                work.append(self._look_into(store, None if made else wanted))
        await _together(work, self._account.limits.concurrency)

    async def _look_into(self, store: TargetId, wanted: set[TargetId] | None) -> None:
        """Note the store's files, or those that are ``wanted``, by the shorter way: its list, or each by its id."""
        inside = self.inside.setdefault(store, {})
        total = self._totals[store]
        if wanted is not None and total is not None and total > _PAGE * len(wanted):
            for file in wanted:
                raw = await self._get(path("/vector_stores/{}/files/{}", store, file))
                if raw is not None:
                    inside[file] = viewed(raw, Member, f"file {file} of store {store}")
            return
        try:
            async for raw in self._account.items(path("/vector_stores/{}/files", store)):
                listed = viewed(raw, _Listed, f"a file of store {store}")
                if wanted is None or listed.id in wanted:
                    inside[listed.id] = Member(attributes=listed.attributes, chunking_strategy=listed.chunking_strategy)
        except NotFound:  # deleted since it was listed
            return

    async def _get(self, where: str) -> bytes | None:
        try:
            return (await self._account.get(where)).raw
        except (NotFound, RequestRefused):
            return None


def _late(intent: Creation, target: TargetId) -> Made:
    return Made(kind=intent.kind, target=target, source=intent.source, name=intent.name, op=intent.op)


async def _together(work: Collection[Coroutine[Any, Any, None]], at_once: int) -> None:
    """Do all of ``work``, ``at_once`` at a time; the first error ends it."""
    queue = iter(work)

    async def some() -> None:
        for task in queue:
            await task

    workers = [asyncio.create_task(some()) for _ in range(min(at_once, len(work)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        for rest in queue:
            rest.close()
