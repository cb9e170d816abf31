"""Plans an undo: which effects to undo, and what must stay. Pure: effects and observations in, values out.

In reverse order: created objects are deleted, files put into a store that stays are taken out, changed objects get
their old values. Objects that others have changed or now use stay, with what they need, each with a reason. Objects
that the run only used are not among its effects.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from holdall.dialects.registry import as_update
from holdall.importer.plan.definitions import sha256_of
from holdall.importer.plan.difference import changed, fingerprints, same
from holdall.importer.runs.effects import Act, Chain, Effect, Made, UndoAction, agent_of, chains, merged, version_number
from holdall.importer.runs.runjournal import Attach, Create, Update, Written
from holdall.importer.runs.runstate import RunState
from holdall.importer.undo.observed import (
    Key,
    Observed,
    ObservedMember,
    ObservedUser,
    PossibleOrphan,
    affected,
    uses_of,
)
from holdall.kinds import ASSISTANT_KINDS, KINDS, noun
from holdall.model import Kind, TargetId

# The fields of definitions that refer to others.
_USES = ("tool_resources", "files", "skills")


class UndoPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The actions in the order in which they are to be done, and what may be the run's, for the user to see."""

    run: str
    actions: list[UndoAction]
    orphans: list[PossibleOrphan]

    def due(self) -> list[UndoAction]:
        return [one for one in self.actions if one.due]

    def left(self) -> list[UndoAction]:
        return [one for one in self.actions if one.left]


def undo_plan(
    state: RunState,
    observed: Observed,
    *,
    even_if_changed: bool = False,
    begun: frozenset[tuple[TargetId, TargetId]] = frozenset(),
) -> UndoPlan:
    """Decide what is done about each effect. ``begun`` are the (store, file) that an undo cut short had in hand."""
    decision = _Decision(state, observed, even_if_changed, begun)
    return UndoPlan(
        run=state.opened.run if state.opened else "", actions=list(decision.all()), orphans=observed.orphans
    )


