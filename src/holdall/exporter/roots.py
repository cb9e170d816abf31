"""Where an export starts: the assistants of the API or of a dump, or, where there are none, all stores and all files;
and the agents, wherever there are any.

Roots are chosen by the one selector; what a root needs comes with it. A store that no server has any more comes out of
the dump, if the dump has it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from holdall.dumps import Dump
from holdall.errors import AuthenticationFailed, UsageFault
from holdall.exporter.records import unfit
from holdall.graph import called, callee_names, users_of
from holdall.kinds import KINDS, WHOLE
from holdall.model import (
    KNOWLEDGE,
    AssistantView,
    DefinitionView,
    FileView,
    Kind,
    Record,
    SourceId,
    StoreView,
    is_invented,
)
from holdall.remote.survey import Definitions, Missing, Surveyor
from holdall.selection import Root, Selection, choose
from holdall.untrusted import read_as

__all__ = ["Roots", "gather"]

# From so many stores on, one list is cheaper than a request for each.
_LIST_FROM = 5


class Roots(msgspec.Struct, frozen=True, kw_only=True):
    """What to start from.

    ``file_search`` and ``code_interpreter`` say which knowledge of the assistants is followed. ``assistants`` False
    leaves the assistants out and takes all stores and files. ``unused`` adds the stores and files that nothing refers
    to. With a ``dump`` the assistants are those of the dump.
    """

    selection: Selection = Selection()
    file_search: bool = True
    code_interpreter: bool = True
    assistants: bool = True
    unused: bool = False
    dump: Dump | None = None


class _Account(msgspec.Struct, frozen=True, kw_only=True):
    """What was listed of an account, as far as it was needed."""

    stores: dict[SourceId, Record] | None = None
    files: list[FileView] = []


async def gather(surveyor: Surveyor | None, start: Roots) -> Definitions:
    """Choose the roots and read what they are made of, but for memberships and files.

    ``surveyor`` is None without a key: then nothing of the dump may refer to a store or a file, or AuthenticationFailed
    is raised. Raises UsageFault where the selection fits nothing.
    """
    unreadable: list[Missing] = []
    records: dict[Kind, dict[SourceId, Record]] = {}
    views: dict[Kind, dict[SourceId, DefinitionView]] = {}
    for kind in WHOLE:
        records[kind] = {record.id: record for record in await _records(surveyor, start, kind)}
        views[kind] = _views(records[kind].values(), unreadable)
    everything = start.unused or not start.assistants
    kinds = start.selection.kinds()
    listed = await _listed(surveyor, stores=everything or Kind.STORE in kinds, files=everything or Kind.FILE in kinds)
    default = [root for kind in WHOLE for root in _roots(kind, views[kind])]
    store_views: dict[SourceId, StoreView] = _views((listed.stores or {}).values(), unreadable)
    stores = _roots(Kind.STORE, store_views)
    loose = [Root(kind=Kind.FILE, id=SourceId(file.id), name=file.filename) for file in listed.files]
    if everything and surveyor:
        unused_stores, unused_files = await _unused(surveyor, start, views[Kind.ASSISTANT], stores, listed.files)
        default += unused_stores + unused_files
    chosen = choose(default, start.selection, others=[*stores, *loose], where="the project")
    picked = {kind: called((root.id for root in chosen if root.kind is kind), views[kind]) for kind in WHOLE}
    found = await _closed(surveyor, start, listed, records, picked, chosen)
    known = {(one.kind, one.id) for one in unreadable}
    return msgspec.structs.replace(
        found,
        unreadable=[*unreadable, *(one for one in found.unreadable if (one.kind, one.id) not in known)],
    )


async def _records(surveyor: Surveyor | None, start: Roots, kind: Kind) -> list[Record]:
    """Those of the dump or the account. Of what few servers have none where the selection can't take any: then the key
    need not be allowed to see them."""
    if kind is Kind.ASSISTANT and start.dump is not None:
        return start.dump.assistants
    unwanted = not start.assistants if kind is Kind.ASSISTANT else not start.selection.may_take(kind)
    return [] if surveyor is None or unwanted else await surveyor.definitions(kind)


def _roots(kind: Kind, views: Mapping[SourceId, DefinitionView | StoreView]) -> list[Root]:
    return [Root(kind=kind, id=ident, name=view.name) for ident, view in views.items()]


async def _listed(surveyor: Surveyor | None, *, stores: bool, files: bool) -> _Account:
    if surveyor is None:
        return _Account()
    return _Account(
        stores={record.id: record for record in await surveyor.definitions(Kind.STORE)} if stores else None,
        files=await surveyor.files() if files else [],
    )


async def _unused(
    surveyor: Surveyor,
    start: Roots,
    views: Mapping[SourceId, DefinitionView],
    stores: list[Root],
    files: list[FileView],
) -> tuple[list[Root], list[Root]]:
    """The stores and files that are roots by themselves.

    Where no assistant is left out, a file that one of them needs may be named here too: it is fetched once all the
    same. Where the selection leaves some out, what only they use is no root, so their stores have to be looked into.
    """
    everyone = views.values()
    used = surveyor.users(everyone).stores
    known = [file for file in files if file.purpose in KNOWLEDGE]
    taken: set[str] = set()
    if start.selection.only or start.selection.exclude:
        taken.update(users_of(everyone).files)
        present = {root.id for root in stores}
        for store_id in used:
            if store_id in present:
                taken.update([member.id async for member, _ in surveyor.memberships(store_id, required=False)])
    return (
        [root for root in stores if root.id not in used],
        [Root(kind=Kind.FILE, id=SourceId(f.id), name=f.filename) for f in known if f.id not in taken],
    )


async def _closed(
    surveyor: Surveyor | None,
    start: Roots,
    listed: _Account,
    records: Mapping[Kind, Mapping[SourceId, Record]],
    picked: Mapping[Kind, list[DefinitionView]],
    chosen: list[Root],
) -> Definitions:
    """The chosen roots with the stores that they need."""
    views = [view for kind in WHOLE for view in picked[kind]]
    wanted = surveyor.users(views).stores if surveyor else {}
    for root in chosen:
        if root.kind is Kind.STORE:
            wanted.setdefault(root.id, [])
    if surveyor is None:
        _refuse_without_key(start, views)
    stores, missing, from_dump = await _stores(surveyor, start.dump, listed.stores, wanted)
    dump = start.dump
    members = _members(dump)
    unreadable: list[Missing] = []
    store_views: dict[SourceId, StoreView] = _views(stores, unreadable)
    return Definitions(
        records={
            **{kind: [records[kind][SourceId(view.id)] for view in picked[kind]] for kind in WHOLE},
            Kind.STORE: [record for record in stores if record.id in store_views],
        },
        views=views,
        store_views=list(store_views.values()),
        unreadable=unreadable,
        missing=[*missing, *_uncalled(records[Kind.ASSISTANT], picked[Kind.ASSISTANT])],
        files=[root.id for root in chosen if root.kind is Kind.FILE],
        memberships={i: members[i] for i in from_dump},
        file_records={record.id: record for record in dump.files} if dump else {},
    )


def _uncalled(records: Mapping[SourceId, Record], picked: Iterable[DefinitionView]) -> Iterator[Missing]:
    """The assistants that others call, and that are not there."""
    users: dict[str, list[str]] = {}
    for view in picked:
        tools = read_as(records[SourceId(view.id)].raw, dict[str, Any]).get("tools")
        for one in (*(id for id in view.assistant_ids if id not in records), *callee_names(tools)):
            users.setdefault(one, []).append(view.id)
    for one, by in users.items():
        message = "an assistant that others call is not there"
        yield Missing(kind=Kind.ASSISTANT, id=SourceId(one), used_by=by, message=message)


async def _stores(
    surveyor: Surveyor | None,
    dump: Dump | None,
    listed: dict[SourceId, Record] | None,
    wanted: Mapping[SourceId, list[SourceId]],
) -> tuple[list[Record], list[Missing], list[SourceId]]:
    """(the wanted stores, those that no server has, those of them that the dump has)."""
    if surveyor is None or not wanted:
        return [], [], []
    if listed is None and len(wanted) >= _LIST_FROM:
        listed = {record.id: record for record in await surveyor.definitions(Kind.STORE)}
    in_dump = _stores_in(dump)
    stores, missing, from_dump = [], [], []
    for store_id, users in wanted.items():
        found: Record | Missing | None = (listed or {}).get(store_id)
        held = in_dump.get(store_id)
        if found is None and not is_invented(store_id):
            found = await surveyor.one(Kind.STORE, store_id, users)
        if isinstance(found, Missing):
            missing.append(msgspec.structs.replace(found, held=held is not None))
        if isinstance(found, Record):
            stores.append(found)
        elif held is not None:
            from_dump.append(store_id)
            stores.append(held)
    return stores, missing, from_dump


def _stores_in(dump: Dump | None) -> dict[SourceId, Record]:
    dumped = (*dump.stores, *(made.record for made in dump.made)) if dump else ()
    return {record.id: record for record in dumped}


def _members(dump: Dump | None) -> defaultdict[SourceId, list[Record]]:
    """What stores hold by the word of a dump."""
    known: defaultdict[SourceId, list[Record]] = defaultdict(list)
    if dump:
        known.update(dump.memberships)
        known.update({made.record.id: made.members for made in dump.made})
    return known


def _refuse_without_key(start: Roots, picked: Iterable[DefinitionView]) -> None:
    for view in picked:
        if (start.file_search and view.store_ids) or (start.code_interpreter and view.file_ids):
            raise AuthenticationFailed(
                f"no key for the source project: assistant {view.name or view.id} refers to stores or files that "
                "have to be fetched, and OPENAI_SRC_API_KEY is not set",
                hint="set the key, or leave the knowledge out: --no-file-search --no-code-interpreter",
            )


def refuse_nothing(definitions: Definitions, start: Roots) -> None:
    """Raise UsageFault where there is nothing to export at all: no bundle is made of nothing."""
    if any(definitions.all()) or definitions.files:
        return
    what = (
        "assistants and no agents"
        if start.assistants
        else "agents, no vector stores and no files of purpose " + ", ".join(KNOWLEDGE)
    )
    raise UsageFault(
        f"nothing exported: the project has no {what}",
        hint="is it the right key? --unused adds stores and files that nothing refers to",
    )


def _views(records: Iterable[Record], unreadable: list[Missing]) -> dict[SourceId, Any]:
    """What is acted upon in each record; those that can't be read, or not be kept in a bundle, go to ``unreadable``."""
    views: dict[SourceId, Any] = {}
    for record in records:
        try:
            if why := unfit(record.raw):
                unreadable.append(Missing(kind=record.kind, id=record.id, message=why))
                continue
            view = read_as(record.raw, KINDS[record.kind].view)
            if isinstance(view, DefinitionView):  # the longest of it, which nobody here acts upon
                view = msgspec.structs.replace(view, metadata=None)
            if isinstance(view, AssistantView):
                view = msgspec.structs.replace(view, instructions=None)
            views.setdefault(record.id, view)
        except ValueError as error:
            message = f"its record is not of a shape known here ({error})"
            unreadable.append(Missing(kind=record.kind, id=record.id, message=message))
    return views
