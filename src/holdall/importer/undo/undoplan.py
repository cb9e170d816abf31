"""What undoes a run's effects, and what must stay. Pure: effects and what was observed in, values out.

In reverse order: what was created is deleted, what was put into a store that stays is taken out of it, what was changed
gets the values it had. Left alone, each with its reason, is what others have changed since, what they use by now, and
whatever such a thing needs. What the run found there and only used isn't among its effects at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from holdall.dialects.agents import without_nulls
from holdall.dialects.shapes import resources
from holdall.importer.plan.difference import changed, fingerprints, same
from holdall.importer.plan.requests import sha256_of
from holdall.importer.runs.effects import Chain, Effect, Made, chains, merged
from holdall.importer.runs.runlines import Attach, Detach, Update, Written
from holdall.importer.runs.runstate import RunState
from holdall.importer.runs.undoactions import Act, UndoAction
from holdall.importer.undo.observed import Member, Observed, ObservedAssistant, PossibleOrphan
from holdall.kinds import WHOLE
from holdall.model import AssistantView, Kind, TargetId

__all__ = ["UndoPlan", "undo_plan"]


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


_Key = TargetId | tuple[TargetId, TargetId]
"""An object of the account, or a file (second) in a store (first)."""


class _Decision:
    """``_stays`` has for each store and file that is in use by what stays, by what."""

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
        self._stays: dict[TargetId, str] = {}

    def all(self) -> Iterator[UndoAction]:
        # Whoever uses something is decided upon before it: assistants, then stores and what is in them, then files.
        decided: dict[_Key, UndoAction] = {}
        for target, update in self._updates.items():
            decided[target] = self._restored(update)
        for made in (made for kind in WHOLE for made in self._of(kind)):
            decided[made.target] = self._deleted(made, self._assistant_changed(made))
        for wrote in self._written.values():
            decided[wrote.target] = self._taken_back(wrote)
        for user in self._after.users:
            self._note_use(user, decided.get(user.id))
        self._note_requests(decided)
        for (store, file), chain in self._chains.items():
            decided[store, file] = self._membership(store, file, chain)
        for made in self._of(Kind.STORE):
            decided[made.target] = self._deleted(made, self._store_changed(made))
        self._note_members(decided)
        for made in self._of(Kind.FILE):
            decided[made.target] = self._deleted(made, "")
        for effect in reversed(self._effects):
            for key in _keys(effect):
                # Of several effects upon one thing the latest has its place.
                if (action := decided.pop(key, None)) is not None:
                    yield action

    def _of(self, kind: Kind) -> Iterator[Made]:
        return (made for made in self._made.values() if made.kind is kind)

    def _deleted(self, made: Made, why_changed: str) -> UndoAction:
        found = self._after.found.get(made.target)
        user = self._users.get(made.target)
        uses = [*user.stores, *user.files] if user else list(self._put.get(made.target, ()))
        name = found.get("name") if found and made.kind is not Kind.FILE else made.name
        one = UndoAction(
            act=Act.DELETE, kind=made.kind, target=made.target, name=name, uses=uses, needless=found is None
        )
        return self._unless(one, why_changed or self._stays.get(made.target, ""))

    def _unless(self, one: UndoAction, why: str) -> UndoAction:
        """Left where there is a reason ``why`` to leave it, unless the user overrules that."""
        if one.needless or not why:
            return one
        if self._force:
            return msgspec.structs.replace(one, despite=why)
        return msgspec.structs.replace(one, left=why)

    def _assistant_changed(self, made: Made) -> str:
        found = self._after.found.get(made.target)
        # Without an image it was found by the run's own mark, and that is all there is to go by.
        if found is None or made.image is None:
            return ""
        fields = changed(made.kind, made.image, found, self._added)
        ours = set(made.perhaps).difference(changed(made.kind, made.perhaps, found, self._added))
        return _changed([field for field in fields if field not in ours])

    def _store_changed(self, made: Made) -> str:
        if why := self._assistant_changed(made):
            return why
        inside, put = self._after.members.get(made.target, {}), self._put.get(made.target, {})
        foreign = [file for file in inside if file not in put]
        if foreign:
            return f"others have put files into it since: {_some(foreign)}"
        relabelled = [file for file, now in inside.items() if not self._labels(now).intersection(("", put[file]))]
        return f"others have changed attributes in it since: {_some(relabelled)}" if relabelled else ""

    def _labels(self, member: Member) -> set[str]:
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
        action = msgspec.structs.replace(action, body=_settable(update.kind, before, found), needless=not fields)
        if update.after is None:
            return self._unless(action, "nobody can say whether it was this run that changed it")
        others = [field for field in changed(update.kind, update.after, found, self._added) if field in fields]
        return self._unless(action, _changed(others))

    def _without_added(self, field: str, value: Any) -> Any:
        """Metadata without the keys that the server puts in by itself."""
        if field != "metadata" or not isinstance(value, Mapping):
            return value
        return {key: item for key, item in value.items() if key not in self._added}

    def _taken_back(self, wrote: Written) -> UndoAction:
        """Of a written file: gone, or as it was, unless it isn't any more as the run left it."""
        now = next((one.sha256 for one in self._after.written if one.path == wrote.target), None)
        text = None if wrote.before is None else wrote.before["text"]
        act, body = (Act.REMOVE, {}) if text is None else (Act.REWRITE, {"text": text})
        one = UndoAction(act=act, kind=Kind.ASSISTANT, target=wrote.target, name=wrote.name, body=body)
        as_before = text is not None and now == sha256_of(text.encode())
        if now is None or as_before:
            return msgspec.structs.replace(one, needless=True)
        return self._unless(one, "" if now in self._hashes[wrote.target] else "you have changed it since")

    def _note_requests(self, decided: Mapping[_Key, UndoAction]) -> None:
        """What a written request names that stays, stays with it."""
        for one in self._after.written:
            mine = decided.get(one.path)
            if mine is None or mine.left:
                for target in one.mentions:
                    self._stays.setdefault(target, f"the written request {one.path} names it")

    def _note_use(self, user: ObservedAssistant, decided: UndoAction | None) -> None:
        """What an assistant uses that stays stays with it: as it is now, or as it will be once it is restored."""
        if decided is not None and decided.act is Act.DELETE and not decided.left:
            return
        stores, files = user.stores, user.files
        if decided is not None and decided.due and "tool_resources" in decided.body:
            before = msgspec.convert({"id": user.id, **decided.body}, AssistantView, strict=False)
            stores, files = [TargetId(i) for i in before.store_ids], [TargetId(i) for i in before.file_ids]
        for target in (*stores, *files):
            self._stays.setdefault(target, f"assistant {f'{user.name} ({user.id})' if user.name else user.id} uses it")

    def _note_members(self, decided: Mapping[_Key, UndoAction]) -> None:
        """Files stay that are in a store that stays, unless they are taken out of it."""
        for store, inside in self._after.members.items():
            mine = decided.get(store)
            if mine is not None and mine.act is Act.DELETE and not mine.left:
                continue
            name = self._after.stores.get(store)
            for file in inside:
                out = decided.get((store, file))
                if out is None or not (out.act is Act.DETACH and out.due):
                    self._stays.setdefault(file, f"vector store {f'{name} ({store})' if name else store} has it")

    def _membership(self, store: TargetId, file: TargetId, chain: Chain) -> UndoAction:
        now = self._after.members.get(store, {}).get(file)
        made = self._made.get(file)

        def action(
            act: Act, *, body: dict[str, Any] | None = None, needless: bool = False, left: str = ""
        ) -> UndoAction:
            name = made.name if made else None
            one = UndoAction(
                act=act, kind=Kind.MEMBERSHIP, target=file, name=name, store=store, body=body or {}, needless=needless
            )
            return self._unless(one, left)

        if store not in self._after.stores:
            return action(Act.DETACH, needless=True)
        if chain.before is None:
            if now is None:
                return action(Act.DETACH, needless=True)
            ours = bool(self._labels(now).intersection(("", *chain.ends)))
            return action(Act.DETACH, left="" if ours else "others have changed it since: attributes")
        before = Member(
            attributes=chain.before.get("attributes"), chunking_strategy=chain.before.get("chunking_strategy")
        )
        body: dict[str, Any] = {"attributes": before.attributes} if before.attributes else {}
        # A strategy of another type says only that nobody knows how the file was cut.
        if (before.chunking_strategy or {}).get("type") == "static":
            body["chunking_strategy"] = before.chunking_strategy
        if now is None:
            ours = None in chain.ends or (store, file) in self._begun
            return action(Act.ATTACH, body=body, left="" if ours else "others have taken it out since")
        same_cut = not before.chunking_strategy or same(
            Kind.MEMBERSHIP, "chunking_strategy", before.chunking_strategy, now.chunking_strategy
        )
        same_labels = same(Kind.MEMBERSHIP, "attributes", before.attributes, now.attributes, added=self._added)
        if same_cut and same_labels:
            return action(Act.RESTORE, needless=True)
        ours = bool(self._labels(now) & chain.ends)
        left = "" if ours else "others have changed it since: attributes"
        if same_cut:
            return action(Act.RESTORE, body={"attributes": before.attributes or {}}, left=left)
        return action(Act.REPLACE, body=body, left=left)


def _keys(effect: Effect) -> list[_Key]:
    match effect:
        case Attach(target=store, files=files):
            return [(store, file) for file in files]
        case Detach(store=store, target=target) | Update(store=str(store), target=target):
            return [(TargetId(store), target)]
        case Made(target=target) | Update(target=target) | Written(target=target):
            return [target]


def _settable(kind: Kind, fields: dict[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` as an update takes them: of an agent's not all that is shown as null may be sent."""
    if kind is Kind.AGENT:
        return {field: without_nulls(value) for field, value in fields.items()}
    if "tool_resources" not in fields:
        return fields
    return {**fields, "tool_resources": resources(fields["tool_resources"], found.get("tool_resources"))}


def _changed(fields: list[str]) -> str:
    return f"others have changed it since: {', '.join(fields)}" if fields else ""


def _some(ids: list[TargetId]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
