"""Looks at a destination for what of a bundle is there already, and in what it differs. Reads only.

Recognised in this order: by its own id, where the destination is the project that the bundle came from; by what an
earlier run wrote down; by ``cloned_from`` together with the name. Files carry no marks: without a word of an earlier
run they are found where their copies belong, in a store or an assistant that was recognised, by name and size.

Lists are read rather than single objects, and only those lists that can hold something: a fresh destination costs one
request a kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from holdall.bundle import layout
from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.dialects.forms import Form
from holdall.dialects.requestbody import Targets, definition
from holdall.dialects.tables import AS_IS
from holdall.errors import NotFound, RequestRefused
from holdall.importer.destination.history import History
from holdall.importer.destination.objects import MemberThere, Object, Objects, compare_store, compare_whole
from holdall.importer.plan.bundle_summary import BundleSummary, Content
from holdall.importer.plan.choices import Choices
from holdall.importer.plan.definitions import references, whole
from holdall.importer.plan.difference import same
from holdall.importer.plan.existing import Existing, Found, FoundFile, FoundStore
from holdall.importer.plan.steps import By, CreateStore, Plan, UploadFile
from holdall.kinds import WHOLE, read
from holdall.model import AssistantView, Fidelity, FileView, Kind, SourceId, TargetId, epoch_seconds
from holdall.progress import Progress
from holdall.remote.client import Account, path, viewed
from holdall.remote.survey import FILES_PAGE

__all__ = ["find_existing"]

# Files that are asked for one by one; for more of them the list is read.
_FEW = 20


async def find_existing(
    account: Account,
    catalogue: BundleSummary,
    reader: BundleReader,
    planned: Plan,
    history: History,
    *,
    choices: Choices,
    progress: Progress,
) -> Existing:
    """What of ``planned``, a plan by ``choices`` towards an empty destination, is there. Raises what the account
    raises."""
    return await _Look(account, catalogue, reader, planned, history, choices, progress).run()


class _Look:
    """One look, in the order in which one thing needs the other: lists, members, files, comparison."""

    def __init__(
        self,
        account: Account,
        catalogue: BundleSummary,
        reader: BundleReader,
        planned: Plan,
        history: History,
        choices: Choices,
        progress: Progress,
    ) -> None:
        self._account, self._catalogue, self._reader = account, catalogue, reader
        self._history, self._models, self._progress = history, choices.models, progress
        self._table = choices.table
        self._prefix = planned.prefix
        self._kept_there = planned.form is Form.ASSISTANTS
        units = {(unit.kind, unit.id) for unit in planned.units}
        self._records = {
            kind: {id: record for id, record in records.items() if (kind, id) in units}
            for kind, records in catalogue.by_id().items()
        }
        self._views = {
            kind: {id: read(record) for id, record in records.items()} for kind, records in self._records.items()
        }
        steps = list(planned.steps())
        self._stores = {step.id: catalogue.stores[step.id] for step in steps if isinstance(step, CreateStore)}
        self._wanted = dict.fromkeys(step.content.id for step in steps if isinstance(step, UploadFile))
        for store in self._stores:
            self._wanted.update(dict.fromkeys(catalogue.members.get(store, ())))
        for view in (view for views in self._views.values() for view in views.values()):
            self._wanted.update(dict.fromkeys(view.file_ids))
        self._members: dict[SourceId, dict[TargetId, MemberThere]] = {}
        self._seen: dict[str, FileView] = {}
        self._files: dict[SourceId, FoundFile] = {}
        self._stale: dict[SourceId, TargetId] = {}
        self._found_stores: dict[SourceId, FoundStore] = {}

    async def run(self) -> Existing:
        self._progress.stage("looking at what the destination has")
        looked_for = {**self._records, Kind.STORE: self._stores}
        if not self._kept_there:
            looked_for[Kind.ASSISTANT] = {}
        looks = {
            kind: Objects(kind, records, self._history.definitions[kind], prefix=self._prefix)
            for kind, records in looked_for.items()
        }
        await asyncio.gather(*(look.read(self._account) for look in looks.values()))
        found = {kind: look.recognised() for kind, look in looks.items()}
        assistants, stores = found[Kind.ASSISTANT], found[Kind.STORE]
        await asyncio.gather(*(self._list_members(source, there) for source, (there, _) in stores.items()))
        uses = {source: _uses(there) for source, (there, _) in assistants.items()}
        await self._look_for_files(uses, stores)
        self._resolve_known(stores)
        # In the project that the bundle came from, what has another id is another file.
        for source, (_, by) in stores.items():
            if by is not By.ORIGIN:
                self._resolve_by_place(self._catalogue.members.get(source, ()), self._members[source], source)
        for source, (_, by) in assistants.items():
            if by is not By.ORIGIN:
                self._resolve_by_place(self._views[Kind.ASSISTANT][source].file_ids, dict.fromkeys(uses[source]), None)
        self._found_stores = {source: self._store(source, there, by) for source, (there, by) in stores.items()}
        return Existing(
            definitions={kind: self._definitions(kind, found[kind]) for kind in WHOLE if found[kind]},
            stores=self._found_stores,
            files=self._files,
            several=[one for look in looks.values() for one in look.several],
            usage=looks[Kind.STORE].usage,
        )

    # -- files -------------------------------------------------------------------------------------------

    async def _list_members(self, source: SourceId, store: Object) -> None:
        members = self._members.setdefault(source, {})
        if store.expired:  # so it was in the bundle; it has nothing any more
            return
        async for raw in self._account.items(path("/vector_stores/{}/files", store.target)):
            member = viewed(raw, MemberThere, f"a file of store {store.target}")
            members[TargetId(member.id)] = member

    async def _look_for_files(
        self, uses: Mapping[SourceId, list[TargetId]], stores: Mapping[SourceId, tuple[Object, By]]
    ) -> None:
        """Get the records of those files of which more has to be known than that they are there."""
        attached: set[str] = {target for members in self._members.values() for target in members}
        own = self._wanted if self._may_be_origin() or any(by is By.ORIGIN for _, by in stores.values()) else {}
        ids: dict[str, None] = {id: None for id in own if id not in attached}
        recorded: set[str] = set(own)
        for source in self._wanted:
            for target in self._recorded(source):
                recorded.add(target)
                if target not in attached or target not in self._history.hashes:
                    ids[target] = None
        for id in (*attached, *(used for each in uses.values() for used in each)):
            if id not in recorded:
                ids[id] = None
        if len(ids) <= _FEW:
            await asyncio.gather(*(self._get_file(id) for id in ids))
            # Of what was made there that isn't there by its id, the list has the word: the route may be missing.
            made = {target for source in self._wanted for target in self._recorded(source)}
            if missing := made & ids.keys() - self._seen.keys():
                with suppress(NotFound):
                    await self._list_files(missing)
        else:
            await self._list_files(ids)

    def _may_be_origin(self) -> bool:
        """Whether the bundle may have come from this very project, as far as both sides say which they are."""
        theirs, ours = self._reader.info.source.project, self._account.project
        return not (theirs and ours) or theirs == ours

    async def _get_file(self, id: str) -> None:
        try:
            answer = await self._account.get(path("/files/{}", id))
            self._seen[id] = msgspec.json.decode(answer.raw, type=FileView)
        except (NotFound, RequestRefused, msgspec.DecodeError):
            pass

    async def _list_files(self, wanted: Iterable[str]) -> None:
        wanted = frozenset(wanted)
        for limit in (FILES_PAGE, 100):
            try:
                async for raw in self._account.items("/files", limit=limit):
                    view = viewed(raw, FileView, "a file")
                    if view.id in wanted:
                        self._seen[view.id] = view
                return
            except RequestRefused:
                if limit == 100:
                    raise

    def _resolve_known(self, stores: Mapping[SourceId, tuple[Object, By]]) -> None:
        """The files that are there under their own ids, or as an earlier run wrote down."""
        attached = {target for members in self._members.values() for target in members}
        at_home = {target for source, (_, by) in stores.items() if by is By.ORIGIN for target in self._members[source]}
        hashes = self._hashes()
        for source in self._wanted:
            content = self._content(source)
            view = self._seen.get(source)
            if TargetId(source) in at_home or (view and _same(view, content)):
                name = view.filename if view else content.filename
                self._files[source] = FoundFile(target=TargetId(source), name=name, by=By.ORIGIN)
                continue
            self._resolve_recorded(content, hashes.get(source), attached)

    def _resolve_recorded(self, content: Content, sha256: str | None, attached: Container[str]) -> None:
        """The living copies that earlier runs wrote down: the newest with the bundle's bytes, and one with others."""

        def newest(targets: list[TargetId]) -> TargetId | None:
            for target in reversed(targets):
                view = self._seen.get(target)
                if target not in attached and view is None:
                    continue
                recorded = self._history.hashes.get(target)
                if (recorded == sha256) if recorded and sha256 else _fits(view, content):
                    return target
                if content.fidelity is not Fidelity.UNAVAILABLE and (source not in self._stale or target in attached):
                    self._stale[source] = target
            return None

        source = content.id
        second = newest(self._history.copies.get(source, []))
        first = newest(self._history.files.get(source, []))
        if target := first or second:
            view = self._seen.get(target)
            copy = second if first else None
            name = view.filename if view else None
            self._files[source] = FoundFile(target=target, name=name, by=By.EARLIER, copy=copy)

    def _resolve_by_place(
        self, sources: Iterable[SourceId], there: Mapping[TargetId, MemberThere | None], store: SourceId | None
    ) -> None:
        """The files that no record leads to: of those in the same place, the one of that name and size.

        Of several files that are alike, each is first looked for with the attributes that the bundle gives it.
        """
        open_sources = [s for s in dict.fromkeys(sources) if s not in self._files and s not in self._stale]
        if not open_sources:
            return
        claimed = {found.target for found in self._files.values()} | set(self._stale.values())
        free: dict[str, list[TargetId]] = {}
        for target in there:
            view = self._seen.get(target)
            if target not in claimed and view and view.filename is not None:
                free.setdefault(view.filename, []).append(target)
        attributes = self._attributes(store, open_sources) if store and free else {}
        for exact in (True, False):
            for source in open_sources:
                if source not in self._files:
                    self._claim(source, free, there, attributes.get(source) if exact else None)

    def _claim(
        self,
        source: SourceId,
        free: Mapping[str, list[TargetId]],
        there: Mapping[TargetId, MemberThere | None],
        attributes: Mapping[str, Any] | None,
    ) -> None:
        """Take the first of the ``free`` files that fits ``source``, if any; with ``attributes``, that has these."""
        content = self._content(source)
        for name in content.copy_names():
            for target in free.get(name, ()):
                member = there[target]
                if not _sized(self._seen[target], content):
                    continue
                if attributes is not None and not (member and self._labelled(member, attributes)):
                    continue
                free[name].remove(target)
                self._files[source] = FoundFile(target=target, name=name, by=By.PLACE)
                return

    def _labelled(self, member: MemberThere, attributes: Mapping[str, Any]) -> bool:
        return same(Kind.MEMBERSHIP, "attributes", attributes, member.attributes, added=self._history.added)

    def _attributes(self, store: SourceId, wanted: Iterable[SourceId]) -> dict[SourceId, dict[str, Any]]:
        wanted = frozenset(wanted)
        return {
            record.id: dialect.attachment(record, TargetId("")).body.get("attributes") or {}
            for record in self._reader.memberships(store)
            if record.id in wanted
        }

    def _hashes(self) -> dict[SourceId, str]:
        """The bundle's own hashes of the files that earlier runs know the hashes of."""
        wanted = {
            source for source in self._wanted for target in self._recorded(source) if target in self._history.hashes
        }
        if not wanted:
            return {}
        return {
            SourceId(entry.id): entry.sha256
            for folder in (layout.CONTENTS, layout.TEXTS)
            for entry in self._reader.entries(folder)
            if entry.id in wanted
        }

    def _recorded(self, source: SourceId) -> list[TargetId]:
        return [*self._history.files.get(source, ()), *self._history.copies.get(source, ())]

    def _content(self, source: SourceId) -> Content:
        return self._catalogue.files.get(source) or Content(id=source)

    # -- comparison --------------------------------------------------------------------------------------

    def _store(self, source: SourceId, there: Object, by: By) -> FoundStore:
        if there.expired:
            return FoundStore(target=there.target, by=by)
        return compare_store(
            self._catalogue.stores[source],
            there.fields(),
            self._reader.memberships(source),
            self._members[source],
            self._catalogue.files,
            self._files,
            self._stale,
            self._history,
            names={TargetId(id): view.filename for id, view in self._seen.items()},
            by=by,
        )

    def _definitions(self, kind: Kind, there: Mapping[SourceId, tuple[Object, By]]) -> dict[SourceId, Found]:
        return {source: self._definition(kind, source, one, by, there) for source, (one, by) in there.items()}

    def _definition(
        self, kind: Kind, source: SourceId, there: Object, by: By, others: Mapping[SourceId, tuple[Object, By]]
    ) -> Found:
        """Against what would be made of it; ``others`` of its kind are there."""
        view, stores = self._views[kind][source], self._found_stores
        table = AS_IS if by is By.ORIGIN else self._table
        refers = references(view, self._catalogue, whole(self._files, self._catalogue), table)
        request = definition(
            self._records[kind][source],
            prefix=self._prefix,
            targets=Targets(
                stores={id: stores[id].target if id in stores else _new(id) for id in refers.stores},
                files={id: self._files[id].target if id in self._files else _new(id) for id in refers.files},
                assistants={
                    id: others[id][0].target if id in others else _new(id)
                    for id in view.assistant_ids
                    if id in self._records[kind]
                },
            ),
            model=self._models.rule(view.model),
            table=table,
        )
        return compare_whole(kind, source, view.name, request, there.fields(), self._history, by=by)


def _new(id: SourceId) -> TargetId:
    return TargetId(f"(new) {id}")


def _uses(there: Object) -> list[TargetId]:
    """The files that an assistant there gives to the code interpreter."""
    return [TargetId(id) for id in msgspec.json.decode(there.raw, type=AssistantView).file_ids]


def _same(view: FileView, content: Content) -> bool:
    """Whether a file that answers to the bundle's own id is that very file."""
    made = epoch_seconds(view.created_at)
    return bool(made) and made == content.created_at and view.filename == content.filename


def _fits(view: FileView | None, content: Content) -> bool:
    return bool(view and view.filename in content.copy_names() and _sized(view, content))


def _sized(view: FileView, content: Content) -> bool:
    """Whether the sizes agree. How many bytes a text has that is joined out of parts, only joining them would tell."""
    return content.fidelity is Fidelity.TEXT or view.bytes is None or view.bytes == content.stored
