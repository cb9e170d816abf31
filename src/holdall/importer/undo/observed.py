"""Reads what is left of a run's effects at the account, and who uses it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from holdall.agent_views import AgentVersion, AgentVersions, FoundryAgentView
from holdall.dialects.registry import shown
from holdall.dialects.rules import OPERATION, UNMARKED
from holdall.dialects.templates import skill_references
from holdall.errors import NotFound, RequestRefused
from holdall.importer.destination.files_and_skills import version_numbers
from holdall.importer.plan.definitions import sha256_of
from holdall.importer.runs.effects import Effect, Made, agent_of, is_later, number_of, version_target
from holdall.importer.runs.runfolder import PLACES, Baseline, listed, place, read_listed
from holdall.importer.runs.runjournal import Attach, Creation, Detach, Update, Written
from holdall.importer.runs.runstate import RunState
from holdall.importer.written.requestfolder import listed as listed_requests
from holdall.kinds import ASSISTANT_KINDS, KINDS, Platform
from holdall.model import DefinitionView, FileView, Kind, StoreView, TargetId
from holdall.remote.client import Account, path, viewed

# What one page of a list has.
_PAGE = 100

Key = TargetId | tuple[TargetId, TargetId]
"""An object of the account, or a file (second) in a store (first)."""


class ObservedUser(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A definition with what it uses: the stores, then the files that it refers to."""

    kind: Kind
    id: TargetId
    name: str | None
    uses: list[TargetId]


class ObservedMember(msgspec.Struct, frozen=True, kw_only=True):
    """A file in a store. Its attributes decide whether others have changed it: of another shape they stop the undo."""

    id: TargetId
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
    all definitions; ``stores`` has the names of all stores. ``members``: of stores that the run made all
    files, of the others those files that the run made, put in or took out. ``late`` was made by the run though its
    journal has no answer. ``alive`` says that something of what the run made or updated is there, or that it did
    neither. ``written`` is all that is among the written requests, whoever wrote it.
    """

    found: dict[TargetId, dict[str, Any]]
    users: list[ObservedUser]
    stores: dict[TargetId, str | None]
    members: dict[TargetId, dict[TargetId, ObservedMember]]
    late: list[Made]
    orphans: list[PossibleOrphan]
    alive: bool = True
    written: list[WrittenFile] = []
    earlier: dict[TargetId, list[TargetId]] = {}
    """By agent or skill of which the run made a version: what the newest other version uses; not for one that has no
    other."""
    foreign: dict[TargetId, int] = {}
    """By agent that the run made, how many versions are not the run's."""
    pinned: dict[TargetId, str] = {}
    """By agent, the version that its settings say is served."""


async def observe(
    account: Account,
    state: RunState,
    baseline: Baseline,
    *,
    everywhere: bool,
    output: Path | None = None,
    again: bool = False,
) -> Observed:
    """Observe what the run did. ``everywhere``: in stores that the run didn't touch, too, for files of the run.
    ``output`` is OUTPUT_DIR, where written requests are. ``again``: what the lists don't have counts as gone.

    Raises what the account raises, and CannotWrite; what isn't there is no error.
    """
    effects = state.effects()
    looker = _Looker(account, state, effects, everywhere, again)
    for kind in (*ASSISTANT_KINDS, Kind.SKILL, Kind.STORE, Kind.FILE):
        if account.platform in KINDS[kind].platforms:
            await looker.objects(kind)
    await looker.versions()
    await looker.skill_versions()
    await looker.members()
    seen, written = looker.seen, _written(output, effects) if output else []
    ours = {effect.target for effect in effects if isinstance(effect, Written)}
    idle = not effects and not state.uncertain
    alive = idle or bool(seen.found) or any(one.path in ours for one in written)
    return msgspec.structs.replace(seen, orphans=looker.orphans(baseline), alive=alive, written=written)


def uses_of(view: Any) -> list[TargetId]:
    """What a definition uses: stores, files, skills, and versions of these."""
    pinned = [version_target(TargetId(skill), number) for skill, number in skill_references(view) if number]
    return [*(TargetId(id) for id in (*view.store_ids, *view.file_ids, *view.skill_ids)), *pinned]


def affected(effect: Effect) -> list[Key]:
    """What an effect was upon."""
    match effect:
        case Attach(target=store, files=files):
            return [(store, file) for file in files]
        case Detach(store=store, target=target) | Update(store=str(store), target=target):
            return [(TargetId(store), target)]
        case Made(target=target) | Update(target=target) | Written(target=target):
            return [target]


def _written(output: Path, effects: list[Effect]) -> list[WrittenFile]:
    made = [effect.target for effect in effects if isinstance(effect, Made)]
    return [
        WrittenFile(path=TargetId(path), sha256=sha256_of(data), mentions=[id for id in made if id.encode() in data])
        for path, data in listed_requests(output)
    ]


