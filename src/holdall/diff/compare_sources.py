"""The verb diff: compares two states of a project, object by object and field by field.

Assistants come first, oldest first, each followed by the vector stores and files that it uses; then what no assistant
uses. Each object is compared once. What changes by itself (times, usage, status) doesn't count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from holdall.agent_views import VersionView
from holdall.dialects.canonical import UNSET, canonical_form
from holdall.dialects.rules import unmarked
from holdall.diff.matching import Copies, KnownObject, ObjectMatch, passing_fields
from holdall.diff.object_changes import FieldChange, How, ObjectChange, Owner, SourceDiff, ValueChange, value_changes
from holdall.diff.record_source import ComparedFile, RecordSource, fields_of, records_of_files
from holdall.diff.text_lines import LineBudget, line_diff
from holdall.kinds import ASSISTANT_KINDS, KINDS
from holdall.model import Fidelity, Kind, Record, SourceId, copy_names

__all__ = ["Copies", "FieldChange", "How", "ObjectChange", "Owner", "SourceDiff", "compare_sources"]

# Steps of all line diffs together: a second or two.
_STEPS = 6_000_000
# Weight of the changes that are kept, in bytes: of more there is only the number.
_KEPT = 32 << 20
# Fields of one object that are named.
_FIELDS = 1000
# Characters from which a text is compared by its lines, and fields that always are.
_LONG, _TEXTS = 200, frozenset({"instructions"})
# Objects of files that are read once more to say which field differs.
_FILES = 100_000


def compare_sources(before: RecordSource, after: RecordSource, copies: Copies) -> SourceDiff:
    """Compares all objects of both. ``copies`` says which are copies of which, besides their metadata.

    Raises DamagedBundle.
    """
    result, room = SourceDiff(), _KEPT
    comparison = _Comparison(ObjectMatch(before, after, copies))
    for change in comparison.changes():
        result.total += 1
        result.counts[change.how] += 1
        room -= _weight(change)
        if room > 0:
            result.changes.append(change)
    result.compared, result.copies = comparison.compared, len(comparison.match.copied)
    return result


def _weight(change: ObjectChange) -> int:
    return 500 + sum(300 + len(msgspec.json.encode(field)) for field in change.fields)


class _Comparison:
    """One comparison. Each object is reported once, with the first assistant that uses it."""

    def __init__(self, match: ObjectMatch) -> None:
        self.match = match
        self.compared: Counter[str] = Counter()
        self._budget = LineBudget(_STEPS)
        self._reported: set[tuple[Kind, SourceId]] = set()
        self._reported_after: set[tuple[Kind, SourceId]] = set()
        self._known = {Kind.FILE: (match.before.files, match.after.files), Kind.STORE: match.listed[Kind.STORE]}
        self._file_records = _differing(match)

    def changes(self) -> Iterator[ObjectChange]:
        for kind in ASSISTANT_KINDS:
            for ours, theirs in self._units(kind):
                yield from self._assistant(kind, ours, theirs)
        for ours, theirs in self._units(Kind.SKILL):
            yield from self._definition(Kind.SKILL, ours, theirs, None)
            yield from self._versions(Kind.SKILL, ours, theirs, None)
        for ours, theirs in self._units(Kind.STORE):
            yield from self._store(ours, theirs, None)
        for ours, theirs in self._pairs(Kind.FILE, self.match.before.files, self.match.after.files):
            yield from self._file(ours, theirs, None)

    def _units(self, kind: Kind) -> list[tuple[SourceId | None, SourceId | None]]:
        """The objects of a kind, oldest first."""
        ours, theirs = self.match.listed[kind]

        def place(pair: tuple[SourceId | None, SourceId | None]) -> tuple[int, str]:
            mine, its = pair
            return ours[mine].place if mine is not None else theirs[its].place if its is not None else (0, "")

        return sorted(self._pairs(kind, ours, theirs), key=place)

    def _pairs(
        self, kind: Kind, ours: Iterable[SourceId], theirs: Iterable[SourceId]
    ) -> Iterator[tuple[SourceId | None, SourceId | None]]:
        """Each with its counterpart, or without one; then what only ``after`` has."""
        to, back = self.match.to[kind], self.match.back[kind]
        yield from ((id, to.get(id)) for id in ours)
        yield from ((None, id) for id in theirs if id not in back)

    def _used(
        self, kind: Kind, users: Iterable[KnownObject | None]
    ) -> Iterator[tuple[SourceId | None, SourceId | None]]:
        """The same of what two counterparts use, which need not be both users'."""
        here, there = users
        ours, theirs = self._known[kind]
        to, back = self.match.to[kind], self.match.back[kind]
        yield from ((id, to.get(id)) for id in (here.uses(kind) if here else ()) if id in ours)
        yield from ((back.get(id), id) for id in (there.uses(kind) if there else ()) if id in theirs)

    def _is_reported(self, kind: Kind, ours: SourceId | None, theirs: SourceId | None) -> bool:
        """Whether an object was reported before; marks it as reported."""
        seen, id = (self._reported, ours) if ours is not None else (self._reported_after, theirs)
        if id is None or (kind, id) in seen:
            return True
        seen.add((kind, id))
        return False

    # -- objects ---------------------------------------------------------------------------------------

    def _assistant(self, kind: Kind, ours: SourceId | None, theirs: SourceId | None) -> Iterator[ObjectChange]:
        users = [
            listed.get(id) if id else None for listed, id in zip(self.match.listed[kind], (ours, theirs), strict=True)
        ]
        known = users[0] or users[1]
        assert known is not None
        owner = Owner(kind=kind, id=known.id, name=known.name)
        yield from self._definition(kind, ours, theirs, owner)
        if kind is Kind.FOUNDRY_AGENT:
            yield from self._versions(kind, ours, theirs, owner)
        for pair in self._used(Kind.FILE, users):
            yield from self._file(*pair, owner)
        for pair in self._used(Kind.STORE, users):
            yield from self._store(*pair, owner)

    def _definition(
        self, kind: Kind, ours: SourceId | None, theirs: SourceId | None, owner: Owner | None
    ) -> Iterator[ObjectChange]:
        match = self.match
        self.compared[KINDS[kind].count] += 1
        id = ours or theirs
        assert id is not None
        name = match.listed[kind][0 if ours is not None else 1][id].name
        if ours is None or theirs is None:
            how = How.ADDED if ours is None else How.REMOVED
            yield ObjectChange(how=how, kind=kind, id=id, name=name, owner=owner)
            return
        pair = match.before.definition(kind, ours), match.after.definition(kind, theirs)
        fields = self._fields(kind, *pair, is_copy=match.is_copy(kind, ours))
        yield from self._changed(kind, ours, theirs, name, owner, fields)

    def _changed(
        self,
        kind: Kind,
        ours: SourceId,
        theirs: SourceId,
        name: str | None,
        owner: Owner | None,
        fields: list[FieldChange],
    ) -> Iterator[ObjectChange]:
        """A change of an object that both states have, if there is one."""
        renamed = (kind, ours) in self.match.renamed
        if fields or renamed:
            how, to = How.RENAMED if renamed else How.CHANGED, theirs if theirs != ours else None
            yield ObjectChange(how=how, kind=kind, id=ours, to=to, name=name, owner=owner, fields=fields)

    def _store(self, ours: SourceId | None, theirs: SourceId | None, owner: Owner | None) -> Iterator[ObjectChange]:
        if self._is_reported(Kind.STORE, ours, theirs):
            return
        yield from self._definition(Kind.STORE, ours, theirs, owner)
        yield from self._members(ours, theirs, owner)

    def _members(self, ours: SourceId | None, theirs: SourceId | None, owner: Owner | None) -> Iterator[ObjectChange]:
        """What changed in a store's files, and of which it holds."""
        match = self.match
        here, there = _members_of(match.before, ours), _members_of(match.after, theirs)
        self.compared[KINDS[Kind.MEMBERSHIP].count] += max(len(here), len(there))
        by_name = {match.name_after(Kind.FILE, id): id for id in there}
        # With a store that is new or gone, so is what it holds.
        both = ours is not None and theirs is not None
        about = partial(ObjectChange, kind=Kind.MEMBERSHIP, inside=ours or theirs, owner=owner)
        for id, record in here.items():
            told = list(self._file(id, match.to[Kind.FILE].get(id), owner))
            yield from told
            copy = by_name.pop(match.name_before(Kind.FILE, id), None)
            if copy is not None and ours is not None:
                is_copy = match.is_copy(Kind.STORE, ours)
                if fields := self._fields(Kind.MEMBERSHIP, record, there[copy], is_copy=is_copy):
                    yield about(how=How.CHANGED, id=id, name=self._name(id), fields=fields)
            elif both and not _tells(told, How.REMOVED):
                yield about(how=How.REMOVED, id=id, name=self._name(id))
        for id in by_name.values():
            told = list(self._file(match.back[Kind.FILE].get(id), id, owner))
            yield from told
            if both and not _tells(told, How.ADDED):
                yield about(how=How.ADDED, id=id, name=self._name(id))

    def _versions(
        self, kind: Kind, ours: SourceId | None, theirs: SourceId | None, owner: Owner | None
    ) -> Iterator[ObjectChange]:
        """The versions of a skill or a Foundry agent that both states have, by their numbers. A copy has numbers of its
        own, so its versions are compared in their order, and only by their zips."""
        if ours is None or theirs is None:
            return
        match, member = self.match, KINDS[kind].member
        assert member is not None
        is_copy = match.is_copy(kind, ours)
        here = _by_number(match.before.members(kind, ours), in_order=is_copy)
        there = _by_number(match.after.members(kind, theirs), in_order=is_copy)
        self.compared[KINDS[member].count] += max(len(here), len(there))
        # One of the two may have been exported with the latest version only.
        if kind is Kind.FOUNDRY_AGENT and not (here and there):
            return
        for number in {**here, **there}:
            one, other = here.get(number), there.get(number)
            found = one or other
            assert found is not None
            about = partial(
                ObjectChange, kind=member, id=found.id, inside=ours, owner=owner, name=f"version {_number(found)}"
            )
            if one is None or other is None:
                yield about(how=How.ADDED if one is None else How.REMOVED)
                continue
            fields = [] if is_copy else self._fields(member, one, other, is_copy=False)
            if fields := [*fields, *self._zip_fields(one.id, other.id)]:
                yield about(how=How.CHANGED, fields=fields)

    def _zip_fields(self, ours: SourceId, theirs: SourceId) -> Iterator[FieldChange]:
        here, there = self.match.before.zips.get(ours), self.match.after.zips.get(theirs)
        if here and there:
            yield from self._named(_contents(here, there))

    def _name(self, file: SourceId) -> str | None:
        found = self.match.before.files.get(file) or self.match.after.files.get(file)
        return found.name if found else None

    def _file(self, ours: SourceId | None, theirs: SourceId | None, owner: Owner | None) -> Iterator[ObjectChange]:
        files = self._known[Kind.FILE]
        if all(id not in known for id, known in zip((ours, theirs), files, strict=True)):
            return
        if self._is_reported(Kind.FILE, ours, theirs):
            return
        self.compared[KINDS[Kind.FILE].count] += 1
        here = self.match.before.files[ours] if ours is not None else None
        there = self.match.after.files[theirs] if theirs is not None else None
        if here and there and (here.record is None) == (there.record is None):
            fields = self._copy_fields if self.match.is_copy(Kind.FILE, here.id) else self._file_fields
            yield from self._changed(Kind.FILE, here.id, there.id, here.name, owner, fields(here, there))
        # One whose object is gone is only referred to.
        elif here and not (there and here.record is None):
            yield _file_change(How.REMOVED, here, owner)
        elif there:
            yield _file_change(How.ADDED, there, owner)

    # -- fields ----------------------------------------------------------------------------------------

    def _file_fields(self, here: ComparedFile, there: ComparedFile) -> list[FieldChange]:
        records = [found.get(file.id) for found, file in zip(self._file_records, (here, there), strict=True)]
        one, other = ({**fields_of(record)} if record else {} for record in records)
        passing = passing_fields(Kind.FILE)
        found = [
            change
            for field in {**one, **other}
            if field not in passing
            for change in value_changes(one.get(field), other.get(field), field)
        ]
        if here.fidelity is None or there.fidelity is None:
            return self._named(found)
        if here.fidelity is not there.fidelity:
            return self._named([*found, *value_changes(here.fidelity, there.fidelity, "fidelity")])
        return self._named([*found, *_contents(here, there)])

    def _copy_fields(self, here: ComparedFile, there: ComparedFile) -> list[FieldChange]:
        """Of a file and its copy: a copy has other dates, and of a text another name."""
        names = copy_names(here.name or here.id, is_text=here.fidelity is Fidelity.TEXT)
        names += copy_names(there.name or there.id, is_text=there.fidelity is Fidelity.TEXT)
        found = [] if {here.name, there.name} <= {*names} else [*value_changes(here.name, there.name, "filename")]
        is_known = all(file.fidelity is not None and file.fidelity.is_bytes for file in (here, there))
        return self._named([*found, *(_contents(here, there) if is_known else ())])

    def _fields(self, kind: Kind, here: Record, there: Record, *, is_copy: bool) -> list[FieldChange]:
        before, after = self.match.values(here, mapped=False), self.match.values(there, mapped=True)
        if is_copy:
            before, after = self._settable(kind, before, after)
        passing = passing_fields(kind)
        changes = (
            change
            for field in {**before, **after}
            if field not in passing
            for change in value_changes(before.get(field), after.get(field), field)
        )
        return self._named(islice(changes, _FIELDS))

    def _settable(
        self, kind: Kind, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What an import sets, without what copies have of their own: servers differ in the rest."""
        copies = self.match.copies
        fields = [*UNSET[kind], *(["chunking_strategy"] if kind is Kind.MEMBERSHIP else [])]
        one, other = {}, {}
        for field in fields:
            here, there = before.get(field), after.get(field)
            if field in ("metadata", "attributes"):
                here, there = (
                    {key: value for key, value in unmarked(found).items() if key not in copies.added}
                    for found in (here, there)
                )
            model = before.get("model") if isinstance(before.get("model"), str) else None
            one[field] = canonical_form(kind, field, here, beside=there, model=model)
            other[field] = canonical_form(kind, field, there, beside=here, model=model)
        if KINDS[kind].has_model and not copies.is_model(before.get("model"), after.get("model")):
            one["model"], other["model"] = before.get("model"), after.get("model")
        if copies.is_name(one.get("name"), other.get("name")):
            one["name"] = other["name"] = None
        return one, other

    def _named(self, changes: Iterable[ValueChange]) -> list[FieldChange]:
        return [self._of_lines(change) for change in changes]

    def _of_lines(self, change: ValueChange) -> FieldChange:
        """The change; one of a text by its lines."""
        texts = [text if isinstance(text, str) else "" for text in (change.before, change.after)]
        known = all(isinstance(text, str) or text is None for text in (change.before, change.after))
        if not known or not (change.path in _TEXTS or max(map(len, texts)) >= _LONG):
            return FieldChange(path=change.path, before=change.before, after=change.after)
        found = line_diff(texts[0], texts[1], self._budget)
        return FieldChange(path=change.path, diff=found.lines, added=found.added, removed=found.removed)


def _number(record: Record) -> str:
    return VersionView.of(record).version or record.id


def _by_number(records: Iterable[Record], *, in_order: bool) -> dict[int | str, Record]:
    """Versions by their numbers, or by their places in the list."""
    return {place if in_order else _number(record): record for place, record in enumerate(records)}


def _members_of(source: RecordSource, store: SourceId | None) -> dict[SourceId, Record]:
    return {record.id: record for record in source.members(Kind.STORE, store)} if store else {}


def _tells(changes: Iterable[ObjectChange], how: How) -> bool:
    return any(change.how is how for change in changes)


def _file_change(how: How, file: ComparedFile, owner: Owner | None) -> ObjectChange:
    size = file.declared if file.declared is not None else file.size
    return ObjectChange(how=how, kind=Kind.FILE, id=file.id, name=file.name, owner=owner, size=size)


def _contents(before: ComparedFile, after: ComparedFile) -> Iterator[ValueChange]:
    """The two contents, as one change."""
    one, other = (
        {"size": file.size, "sha256": file.sha256.hex() if file.sha256 is not None else None}
        for file in (before, after)
    )
    if one != other:
        yield ValueChange(path="content", before=one, after=other)


def _differing(match: ObjectMatch) -> tuple[dict[SourceId, Record], dict[SourceId, Record]]:
    """The objects of the files in both states that differ, of each."""
    ours, theirs = match.before.files, match.after.files
    pairs = [
        (id, other)
        for id, other in match.to[Kind.FILE].items()
        if not match.is_copy(Kind.FILE, id) and ours[id].record != theirs[other].record
    ][:_FILES]
    return (
        records_of_files(match.before, {id for id, _ in pairs}),
        records_of_files(match.after, {id for _, id in pairs}),
    )
