"""The roots of an export: the assistants of the API or a dump, or, if there are none, all stores and files; and all
agents.

The selector chooses roots; what a root needs is included. A store that is gone from the server is taken from the dump,
if it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec.structs import replace

from holdall.agent_views import (
    AgentDefinition,
    AgentTool,
    AgentVersion,
    AgentVersions,
    AgentVersionView,
    FoundryAgentView,
    is_builtin_skill,
)
from holdall.credentials import CannotWithhold, without_values
from holdall.errors import AuthenticationFailed, NothingThere
from holdall.exporter.report import unfit
from holdall.graph import called, callee_names, users_of
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS
from holdall.model import KNOWLEDGE, AssistantView, DefinitionView, FileView, Kind, Record, SourceId, is_invented
from holdall.remote.survey import Definitions, Missing, Surveyor
from holdall.selection import Root, Selection, choose
from holdall.untrusted import read_as, require_record

if TYPE_CHECKING:
    from holdall.dumps import Dump

# From so many stores on, one list is cheaper than a request for each.
_LIST_FROM = 5


class Roots(msgspec.Struct, frozen=True, kw_only=True):
    """What to start from.

    ``file_search`` and ``code_interpreter`` say which knowledge of the assistants is followed. ``assistants`` False
    leaves the assistants out and takes all stores and files. ``unused`` adds the stores and files that nothing refers
    to. ``all_versions`` takes all versions of Foundry agents, not the latest alone. With a ``dump`` the assistants are
    those of the dump.
    """

    selection: Selection = Selection()
    file_search: bool = True
    code_interpreter: bool = True
    assistants: bool = True
    unused: bool = False
    all_versions: bool = False
    dump: Dump | None = None

    @property
    def takes_unused(self) -> bool:
        """Whether stores and files are roots by themselves."""
        return self.unused or not self.assistants


async def gather(surveyor: Surveyor | None, start: Roots) -> Definitions:
    """Choose the roots and read their records, except memberships and files.

    ``surveyor`` is None without a key: then nothing of the dump may refer to a store or a file, or AuthenticationFailed
    is raised. Raises UsageFault where the selection fits nothing.
    """
    return await _Gathering(surveyor, start).definitions()


class _Gathering:
    """What was read of the account and of the dump for one export, by kind and id."""

    def __init__(self, surveyor: Surveyor | None, start: Roots) -> None:
        self._surveyor, self._start = surveyor, start
        dump = start.dump
        self._from_dump = (
            {Kind.ASSISTANT: dump.assistants, Kind.STORE: dump.stores, Kind.FILE: dump.files} if dump else {}
        )
        self._members_in_dump = dump.memberships if dump else {}
        self._records: dict[Kind, dict[SourceId, Record]] = {kind: {} for kind in DEFINITIONS}
        self._views: dict[Kind, dict[SourceId, Any]] = {kind: {} for kind in DEFINITIONS}
        self._unreadable: dict[tuple[Kind, SourceId], Missing] = {}
        self._files: list[FileView] = []
        self._lists_stores = start.takes_unused or Kind.STORE in start.selection.kinds()

    async def definitions(self) -> Definitions:
        start = self._start
        await self._list()
        chosen = await self._choose()
        picked = await self._pick(chosen)
        views = [view for kind in ASSISTANT_KINDS for view in picked[kind]]
        if self._surveyor is None:
            _refuse_without_key(start, views)
        wanted = users_of(views, stores=start.file_search).stores
        for store_id in _ids(chosen, Kind.STORE):
            wanted.setdefault(store_id, [])
        missing, from_dump = await self._find_stores(wanted)
        skills, no_skills = await self._find_skills(_ids(chosen, Kind.SKILL), picked[Kind.TEMPLATE])
        store_views = {id: self._views[Kind.STORE][id] for id in wanted if id in self._views[Kind.STORE]}
        kept = {kind: [SourceId(view.id) for view in picked[kind]] for kind in ASSISTANT_KINDS} | {
            Kind.SKILL: skills,
            Kind.STORE: list(store_views),
        }
        return Definitions(
            records={kind: [self._records[kind][id] for id in ids] for kind, ids in kept.items()},
            views=views,
            store_views=list(store_views.values()),
            skill_views=[self._views[Kind.SKILL][id] for id in skills],
            all_versions=self._all_versions(kept[Kind.FOUNDRY_AGENT]) if start.all_versions else {},
            unreadable=list(self._unreadable.values()),
            missing=[*missing, *no_skills, *_uncalled(self._records[Kind.ASSISTANT], picked[Kind.ASSISTANT])],
            files=_ids(chosen, Kind.FILE),
            memberships={id: self._members_in_dump.get(id, []) for id in from_dump},
            file_records={record.id: record for record in self._from_dump.get(Kind.FILE, ())},
        )

    async def _choose(self) -> list[Root]:
        default = [root for kind in DEFINITIONS if kind is not Kind.STORE for root in self._roots(kind)]
        if self._start.takes_unused:
            default += await self._unused()
        others = [*self._roots(Kind.STORE), *map(_file_root, self._files)]
        return choose(default, self._start.selection, others=others, where="the project")

    async def _pick(self, chosen: list[Root]) -> dict[Kind, list[Any]]:
        """The views of the chosen definitions and of those that they call, by kind."""
        picked = {kind: called(_ids(chosen, kind), self._views[kind]) for kind in ASSISTANT_KINDS}
        if self._start.all_versions:
            picked[Kind.FOUNDRY_AGENT] = [await self._of_all_versions(view) for view in picked[Kind.FOUNDRY_AGENT]]
        return picked

    async def _list(self) -> None:
        """Read all of each kind of which some may be chosen."""
        start = self._start
        for record in self._from_dump.get(Kind.ASSISTANT, ()):
            self._add(record)
        if self._surveyor is None:
            return
        for kind in filter(self._is_listed, DEFINITIONS):
            for record in await self._surveyor.definitions(kind):
                if kind is not Kind.SKILL or not is_builtin_skill(record.id):
                    self._add(record)
        if start.takes_unused or Kind.FILE in start.selection.kinds():
            self._files = await self._surveyor.files()

    def _is_listed(self, kind: Kind) -> bool:
        if kind is Kind.ASSISTANT:
            return self._start.assistants and self._start.dump is None
        if kind is Kind.STORE:
            return self._lists_stores
        # Few servers have the others, and a key need not be allowed to see what nobody asks for.
        return self._start.selection.may_take(kind)

    def _add(self, record: Record) -> None:
        """Keep a record and what is acted upon in it; note one that can't be read, or that no bundle can hold."""
        key, view = (record.kind, record.id), cast(Any, None)
        try:
            record = without_values(record)
            why = unfit(record.raw)
            if KINDS[record.kind].is_named and not why:  # in a bundle it has the id that its record says
                record = replace(record, id=SourceId(require_record(record.raw).id))
            view = None if why else read_as(record.raw, KINDS[record.kind].view)
        except ValueError as error:
            why = f"its record has an unexpected format ({error})"
            if isinstance(error, CannotWithhold):
                record = replace(record, raw=b"")
        # An agent of Foundry goes by its name, which is that of its view.
        self._records[record.kind][SourceId(view.id) if view else record.id] = record
        if why:
            self._unreadable.setdefault(key, Missing(kind=record.kind, id=record.id, message=why))
            return
        # The views of a whole project are in memory at once: without the longest fields, which no export acts upon.
        if isinstance(view, DefinitionView):
            view = replace(view, metadata=None)
        if isinstance(view, AssistantView):
            view = replace(view, instructions=None)
        if isinstance(view, FoundryAgentView):
            latest = view.versions.latest
            latest = replace(latest, metadata=None, definition=replace(latest.definition, instructions=None))
            view = replace(view, versions=AgentVersions(latest=latest))
        self._views[record.kind].setdefault(SourceId(view.id), view)

    def _roots(self, kind: Kind) -> list[Root]:
        return [Root(kind=kind, id=id, name=view.name) for id, view in self._views[kind].items()]

    async def _unused(self) -> list[Root]:
        """The stores and files that are roots by themselves.

        Where no assistant is left out, a file that one of them needs may be named here too: it is fetched once all the
        same. Where the selection leaves some out, what only they use is no root, so their stores are looked into.
        """
        start = self._start
        everyone = list(self._views[Kind.ASSISTANT].values())
        used = users_of(everyone, stores=start.file_search).stores
        taken: set[SourceId] = set()
        if self._surveyor and (start.selection.only or start.selection.exclude):
            taken.update(users_of(everyone).files)
            for store_id in (id for id in used if id in self._views[Kind.STORE]):
                async for member, _ in self._surveyor.memberships(store_id, required=False):
                    taken.add(SourceId(member.id))
        # Files of other purposes belong to batches and fine-tuning: they are taken where they are asked for.
        files = [_file_root(file) for file in self._files if file.purpose in KNOWLEDGE]
        return [
            *(root for root in self._roots(Kind.STORE) if root.id not in used),
            *(root for root in files if root.id not in taken),
        ]

    async def _find_stores(self, wanted: Mapping[SourceId, list[SourceId]]) -> tuple[list[Missing], list[SourceId]]:
        """Read the wanted stores not read yet. Returns (those gone from the server, those in the dump)."""
        missing: list[Missing] = []
        from_dump: list[SourceId] = []
        if self._surveyor is None or not wanted:
            return missing, from_dump
        listed = self._records[Kind.STORE]
        if not self._lists_stores and len(wanted) >= _LIST_FROM:
            listed = {record.id: record for record in await self._surveyor.definitions(Kind.STORE)}
        in_dump = {record.id: record for record in self._from_dump.get(Kind.STORE, ())}
        for store_id, users in wanted.items():
            found: Record | Missing | None = listed.get(store_id)
            # The store that was made for a v1 assistant is nowhere but in the dump: no server is asked for it.
            if found is None and not is_invented(store_id):
                found = await self._surveyor.one(Kind.STORE, store_id, users)
            if isinstance(found, Missing):
                missing.append(replace(found, held=store_id in in_dump))
                found = None
            if found is None and (found := in_dump.get(store_id)):
                from_dump.append(store_id)
            if found and store_id not in self._records[Kind.STORE]:
                self._add(found)
        return missing, from_dump

    async def _of_all_versions(self, view: DefinitionView) -> DefinitionView:
        """The view of an agent that refers to what any of its versions refers to."""
        assert self._surveyor
        stores, files = dict.fromkeys(view.store_ids), dict.fromkeys(view.file_ids)
        found = self._surveyor.members(Kind.FOUNDRY_AGENT, SourceId(view.id), AgentVersionView, required=False)
        async for version, _ in found:
            one = FoundryAgentView(
                name=view.id, versions=AgentVersions(latest=AgentVersion(definition=version.definition))
            )
            stores.update(dict.fromkeys(one.store_ids))
            files.update(dict.fromkeys(one.file_ids))
        tools = [
            AgentTool(type="file_search", vector_store_ids=list(stores)),
            AgentTool(type="code_interpreter", container={"file_ids": list(files)}),
        ]
        latest = AgentVersion(definition=AgentDefinition(model=view.model, tools=tools))
        return FoundryAgentView(id=view.id, name=view.name, versions=AgentVersions(latest=latest))

    def _all_versions(self, agents: Iterable[SourceId]) -> dict[SourceId, str]:
        return {self._records[Kind.FOUNDRY_AGENT][name].id: name for name in agents}

    async def _find_skills(
        self, chosen: Iterable[SourceId], templates: Iterable[DefinitionView]
    ) -> tuple[list[SourceId], list[Missing]]:
        """The chosen skills and those that the templates name, read where they weren't yet; and those not found."""
        users: dict[SourceId, list[str]] = {id: [] for id in chosen}
        for view in templates:
            for id in view.skill_ids:
                if not is_builtin_skill(id):
                    users.setdefault(id, []).append(view.id)
        missing = []
        for id, by in users.items():
            if id not in self._records[Kind.SKILL] and self._surveyor:
                found = await self._surveyor.one(Kind.SKILL, id, by)
                if isinstance(found, Missing):
                    missing.append(found)
                else:
                    self._add(found)
        return [id for id in users if id in self._views[Kind.SKILL]], missing


