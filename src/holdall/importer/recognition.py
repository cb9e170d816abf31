"""Looks at a destination for what of a bundle is there already, and in what it differs. Reads only.

Recognised in this order: by its own id, where the destination is the project that the bundle came from; by what an
earlier run wrote down; by ``cloned_from`` together with the name. Files carry no marks: without a word of an earlier
run they are found where their copies belong, in a store or an assistant that was recognised, by name and size.

Lists are read rather than single objects, and only those lists that can hold something: a fresh destination costs one
request a kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from holdall.bundle import layout
from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.dialects.marks import CLONED_FROM
from holdall.errors import NotFound, RequestRefused
from holdall.importer.comparison import MemberThere, compare_assistant, compare_store
from holdall.importer.history import History
from holdall.importer.models import ModelMap
from holdall.importer.plan import references, whole
from holdall.importer.presence import Found, FoundFile, FoundStore, Presence, Several
from holdall.importer.steps import By, Catalogue, Content, CreateStore, Plan, UploadFile
from holdall.model import AssistantView, FileView, Kind, Record, Rung, SourceId, StoreView, TargetId, epoch_seconds
from holdall.progress import Progress
from holdall.remote.client import Account, path
from holdall.remote.survey import FILES_PAGE

__all__ = ["recognise"]

# Files that are asked for one by one; for more of them the list is read.
_FEW = 20


async def recognise(
    account: Account,
    catalogue: Catalogue,
    reader: BundleReader,
    planned: Plan,
    history: History,
    *,
    models: ModelMap,
    progress: Progress,
) -> Presence:
    """What of ``planned``, a plan towards an empty destination, is there. Raises what the account raises."""
    return await _Look(account, catalogue, reader, planned, history, models, progress).run()


class _Object(msgspec.Struct, frozen=True, kw_only=True):
    """An assistant or store of the destination that may be a copy; ``raw`` is it as the server shows it."""

    target: TargetId
    name: str | None
    created_at: int
    cloned_from: object
    raw: bytes

    def fields(self) -> dict[str, Any]:
        return msgspec.json.decode(self.raw, type=dict[str, Any])


class _Sized(msgspec.Struct, frozen=True, kw_only=True):
    usage_bytes: int | float | None = None


class _Look:
    """One look, in the order in which one thing needs the other: lists, members, files, comparison."""

    def __init__(
        self,
        account: Account,
        catalogue: Catalogue,
        reader: BundleReader,
        planned: Plan,
        history: History,
        models: ModelMap,
        progress: Progress,
    ) -> None:
        self._account, self._catalogue, self._reader = account, catalogue, reader
        self._history, self._models, self._progress = history, models, progress
        self._prefix = planned.prefix
        units = {unit.id for unit in planned.units if unit.kind is Kind.ASSISTANT}
        self._assistants = {record.id: record for record in catalogue.assistants if record.id in units}
        self._views = {
            id: msgspec.json.decode(record.raw, type=AssistantView) for id, record in self._assistants.items()
        }
        steps = list(planned.steps())
        self._stores = {step.id: catalogue.stores[step.id] for step in steps if isinstance(step, CreateStore)}
        self._wanted = dict.fromkeys(step.content.id for step in steps if isinstance(step, UploadFile))
        for store in self._stores:
            self._wanted.update(dict.fromkeys(catalogue.members.get(store, ())))
        for view in self._views.values():
            self._wanted.update(dict.fromkeys(view.file_ids))
        self._several: list[Several] = []
        self._usage: float | None = 0
        self._members: dict[SourceId, dict[TargetId, MemberThere]] = {}
        self._seen: dict[str, FileView] = {}
        self._files: dict[SourceId, FoundFile] = {}
        self._stale: dict[SourceId, TargetId] = {}

    async def run(self) -> Presence:
        self._progress.stage("looking at what the destination has")
        assistants = await self._recognised(Kind.ASSISTANT, self._assistants, self._history.assistants)
        stores = await self._recognised(Kind.STORE, self._stores, self._history.stores)
        await asyncio.gather(*(self._list_members(source, there.target) for source, (there, _) in stores.items()))
        uses = {source: _uses(there) for source, (there, _) in assistants.items()}
        await self._look_for_files(uses, stores)
        self._resolve_known(stores)
        # In the project that the bundle came from, what has another id is another file.
        for source, (_, by) in stores.items():
            if by is not By.ORIGIN:
                self._resolve_by_place(self._catalogue.members.get(source, ()), self._members[source], source)
        for source, (_, by) in assistants.items():
            if by is not By.ORIGIN:
                self._resolve_by_place(self._views[source].file_ids, dict.fromkeys(uses[source]), None)
        found_stores = {source: self._store(source, there, by) for source, (there, by) in stores.items()}
        return Presence(
            assistants={
                source: self._assistant(source, there, by, found_stores) for source, (there, by) in assistants.items()
            },
            stores=found_stores,
            files=self._files,
            several=self._several,
            usage=None if self._usage is None else int(self._usage),
        )

    # -- assistants and stores ---------------------------------------------------------------------------

    async def _recognised(
        self, kind: Kind, records: Mapping[SourceId, Record], known: Mapping[SourceId, list[TargetId]]
    ) -> dict[SourceId, tuple[_Object, By]]:
        """The one list of a kind, and in it the copies of ``records``."""
        if not records:
            return {}
        ours: frozenset[str] = frozenset(records)
        candidates = {target for source in records for target in known.get(source, ())}
        there: dict[str, _Object] = {}
        marked: dict[object, list[_Object]] = {}
        where = "/assistants" if kind is Kind.ASSISTANT else "/vector_stores"
        async for raw in self._account.items(where):
            found = _object(kind, raw)
            if kind is Kind.STORE:
                self._count(raw)
            mark = found.cloned_from if isinstance(found.cloned_from, str) else None
            if mark in ours:
                marked.setdefault(mark, []).append(found)
            if str(found.target) in ours or found.target in candidates or mark in ours:
                there[found.target] = found
        recognised = {}
        for source, record in records.items():
            if one := self._one(kind, record, there, known.get(source, []), marked.get(source, [])):
                recognised[source] = one
        return recognised

    def _one(
        self,
        kind: Kind,
        record: Record,
        there: Mapping[str, _Object],
        known: list[TargetId],
        marked: list[_Object],
    ) -> tuple[_Object, By] | None:
        own = _object(kind, record.raw)
        same = there.get(record.id)
        # With a prefix, a second set of assistants is asked for, also where the first is what the bundle has.
        if (
            same
            and (same.created_at, same.name) == (own.created_at, own.name)
            and not (self._prefix and kind is Kind.ASSISTANT)
        ):
            return same, By.ORIGIN
        for target in reversed(known):
            found = there.get(target)
            if found and found.cloned_from in (None, record.id):
                return found, By.EARLIER
        wanted = dialect.named(own.name, self._prefix) if kind is Kind.ASSISTANT else own.name
        fitting = [found for found in marked if found.name == wanted]
        if len(fitting) > 1:
            targets = [found.target for found in fitting]
            self._several.append(Several(kind=kind, id=record.id, name=own.name, targets=targets))
        return (fitting[0], By.MARK) if fitting else None

    def _count(self, raw: bytes) -> None:
        """Add up what the stores hold; unknown as soon as one doesn't say it."""
        size = msgspec.json.decode(raw, type=_Sized).usage_bytes
        self._usage = None if size is None or self._usage is None else self._usage + size

    # -- files -------------------------------------------------------------------------------------------

    async def _list_members(self, source: SourceId, target: TargetId) -> None:
        found = {}
        async for raw in self._account.items(path("/vector_stores/{}/files", target)):
            member = msgspec.json.decode(raw, type=MemberThere)
            found[TargetId(member.id)] = member
        self._members[source] = found

    async def _look_for_files(
        self, uses: Mapping[SourceId, list[TargetId]], stores: Mapping[SourceId, tuple[_Object, By]]
    ) -> None:
        """Get the records of those files of which more has to be known than that they are there."""
        attached: set[str] = {target for members in self._members.values() for target in members}
        own = self._wanted if self._may_be_origin() or any(by is By.ORIGIN for _, by in stores.values()) else {}
        ids: dict[str, None] = {id: None for id in own if id not in attached}
        recorded: set[str] = set(own)
        for source in self._wanted:
            for target in self._history.files.get(source, ()):
                recorded.add(target)
                if target not in attached or target not in self._history.hashes:
                    ids[target] = None
        for id in (*attached, *(used for each in uses.values() for used in each)):
            if id not in recorded:
                ids[id] = None
        if len(ids) <= _FEW:
            await asyncio.gather(*(self._get_file(id) for id in ids))
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
                    view = msgspec.json.decode(raw, type=FileView)
                    if view.id in wanted:
                        self._seen[view.id] = view
                return
            except RequestRefused:
                if limit == 100:
                    raise

    def _resolve_known(self, stores: Mapping[SourceId, tuple[_Object, By]]) -> None:
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
            for target in reversed(self._history.files.get(source, [])):
                view = self._seen.get(target)
                if target not in attached and view is None:
                    continue
                recorded = self._history.hashes.get(target)
                ours = hashes.get(source)
                if (recorded == ours) if recorded and ours else _fits(view, content):
                    name = view.filename if view else None
                    self._files[source] = FoundFile(target=target, name=name, by=By.EARLIER)
                elif content.rung is not Rung.UNAVAILABLE:
                    self._stale[source] = target
                else:
                    continue
                break

    def _resolve_by_place(
        self, sources: Iterable[SourceId], there: Mapping[TargetId, MemberThere | None], store: SourceId | None
    ) -> None:
        """The files that no record leads to: of those in the same place, the one of that name and size.

        Where several are alike, the one with the attributes that the bundle gives it.
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
        for source in open_sources:
            content = self._content(source)
            fitting = [
                target
                for name in content.copy_names()
                for target in free.get(name, ())
                if _sized(self._seen[target], content)
            ]
            if not fitting:
                continue
            alike = [t for t in fitting if (member := there[t]) and (member.attributes or {}) == attributes.get(source)]
            target = (alike or fitting)[0]
            name = self._seen[target].filename
            free[str(name)].remove(target)
            self._files[source] = FoundFile(target=target, name=name, by=By.PLACE)

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
            source for source in self._wanted for t in self._history.files.get(source, ()) if t in self._history.hashes
        }
        if not wanted:
            return {}
        return {
            SourceId(entry.id): entry.sha256
            for folder in (layout.CONTENTS, layout.TEXTS)
            for entry in self._reader.entries(folder)
            if entry.id in wanted
        }

    def _content(self, source: SourceId) -> Content:
        return self._catalogue.files.get(source) or Content(id=source)

    # -- comparison --------------------------------------------------------------------------------------

    def _store(self, source: SourceId, there: _Object, by: By) -> FoundStore:
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

    def _assistant(self, source: SourceId, there: _Object, by: By, stores: Mapping[SourceId, FoundStore]) -> Found:
        view = self._views[source]
        refers = references(view, self._catalogue, whole(self._files, self._catalogue))
        request = dialect.assistant(
            self._assistants[source],
            prefix=self._prefix,
            operation="",
            stores={id: stores[id].target if id in stores else TargetId(f"(new) {id}") for id in refers.stores},
            files={id: self._files[id].target if id in self._files else TargetId(f"(new) {id}") for id in refers.files},
            model=self._models.rule(view.model),
        )
        return compare_assistant(source, view.name, request, there.fields(), self._history, by=by)


def _object(kind: Kind, raw: bytes) -> _Object:
    view: AssistantView | StoreView
    if kind is Kind.ASSISTANT:
        view = msgspec.json.decode(raw, type=AssistantView)
    else:
        view = msgspec.json.decode(raw, type=StoreView)
    return _Object(
        target=TargetId(view.id),
        name=view.name or None,
        created_at=epoch_seconds(view.created_at),
        cloned_from=(view.metadata or {}).get(CLONED_FROM),
        raw=raw,
    )


def _uses(there: _Object) -> list[TargetId]:
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
    return content.rung is Rung.TEXT or view.bytes is None or view.bytes == content.stored