class _Decision:
    """The decisions on one run. ``_stays`` has why a store or a file must stay: something that stays uses it."""

    def __init__(
        self,
        state: RunState,
        observed: Observed,
        even_if_changed: bool,
        begun: frozenset[tuple[TargetId, TargetId]],
    ) -> None:
        self._after = observed
        self._added = state.added
        self._force = even_if_changed
        self._begun = begun
        self._effects: list[Effect] = [*state.effects(), *observed.late]
        self._made = {effect.target: effect for effect in self._effects if isinstance(effect, Made)}
        self._put: dict[TargetId, dict[TargetId, str]] = {}
        for effect in self._effects:
            if isinstance(effect, Attach):
                self._put.setdefault(effect.target, {}).update(effect.files)
        self._users = {user.id: user for user in observed.users}
        self._updates = merged(self._effects)
        self._chains = chains(self._effects, self._made, state.sure)
        self._hashes = state.written
        # Of several, the first has what was there before.
        self._written = {one.target: one for one in reversed(self._effects) if isinstance(one, Written)}
        self._numbers: dict[TargetId, set[str]] = {}
        for version in state.targets[Kind.SKILL_VERSION].values():
            self._numbers.setdefault(agent_of(version), set()).add(version_number(version))
        self._cut_off = {one.into for one in state.uncertain if isinstance(one, Create) and one.into}
        self._stays: dict[TargetId, str] = {}
        # By agent of which the run made versions: whether each of them goes.
        self._versions: dict[TargetId, list[bool]] = {}

    def all(self) -> Iterator[UndoAction]:
        # Whoever uses something is decided upon before it: assistants, then stores and what is in them, then files.
        decided: dict[Key, UndoAction] = {}
        for target, update in self._updates.items():
            decided[target] = self._restored(update)
        for made in self._of(*ASSISTANT_KINDS):
            decided[made.target] = self._deleted(made)
        for made in self._of(Kind.AGENT_VERSION):
            one = decided[made.target] = self._version_deleted(made, decided.get(agent_of(made.target)))
            self._versions.setdefault(agent_of(made.target), []).append(one.due or one.needless)
        for wrote in self._written.values():
            decided[wrote.target] = self._taken_back(wrote)
        for user in self._after.users:
            self._note_use(user, decided.get(user.id))
        self._note_requests(decided)
        for (store, file), chain in self._chains.items():
            decided[store, file] = self._membership(store, file, chain)
        for made in self._of(Kind.SKILL):
            decided[made.target] = self._deleted(made)
        for made in self._of(Kind.SKILL_VERSION):
            decided[made.target] = self._version_deleted(made, decided.get(agent_of(made.target)))
        for made in self._of(Kind.STORE):
            decided[made.target] = self._deleted(made)
        self._note_members(decided)
        for made in self._of(Kind.FILE):
            decided[made.target] = self._deleted(made)
        for effect in reversed(self._effects):
            for key in affected(effect):
                # Of several effects upon one thing the latest has its place.
                if (action := decided.pop(key, None)) is not None:
                    yield action

    def _of(self, *kinds: Kind) -> Iterator[Made]:
        return (made for kind in kinds for made in self._made.values() if made.kind is kind)

    def _deleted(self, made: Made) -> UndoAction:
        found = self._after.found.get(made.target)
        user = self._users.get(made.target)
        uses = user.uses if user else list(self._put.get(made.target, ()))
        name = found.get("name") if found and made.kind is not Kind.FILE else made.name
        one = UndoAction(
            act=Act.DELETE, kind=made.kind, target=made.target, name=name, uses=uses, needless=found is None
        )
        why = self._taken_up(made.target) or self._changed_since(made) or self._stays.get(made.target, "")
        return self._unless(one, why)

    def _taken_up(self, agent: TargetId) -> str:
        """What others do with an agent of Foundry that the run made."""
        if pinned := self._after.pinned.get(agent):
            return f"others have pinned its version {pinned} since"
        return "others have added versions to it since" if self._after.foreign.get(agent, 0) > 0 else ""

    def _version_deleted(self, made: Made, agent: UndoAction | None) -> UndoAction:
        """A version goes with an agent that the run made. The only one that an agent has stays: the agent would go."""
        one = self._deleted(made)
        name, _, version = made.target.rpartition(":")
        if agent is not None and agent.act is Act.DELETE and agent.due:
            return msgspec.structs.replace(one, needless=True)
        if not one.needless and self._after.pinned.get(TargetId(name)) == version:
            return self._unless(one, "others have pinned it since: its agent serves this version")
        if not one.needless and agent_of(made.target) not in self._after.earlier:
            return self._unless(one, f"it is the only version that its {noun(made.kind).split()[0]} has")
        return one

    def _unless(self, one: UndoAction, why: str) -> UndoAction:
        """Left where there is a reason ``why`` to leave it, unless the user overrules that."""
        if one.needless or not why:
            return one
        if self._force:
            return msgspec.structs.replace(one, despite=why)
        return msgspec.structs.replace(one, left=why)

    def _changed_since(self, made: Made) -> str:
        """What others have changed in something that the run made, and in a store's files; empty for nothing."""
        found = self._after.found.get(made.target)
        fields: list[str] = []
        # Without an image it was found by the run's own mark, and that is all there is to go by.
        if found is not None and made.image is not None:
            ours = set(made.perhaps).difference(changed(made.kind, made.perhaps, found, self._added))
            fields = [field for field in changed(made.kind, made.image, found, self._added) if field not in ours]
            if made.kind is Kind.SKILL:
                fields = [field for field in fields if not self._is_by_version(made.target, field, found)]
        return _changed(fields) or self._members_changed(made.target)

    def _is_by_version(self, skill: TargetId, field: str, found: Mapping[str, Any]) -> bool:
        """Whether a field of a skill may be what it is by a version that the run itself put in, before it was cut
        off."""
        return found.get(field) in self._numbers.get(skill, ()) or skill in self._cut_off

    def _members_changed(self, store: TargetId) -> str:
        inside, put = self._after.members.get(store, {}), self._put.get(store, {})
        foreign = [file for file in inside if file not in put]
        if foreign:
            return f"others have added files to it since: {_some(foreign)}"
        relabelled = [file for file, now in inside.items() if not self._labels(now).intersection(("", put[file]))]
        return f"others have changed attributes of its files since: {_some(relabelled)}" if relabelled else ""

    def _labels(self, member: ObservedMember) -> set[str]:
        """The fingerprints of its attributes: as they are shown, and without what the server puts in by itself."""
        shown = {"attributes": member.attributes}
        return {fingerprints(Kind.MEMBERSHIP, shown, added).get("attributes", "") for added in ((), self._added)}

    def _restored(self, update: Update) -> UndoAction:
        found = self._after.found.get(update.target)
        action = UndoAction(
            act=Act.RESTORE, kind=update.kind, target=update.target, name=found.get("name") if found else None
        )
        if found is None:
            return msgspec.structs.replace(action, needless=True)
        was = fingerprints(update.kind, update.before or {}, self._added)
        now = fingerprints(update.kind, found, self._added)
        fields = [field for field in update.before or {} if was.get(field) != now.get(field)]
        before = {field: self._without_added(field, (update.before or {})[field]) for field in fields}
        action = msgspec.structs.replace(action, body=as_update(update.kind, before, found), needless=not fields)
        if update.after is None:
            return self._unless(action, "unknown whether this run changed it")
        others = [field for field in changed(update.kind, update.after, found, self._added) if field in fields]
        return self._unless(action, _changed(others))

    def _without_added(self, field: str, value: Any) -> Any:
        """Metadata without the keys that the server puts in by itself."""
        if field != "metadata" or not isinstance(value, Mapping):
            return value
        return {key: item for key, item in value.items() if key not in self._added}

    def _taken_back(self, wrote: Written) -> UndoAction:
        """A written file: removed, or as it was before, unless somebody has changed it."""
        now = next((one.sha256 for one in self._after.written if one.path == wrote.target), None)
        text = None if wrote.before is None else wrote.before["text"]
        act, body = (Act.REMOVE, {}) if text is None else (Act.REWRITE, {"text": text})
        one = UndoAction(act=act, kind=Kind.ASSISTANT, target=wrote.target, name=wrote.name, body=body)
        as_before = text is not None and now == sha256_of(text.encode())
        if now is None or as_before:
            return msgspec.structs.replace(one, needless=True)
        return self._unless(one, "" if now in self._hashes[wrote.target] else "you have changed it since")

    def _note_requests(self, decided: Mapping[Key, UndoAction]) -> None:
        """Where a written request stays, all that it names stays."""
        for one in self._after.written:
            mine = decided.get(one.path)
            if mine is None or mine.left:
                for target in one.mentions:
                    self._stays.setdefault(target, f"used by request {one.path}")

    def _note_use(self, user: ObservedUser, decided: UndoAction | None) -> None:
        """Where a definition stays, all that it uses stays: as it is now, or as it will be once it is restored."""
        if decided is not None and decided.act is Act.DELETE and not decided.left:
            return
        uses = user.uses
        if user.id in self._after.earlier and all(self._versions.get(user.id, ())):
            uses = self._after.earlier[user.id]
        if decided is not None and decided.due and not decided.body.keys().isdisjoint(_USES):
            found = self._after.found.get(user.id, {})
            uses = uses_of(KINDS[user.kind].view.of_values({**found, **decided.body, "id": user.id}))
        who = f"{noun(user.kind)} {f'{user.name} ({user.id})' if user.name else user.id}"
        for target in uses:
            self._stays.setdefault(target, f"used by {who}")

    def _note_members(self, decided: Mapping[Key, UndoAction]) -> None:
        """Where a store stays, the files in it stay, unless they are taken out of it."""
        for store, inside in self._after.members.items():
            mine = decided.get(store)
            if mine is not None and mine.act is Act.DELETE and not mine.left:
                continue
            name = self._after.stores.get(store)
            for file in inside:
                out = decided.get((store, file))
                if out is None or not (out.act is Act.DETACH and out.due):
                    self._stays.setdefault(file, f"in vector store {f'{name} ({store})' if name else store}")

    def _membership(self, store: TargetId, file: TargetId, chain: Chain) -> UndoAction:
        """A file in a store that the run didn't make: taken out again, or put back as it was."""
        now = self._after.members.get(store, {}).get(file)
        name = self._made[file].name if file in self._made else None
        one = UndoAction(act=Act.DETACH, kind=Kind.MEMBERSHIP, target=file, name=name, store=store)
        if store not in self._after.stores or (chain.before is None and now is None):
            return msgspec.structs.replace(one, needless=True)
        if chain.before is not None:
            return self._as_before(one, chain.before, now, chain.ends)
        assert now is not None
        return self._unless(one, self._relabelled(now, {"", *chain.ends}))

    def _as_before(
        self, one: UndoAction, before: dict[str, Any], now: ObservedMember | None, ends: Collection[str | None]
    ) -> UndoAction:
        attributes, cut = before.get("attributes"), before.get("chunking_strategy")
        body = {"attributes": attributes} if attributes else {}
        # A strategy of another type says only that nobody knows how the file was cut.
        if (cut or {}).get("type") == "static":
            body["chunking_strategy"] = cut
        if now is None:
            # Between taking out and putting in again it is nowhere, and that was this undo, cut off.
            ours = None in ends or (one.store, one.target) in self._begun
            one = msgspec.structs.replace(one, act=Act.ATTACH, body=body)
            return self._unless(one, "" if ours else "others have removed it since")
        same_cut = not cut or same(Kind.MEMBERSHIP, "chunking_strategy", cut, now.chunking_strategy)
        if same_cut and same(Kind.MEMBERSHIP, "attributes", attributes, now.attributes, added=self._added):
            return msgspec.structs.replace(one, act=Act.RESTORE, needless=True)
        if same_cut:
            one = msgspec.structs.replace(one, act=Act.RESTORE, body={"attributes": attributes or {}})
        else:
            one = msgspec.structs.replace(one, act=Act.REPLACE, body=body)
        return self._unless(one, self._relabelled(now, ends))

    def _relabelled(self, now: ObservedMember, ends: Collection[str | None]) -> str:
        return "" if self._labels(now).intersection(ends) else _changed(["attributes"])


def _changed(fields: list[str]) -> str:
    return f"others have changed it since: {', '.join(fields)}" if fields else ""


def _some(ids: list[TargetId]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