def _file_root(file: FileView) -> Root:
    return Root(kind=Kind.FILE, id=SourceId(file.id), name=file.filename)


def _ids(roots: Iterable[Root], kind: Kind) -> list[SourceId]:
    return [root.id for root in roots if root.kind is kind]


def _uncalled(records: Mapping[SourceId, Record], picked: Iterable[DefinitionView]) -> Iterator[Missing]:
    """The assistants that others call, and that are not there."""
    users: dict[str, list[str]] = {}
    for view in picked:
        tools = read_as(records[SourceId(view.id)].raw, dict[str, Any]).get("tools")
        for one in (*(id for id in view.assistant_ids if id not in records), *callee_names(tools)):
            users.setdefault(one, []).append(view.id)
    for one, by in users.items():
        message = "called by another assistant, but not found"
        yield Missing(kind=Kind.ASSISTANT, id=SourceId(one), used_by=by, message=message)


def _refuse_without_key(start: Roots, picked: Iterable[DefinitionView]) -> None:
    for view in picked:
        if (start.file_search and view.store_ids) or (start.code_interpreter and view.file_ids):
            raise AuthenticationFailed(
                f"no key for the source project: assistant {view.name or view.id} uses vector stores or files, "
                f"and OPENAI_SRC_API_KEY is not set",
                hint="set the key, or export without files: --no-file-search --no-code-interpreter",
            )


def refuse_nothing(definitions: Definitions, start: Roots) -> None:
    """Raise NothingThere if there is nothing to export."""
    if any(definitions.all()) or definitions.files:
        return
    what = (
        "assistants and no agents"
        if start.assistants
        else "agents, no vector stores and no files of purpose " + ", ".join(KNOWLEDGE)
    )
    raise NothingThere(
        f"nothing to export: the project has no {what}",
        hint="check that this is the right key; --unused also exports vector stores and files that no assistant uses",
    )
