"""Finds what of a bundle exists at a destination already, and how it differs. Reads only.

Objects are matched in this order: by their own id, if the destination is the project that the bundle came from; by the
journals and mappings of earlier runs; by ``cloned_from`` together with the name. Files carry no marks: without a record
of an earlier run they are matched by name and size, within a store or an assistant that was matched.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Container, Iterable, Mapping
from functools import partial
from itertools import chain
from typing import Any

import msgspec

from holdall.bundle import layout
from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.dialects.registry import AS_IS, definition
from holdall.dialects.rules import Form, Targets
from holdall.dialects.templates import unseen
from holdall.importer.destination.destination import History
from holdall.importer.destination.files_and_skills import FilesSeen, SkillsThere, find_skills, fits, is_same_file, sized
from holdall.importer.destination.objects import MemberThere, Object, Objects, StoreComparison, compare
from holdall.importer.plan.bundle_summary import BundleSummary, Content
from holdall.importer.plan.choices import Choices, is_own_project
from holdall.importer.plan.definitions import agent_names, intact, references
from holdall.importer.plan.difference import (
    By,
    Difference,
    Existing,
    Found,
    FoundFile,
    FoundSkill,
    FoundStore,
    same,
    top_fields,
)
from holdall.importer.plan.steps import CreateSkill, CreateStore, Plan, UploadFile
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS, noun, read
from holdall.model import DefinitionView, Fidelity, FileView, Kind, SourceId, TargetId
from holdall.remote.client import Account, path, viewed

_Matches = Mapping[SourceId, tuple[Object, By]]
"""The copies of one kind, by the source's ids."""


async def find_existing(
    account: Account, summary: BundleSummary, reader: BundleReader, planned: Plan, history: History, *, choices: Choices
) -> Existing:
    """What of ``planned`` exists already; ``planned`` is made with ``choices`` for an empty destination. Raises what
    the account raises."""
    return await _Look(account, summary, reader, planned, history).run(choices)