def _without_mark(state: RunState) -> set[tuple[Kind, str, int | None]]:
    """Kind, name and size of what was sent, had no answer, and bears no mark by which it could be known."""
    return {
        (intent.kind, intent.name or "", intent.size)
        for intent in state.uncertain
        if intent.kind in UNMARKED or not state.keeps_marks or getattr(intent, "unmarked", False)
    }


def _uses_of_newest(agent: TargetId, versions: Mapping[TargetId, bytes]) -> list[TargetId]:
    newest = max(versions, key=number_of)
    latest = viewed(versions[newest], AgentVersion, newest)
    view = FoundryAgentView(name=agent, versions=AgentVersions(latest=latest))
    return [TargetId(id) for id in (*view.store_ids, *view.file_ids)]


class _Looker:
    def __init__(self, account: Account, state: RunState, effects: list[Effect], everywhere: bool, again: bool) -> None:
        self._account, self._everywhere, self._again = account, everywhere, again
        self._made = {effect.target for effect in effects if isinstance(effect, Made)}
        self._touched: dict[TargetId, Kind] = {}
        self._in_store: dict[TargetId, set[TargetId]] = {}
        for effect in effects:
            for key in affected(effect):
                if isinstance(key, tuple):
                    self._in_store.setdefault(key[0], set()).add(key[1])
                elif not isinstance(effect, Written):
                    self._touched[key] = effect.kind
        self._files = {target for target, kind in self._touched.items() if kind is Kind.FILE}
        self._uncertain = {intent.op: intent for intent in state.uncertain if intent.kind is not Kind.FILE}
        self._lost = _without_mark(state)
        # The run took these for its own by name and size alone.
        self._inferred = {made.target: made.kind for made in state.inferred}
        self._kinds = {*self._touched.values(), *(one.kind for one in (*state.uncertain, *state.inferred))}
        self._totals: dict[TargetId, int | None] = {}
        self._perhaps: dict[TargetId, PossibleOrphan] = {}
        self.seen = Observed(found={}, users=[], stores={}, members={}, late=[], orphans=[])

    def orphans(self, baseline: Baseline) -> list[PossibleOrphan]:
        """What may be of the run and came since it began, as far as that can be told. Raises CannotWrite."""
        found = [one for one in self._perhaps.values() if one.id not in self._made]
        newer = {
            id
            for kind in {one.kind for one in found}
            for id in baseline.newer(kind, [one.id for one in found if one.kind is kind], perhaps=True)
        }
        return sorted((one for one in found if one.id in newer | self._inferred.keys()), key=lambda one: one.id)

    async def objects(self, kind: Kind) -> None:
        """Note every object of a kind; those of the run that a lagging list leaves out are asked for one by one.

        Where there is no list (any longer) there is nothing of the kind, if nothing of it is there by its id either.
        Raises NotFound where something is: who uses what is not known then.
        """
        if not self._matters(kind):
            return
        seen: set[TargetId] = set()
        absent: NotFound | None = None
        try:
            async for raw in listed(self._account, kind):
                seen.add(self._note(kind, raw))
        except NotFound as error:
            absent = error
        if self._again and not absent:
            return
        for target in [target for target, its in self._touched.items() if its is kind and target not in seen]:
            found = await self._get(place(kind, target))
            if found is None:
                continue
            if absent and kind is not Kind.FILE:
                raise absent
            self._note(kind, found)

    def _matters(self, kind: Kind) -> bool:
        # Few accounts have agents, and of files there may be a million: only where the run had to do with any.
        is_few = KINDS[kind].rare and self._account.platform is not Platform.FOUNDRY
        return kind in self._kinds or not (is_few or kind is Kind.FILE)

    def _note(self, kind: Kind, raw: bytes) -> TargetId:
        """Keep what matters of one object. Returns its id."""
        view: Any = viewed(raw, KINDS[kind].view, f"a record of {PLACES[kind]}")
        target = TargetId(view.id)
        name, size = (view.filename, view.bytes) if isinstance(view, FileView) else (view.name, None)
        if isinstance(view, StoreView):
            self.seen.stores[target], self._totals[target] = name, view.total
        elif isinstance(view, DefinitionView):
            self.seen.users.append(ObservedUser(kind=kind, id=target, name=name, uses=uses_of(view)))
            if isinstance(view, FoundryAgentView) and view.pinned is not None:
                self.seen.pinned[target] = view.pinned
        if target in self._inferred or (kind, name or "", size) in self._lost:
            self._perhaps[target] = PossibleOrphan(kind=kind, id=target, name=name, size=size)
        if kind not in UNMARKED:
            self._note_late(kind, target, (view.metadata or {}).get(OPERATION))
        if target in self._touched:
            self.seen.found[target] = shown(kind, viewed(raw, dict[str, Any], f"{kind} {target}"))
        return target

    def _note_late(self, kind: Kind, target: TargetId, op: object) -> None:
        """A create whose answer was lost was carried out, if something has the mark of that attempt."""
        intent = self._uncertain.get(op) if isinstance(op, str) else None
        if intent is not None and intent.kind is kind and target not in self._made:
            self._made.add(target)
            self._touched[target] = kind
            self.seen.late.append(Made(kind=kind, target=target, source=intent.source, name=intent.name, op=intent.op))

    async def versions(self) -> None:
        """Note the versions of agents that the run made, or may have made, and what the newest other one uses."""
        kind = Kind.AGENT_VERSION
        begun, lost = self._sent(Kind.FOUNDRY_AGENT), self._sent(kind)
        made = [target for target, its in self._touched.items() if its is Kind.FOUNDRY_AGENT and target in self._made]
        ours = [id for known in (self._touched, self._inferred) for id, its in known.items() if its is kind]
        for agent in dict.fromkeys([*map(agent_of, ours), *made, *begun, *lost]):
            there: dict[TargetId, bytes] = {}
            with suppress(NotFound):
                async for raw in self._account.items(path(KINDS[kind].endpoint, agent)):
                    there[read_listed(kind, raw).id] = raw
            is_begun = agent in begun and agent not in made
            for target, raw in there.items():
                self._note_version(agent, target, raw, is_begun=is_begun, lost=lost.get(agent))
            others = {target: raw for target, raw in there.items() if target not in self._touched}
            if agent in made:
                self.seen.foreign[agent] = len(others) - 1
            elif others:
                self.seen.earlier[agent] = _uses_of_newest(agent, others)

    def _sent(self, kind: Kind) -> dict[TargetId, Creation]:
        """The creates of a kind whose outcome is unknown, by the name that was sent."""
        return {TargetId(one.name or ""): one for one in self._uncertain.values() if one.kind is kind}

    def _note_version(
        self, agent: TargetId, target: TargetId, raw: bytes, *, is_begun: bool, lost: Creation | None
    ) -> None:
        """Note a version. ``is_begun``: whether the run made its agent is unknown; ``lost``: whether it made one more
        version of that."""
        kind = Kind.AGENT_VERSION
        mark = read_listed(kind, raw).mark(OPERATION)
        self._note_late(kind, target, mark)
        # Of an agent whose list shows the version of somebody else, the run may have made the first one.
        if is_begun and mark in self._uncertain:
            self._perhaps[agent] = PossibleOrphan(kind=Kind.FOUNDRY_AGENT, id=agent, name=agent)
        # Of one that bears no mark, any that came later may be it.
        may_be = lost is not None and (kind, agent, None) in self._lost and is_later(target, lost)
        if target in self._touched:
            self.seen.found[target] = shown(kind, viewed(raw, dict[str, Any], f"version {target}"))
        elif may_be or self._inferred.get(target) is kind:
            self._perhaps[target] = PossibleOrphan(kind=kind, id=target, name=agent)

    async def skill_versions(self) -> None:
        """Note the versions that the run put into skills that it didn't make."""
        mine = {target for target, kind in self._touched.items() if kind is Kind.SKILL_VERSION}
        for skill in dict.fromkeys(map(agent_of, mine)):
            with suppress(NotFound):
                for number in await version_numbers(self._account, skill):
                    target = version_target(skill, number)
                    if target in mine:
                        self.seen.found[target] = {"name": number}
                    else:
                        self.seen.earlier[skill] = []

    async def members(self) -> None:
        """Look into the stores: those of the run whole, the others for the files that matter."""
        wanted: dict[TargetId, set[TargetId] | None] = {}
        for store in self.seen.stores:
            files = self._in_store.get(store, set()) | (self._files if self._everywhere else set())
            # Also where the store counts none: servers were seen that don't count.
            if store in self._made or files:
                wanted[store] = None if store in self._made else files
        await self._account.limits.each(wanted.items(), self._look_into)

    async def _look_into(self, which: tuple[TargetId, set[TargetId] | None]) -> None:
        """Note the store's files, or those that are wanted, by the shorter way: its list, or each by its id."""
        store, wanted = which
        inside = self.seen.members.setdefault(store, {})
        total = self._totals[store]
        if wanted is not None and total is not None and total > _PAGE * len(wanted):
            for file in wanted:
                raw = await self._get(path("/vector_stores/{}/files/{}", store, file))
                if raw is not None:
                    inside[file] = viewed(raw, ObservedMember, f"file {file} of store {store}")
            return
        try:
            async for raw in self._account.items(path("/vector_stores/{}/files", store)):
                member = viewed(raw, ObservedMember, f"a file of store {store}")
                if wanted is None or member.id in wanted:
                    inside[member.id] = member
        except NotFound:  # deleted since it was listed
            return

    async def _get(self, where: str) -> bytes | None:
        try:
            return (await self._account.get(where)).raw
        except (NotFound, RequestRefused):
            return None