class _Look:
    """One look at a destination: lists, then members, then files, then the comparison.

    Lists are read rather than single objects, and only lists that can hold something: an empty destination costs one
    request a kind.
    """

    def __init__(
        self, account: Account, summary: BundleSummary, reader: BundleReader, planned: Plan, history: History
    ) -> None:
        self._account, self._summary, self._reader, self._history = account, summary, reader, history
        self._prefix = planned.prefix
        self._keeps_assistants = planned.form is Form.ASSISTANTS
        self._names = agent_names(summary, planned.prefix, planned.form)
        self._is_own = is_own_project(account.endpoint, reader.info)
        chosen = {(unit.kind, unit.id) for unit in planned.units}
        chosen |= {(step.kind, step.id) for step in planned.steps() if isinstance(step, CreateStore | CreateSkill)}
        self._records = {
            kind: {record.id: record for record in summary.records(kind) if (kind, record.id) in chosen}
            for kind in DEFINITIONS
        }
        self._views = {
            kind: {id: read(record) for id, record in self._records[kind].items()} for kind in ASSISTANT_KINDS
        }
        wanted = chain(
            (step.content.id for step in planned.steps() if isinstance(step, UploadFile)),
            *(summary.members.get(store, ()) for store in self._records[Kind.STORE]),
            *(view.file_ids for views in self._views.values() for view in views.values()),
        )
        self._wanted = dict.fromkeys(wanted)
        self._members: dict[SourceId, dict[TargetId, MemberThere]] = {}
        self._seen: dict[str, FileView] = {}
        self._files: dict[SourceId, FoundFile] = {}
        self._stale: dict[SourceId, TargetId] = {}
        self._found_stores: dict[SourceId, FoundStore] = {}
        self._skills = SkillsThere(found={}, several=[])
        self._intact: set[SourceId] = set()
        self._purpose: str | None = None

    async def run(self, choices: Choices) -> Existing:
        self._purpose = choices.table.purpose
        self._account.progress.stage(f"Reading what {self._account.endpoint.host} has")
        looks: dict[Kind, Objects] = {}
        if skills := self._records[Kind.SKILL]:
            self._skills = await find_skills(self._account, skills, self._summary.skill_versions, self._history)
        for kind, records in self._records.items():
            if kind is Kind.SKILL:
                continue
            is_kept = kind is not Kind.ASSISTANT or self._keeps_assistants
            looks[kind] = Objects(
                kind,
                records if is_kept else {},
                self._history.made[kind],
                prefix=self._prefix,
                names=self._names,
                is_own=self._is_own,
            )
        await asyncio.gather(*(look.read(self._account) for look in looks.values()))
        found = {kind: look.matches() for kind, look in looks.items()}
        await self._match_files(found, looks[Kind.TEMPLATE])
        self._intact = intact(self._files, self._summary)
        found[Kind.TEMPLATE] |= self._templates(looks[Kind.TEMPLATE], found[Kind.TEMPLATE], choices)
        for id, (there, by) in found[Kind.STORE].items():
            self._found_stores[id] = await asyncio.to_thread(self._store, id, there, by)  # reads the bundle
        definitions = {}
        for kind in ASSISTANT_KINDS:
            if matches := found[kind]:
                definitions[kind] = {id: self._definition(kind, id, matches, choices) for id in matches}
        return Existing(
            definitions=definitions,
            stores=self._found_stores,
            skills=self._skills.found,
            files=self._files,
            several=[*self._skills.several, *(one for look in looks.values() for one in look.several)],
            usage=looks[Kind.STORE].usage,
            agents=frozenset(looks[Kind.FOUNDRY_AGENT].all_names),
        )

    @property
    def _numbers(self) -> dict[SourceId, str]:
        """The numbers there of skills' versions."""
        return {id: number for one in self._skills.found.values() for id, number in one.numbers.items()}

    # -- files -------------------------------------------------------------------------------------------

    async def _match_files(self, found: Mapping[Kind, _Matches], templates: Objects) -> None:
        stores = found[Kind.STORE]
        await asyncio.gather(*(self._list_members(source, there) for source, (there, _) in stores.items()))
        users = [
            (self._views[kind][source], there, by)
            for kind in (Kind.ASSISTANT, Kind.FOUNDRY_AGENT, Kind.TEMPLATE)
            for source, (there, by) in found[kind].items()
        ]
        perhaps = [there for source in self._records[Kind.TEMPLATE] for there in templates.named(source)]
        attached = dict.fromkeys(target for members in self._members.values() for target in members)
        used = [id for there in (*(there for _, there, _ in users), *perhaps) for id in _files_used(there)]
        await self._look_for_files(attached, used, self._perhaps_own(stores))
        self._resolve_known(attached, stores)
        # In the project that the bundle came from, what has another id is another file.
        for source, (_, by) in stores.items():
            if by is not By.ORIGIN:
                members = self._summary.members.get(source, ())
                await asyncio.to_thread(self._resolve_by_place, members, self._members[source], source)
        for view, there, by in users:
            if by is not By.ORIGIN:
                self._resolve_by_place(view.file_ids, dict.fromkeys(_files_used(there)), None)

    async def _list_members(self, source: SourceId, store: Object) -> None:
        members = self._members.setdefault(source, {})
        if store.expired:  # so it was in the bundle; it has nothing any more
            return
        async for raw in self._account.items(path("/vector_stores/{}/files", store.target)):
            member = viewed(raw, MemberThere, f"a file of store {store.target}")
            members[TargetId(member.id)] = member

    def _perhaps_own(self, stores: _Matches) -> Collection[SourceId]:
        """The bundle's files, where it may have come from this very project, as far as both say which they are."""
        theirs, ours = self._reader.info.source.project, self._account.project
        may_be = not (theirs and ours) or theirs == ours or any(by is By.ORIGIN for _, by in stores.values())
        return self._wanted if may_be else ()

    async def _look_for_files(
        self, attached: Mapping[TargetId, None], used: Iterable[str], own: Collection[str]
    ) -> None:
        """Gets the records of the files of which a list of members doesn't say enough."""
        made = dict.fromkeys(target for source in self._wanted for target in self._history.uploads(source))
        unknown: list[str] = [
            *(id for id in own if id not in attached),
            # Of a copy in a store whose bytes a journal knows, the store's list says enough.
            *(id for id in made if id not in attached or id not in self._history.hashes),
            *(id for id in (*attached, *used) if id not in made and id not in own),
        ]
        if ids := dict.fromkeys(unknown):
            files = FilesSeen(self._account)
            await files.read(list(ids), made, own if self._is_own else ())
            self._seen = files.seen

    def _resolve_known(self, attached: Container[str], stores: _Matches) -> None:
        """Matches files that exist under their own ids, or that earlier runs recorded."""
        at_home: set[str] = {
            target for source, (_, by) in stores.items() if by is By.ORIGIN for target in self._members[source]
        }
        hashes = self._hashes()
        for source in self._wanted:
            content, view = self._summary.content(source), self._seen.get(source)
            # What an agent can't refer to by its id has to be uploaded again.
            is_usable = not self._purpose or content.purpose in (None, self._purpose)
            if source in at_home or (view and is_usable and is_same_file(view, content)):
                name = view.filename if view else content.filename
                self._files[source] = FoundFile(target=TargetId(source), name=name, by=By.ORIGIN)
            else:
                self._resolve_recorded(content, hashes.get(source), attached)

    def _resolve_recorded(self, content: Content, sha256: str | None, attached: Container[str]) -> None:
        """Among the recorded copies that still exist: the newest with the bundle's bytes, and one with others."""
        source = content.id

        def newest(targets: list[TargetId]) -> TargetId | None:
            for target in reversed(targets):
                view = self._seen.get(target)
                if target not in attached and view is None:
                    continue
                recorded = self._history.hashes.get(target)
                if (recorded == sha256) if recorded and sha256 else fits(view, content):
                    return target
                if content.fidelity is not Fidelity.UNAVAILABLE and (source not in self._stale or target in attached):
                    self._stale[source] = target
            return None

        # Where there are both, stores have the text and the code interpreter the file.
        second = newest(self._history.copies.get(source, []))
        first = newest(self._history.made[Kind.FILE].get(source, []))
        if target := first or second:
            copy = second if first else None
            self._files[source] = FoundFile(target=target, name=self._name_of(target), by=By.EARLIER, copy=copy)

    def _name_of(self, target: TargetId) -> str | None:
        view = self._seen.get(target)
        return view.filename if view else None

    def _hashes(self) -> dict[SourceId, str]:
        """The bundle's hashes of the files that journals have a hash of."""
        known = self._history.hashes
        wanted = {source for source in self._wanted if any(id in known for id in self._history.uploads(source))}
        if not wanted:
            return {}
        return {
            SourceId(entry.id): entry.sha256
            for folder in (layout.CONTENTS, layout.TEXTS)
            for entry in self._reader.entries(folder)
            if entry.id in wanted
        }

    def _resolve_by_place(
        self, sources: Iterable[SourceId], there: Mapping[TargetId, MemberThere | None], store: SourceId | None
    ) -> None:
        """Matches files without a record by name and size, among those in the same store or assistant."""
        open_sources = [s for s in dict.fromkeys(sources) if s not in self._files and s not in self._stale]
        if not open_sources:
            return
        # One file there is the copy of one here, or two stores would share what the source has twice.
        claimed = {found.target for found in self._files.values()} | set(self._stale.values())
        free: dict[str, list[TargetId]] = {}
        for target in there:
            view = self._seen.get(target)
            if target not in claimed and view and view.filename is not None:
                free.setdefault(view.filename, []).append(target)
        attributes = self._attributes(store, open_sources) if store and free else {}
        # Of several files that are alike, each is first looked for with the attributes that the bundle gives it.
        for wanted in (attributes, {}):
            for source in open_sources:
                if source not in self._files:
                    self._claim(source, free, there, wanted.get(source))

    def _attributes(self, store: SourceId, wanted: Iterable[SourceId]) -> dict[SourceId, dict[str, Any]]:
        wanted = frozenset(wanted)
        return {
            record.id: dialect.attachment(record, TargetId("")).body.get("attributes") or {}
            for record in self._reader.memberships(store)
            if record.id in wanted
        }

    def _claim(
        self,
        source: SourceId,
        free: Mapping[str, list[TargetId]],
        there: Mapping[TargetId, MemberThere | None],
        attributes: Mapping[str, Any] | None,
    ) -> None:
        """Takes the first of the ``free`` files that fits ``source``; with ``attributes``, one that has these."""
        content = self._summary.content(source)
        for name in content.copy_names():
            for target in free.get(name, ()):
                member = there[target]
                if not sized(self._seen[target], content):
                    continue
                if attributes is not None and not (member and self._is_labelled(member, attributes)):
                    continue
                free[name].remove(target)
                self._files[source] = FoundFile(target=target, name=name, by=By.PLACE)
                return

    def _is_labelled(self, member: MemberThere, attributes: Mapping[str, Any]) -> bool:
        return same(Kind.MEMBERSHIP, "attributes", attributes, member.attributes, added=self._history.added)

    # -- templates ---------------------------------------------------------------------------------------

    def _templates(self, there: Objects, known: _Matches, choices: Choices) -> dict[SourceId, tuple[Object, By]]:
        """The copies of templates that no earlier run made: equal in name and in every field that is shown."""
        found: dict[SourceId, tuple[Object, By]] = {}
        claimed = {one.target for one, _ in known.values()}
        for source in self._records[Kind.TEMPLATE]:
            for one in there.named(source) if source not in known else ():
                if one.target in claimed:
                    continue
                # What is supplied tells nothing of what is there.
                plain = msgspec.structs.replace(choices, supplied={})
                compared = self._definition(Kind.TEMPLATE, source, {source: (one, By.CONTENTS)}, plain)
                if top_fields(compared.differences) == ["files"]:
                    # Its files may be copies of which nothing is recorded.
                    used = dict.fromkeys(_files_used(one))
                    self._resolve_by_place(self._views[Kind.TEMPLATE][source].file_ids, used, None)
                    self._intact = intact(self._files, self._summary)
                    compared = self._definition(Kind.TEMPLATE, source, {source: (one, By.CONTENTS)}, plain)
                if not compared.differences:
                    claimed.add(one.target)
                    found[source] = one, By.CONTENTS
                    break
        return found

    # -- comparison --------------------------------------------------------------------------------------

    def _store(self, source: SourceId, there: Object, by: By) -> FoundStore:
        if there.expired:
            return FoundStore(target=there.target, by=by)
        members = self._members[source]
        comparison = StoreComparison(self._summary.stores[source], there, members, self._history, by=by)
        taken: set[SourceId] = set()
        for record in self._reader.memberships(source):
            content, copy = self._summary.content(record.id), self._files.get(record.id)
            if record.id not in taken and (copy or content.fidelity is not Fidelity.UNAVAILABLE):
                taken.add(record.id)
                comparison.take(record, content, copy, self._stale.get(record.id))
        return comparison.finish(self._name_of)

    def _definition(self, kind: Kind, source: SourceId, matches: _Matches, choices: Choices) -> Found:
        """Compares a copy with what an import would make; ``matches`` are all copies of its kind."""
        (there, by), view, record = matches[source], self._views[kind][source], self._records[kind][source]
        # What stands where the bundle came from is no copy: no limit has cut anything off it.
        table = AS_IS if by is By.ORIGIN else choices.table
        refers = references(view, self._summary, self._intact, table)
        called = (id for id in view.assistant_ids if id in self._records[kind])
        request = definition(
            record,
            prefix=self._prefix,
            targets=Targets(
                stores={id: _target(id, self._found_stores) for id in refers.stores},
                files={id: _target(id, self._files) for id in refers.files},
                assistants={id: matches[id][0].target if id in matches else _new(id) for id in called},
                skills={id: _target(id, self._skills.found) for id in refers.skills.skills},
                versions={
                    pinned: self._numbers.get(id, f"(new) {pinned[1]}") for pinned, id in refers.skills.versions.items()
                },
                names={**self._names, source: there.target},
                connections=choices.connections,
            ),
            model=choices.models.rule(view.model),
            table=table,
        )
        found = compare(record, view.name, request, there, self._history, by=by)
        return found if kind is not Kind.TEMPLATE else self._template(found, view.name, source, there, choices)

    def _template(self, found: Found, name: str | None, source: SourceId, there: Object, choices: Choices) -> Found:
        """The comparison of a template, with what can't be compared: what its owner supplies now and did not before."""
        supplied = choices.supplied.get(source, frozenset())
        new = sorted(supplied - self._history.supplied.get(there.target, set()))
        about = partial(Difference, kind=Kind.TEMPLATE, source=source, target=there.target, name=name)
        told = [about(field=field, bundle="supplied", destination="not shown") for field in new]
        differences = [*found.differences, *told]
        # A list replaces what is there, and what is inline in it nobody could put back.
        inline = {field for field, _ in unseen(there.fields())} - supplied
        lost = [field for field in top_fields(differences) if any(one.startswith(f"{field}.") for one in inline)]
        return msgspec.structs.replace(found, differences=differences, changed=[*found.changed, *lost])


def _target(
    id: SourceId,
    found: Mapping[SourceId, FoundStore] | Mapping[SourceId, FoundFile] | Mapping[SourceId, FoundSkill],
) -> TargetId:
    return found[id].target if id in found else _new(id)


def _new(id: SourceId) -> TargetId:
    return TargetId(f"(new) {id}")


def _files_used(there: Object) -> list[TargetId]:
    """The files that an assistant there gives to the code interpreter."""
    view: type[DefinitionView] = KINDS[there.kind].view  # type: ignore[assignment]
    return [TargetId(id) for id in viewed(there.raw, view, noun(there.kind)).file_ids]
