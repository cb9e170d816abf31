"""References between definitions: which uses what, and which assistants an assistant calls. Pure.

A definition's references are in its view (``DefinitionView``), in the definition's order. An assistant calls another by
a tool of type ``connected_agent``. Source: Azure's agents (2025-05-01), whose tool has the other's ``id``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

import msgspec

from holdall.model import AssistantView, DefinitionView, Record, SourceId
from holdall.untrusted import read_json

V = TypeVar("V", bound=DefinitionView)

_CALL = "connected_agent"
# What tools that write definitions to files put in place of the id, which means nothing in another project.
_NAME = "name_from_id"


# -- who uses what -------------------------------------------------------------------------------------


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """By store, file and skill, the definitions that name it; all in the order in which they are named."""

    stores: dict[SourceId, list[SourceId]]
    files: dict[SourceId, list[SourceId]]
    skills: dict[SourceId, list[SourceId]] = {}

    def of(self, id: SourceId) -> list[SourceId]:
        """The definitions that name a store, a file or a skill of that id."""
        return [*self.stores.get(id, ()), *self.files.get(id, ()), *self.skills.get(id, ())]

    def needed_by(self, chosen: AbstractSet[str]) -> set[SourceId]:
        """The stores, files and skills that any of the ``chosen`` definitions names."""
        used = (*self.stores.items(), *self.files.items(), *self.skills.items())
        return {id for id, users in used if not chosen.isdisjoint(users)}


def users_of(views: Iterable[DefinitionView], *, stores: bool = True, files: bool = True) -> Users:
    """Who uses what, each user once. ``stores`` or ``files`` False leaves these out."""
    found = Users(stores={}, files={}, skills={})
    for view in views:
        for id in dict.fromkeys(view.store_ids if stores else ()):
            found.stores.setdefault(id, []).append(SourceId(view.id))
        for id in dict.fromkeys(view.file_ids if files else ()):
            found.files.setdefault(id, []).append(SourceId(view.id))
        for id in dict.fromkeys(view.skill_ids):
            found.skills.setdefault(id, []).append(SourceId(view.id))
    return found


# -- who calls whom ------------------------------------------------------------------------------------


def called(chosen: Iterable[SourceId], views: Mapping[SourceId, V]) -> list[V]:
    """The chosen, followed by those they call that are among ``views``."""
    found = {id: views[id] for id in chosen}
    queue = list(found.values())
    while queue:
        for id in queue.pop().assistant_ids:
            if id in views and id not in found:
                found[id] = views[id]
                queue.append(views[id])
    return list(found.values())


def callees_first(chosen: Iterable[SourceId], views: Mapping[SourceId, DefinitionView]) -> Iterator[SourceId]:
    """The same, each after those it calls, else in order."""
    # A stack of our own: a bundle may have a chain of calls longer than Python's stack.
    seen: set[SourceId] = set()
    stack = [(id, False) for id in chosen][::-1]
    while stack:
        id, ready = stack.pop()
        if ready:
            yield id
        elif id not in seen:
            seen.add(id)
            stack.append((id, True))
            stack += [(callee, False) for callee in views[id].assistant_ids[::-1] if callee in views]


def callee(tool: object) -> str | None:
    """The id of the assistant that a tool calls; None where it calls none by an id.

    >>> callee({"type": "connected_agent", "connected_agent": {"id": "asst_1", "name": "n"}})
    'asst_1'
    """
    id = _call(tool).get("id")
    return id if isinstance(id, str) and id else None


def callees(tools: object) -> list[str]:
    """The ids of the assistants that ``tools`` call, each once."""
    found = map(callee, tools if isinstance(tools, list) else ())
    return list(dict.fromkeys(id for id in found if id is not None))


def callee_names(tools: object) -> list[str]:
    """The names of those that ``tools`` call by their names alone, each once."""
    found = map(_callee_name, tools if isinstance(tools, list) else ())
    return list(dict.fromkeys(name for name in found if name is not None))


def with_callees(tools: list[Any], targets: Mapping[Any, str | None]) -> list[Any]:
    """``tools`` where those that call others call them by the ids of ``targets``; where that is None, without the tool.
    One that ``targets`` don't have is called as before."""
    found: list[Any] = []
    for tool in tools:
        id = callee(tool)
        if id not in targets:
            found.append(tool)
        elif targets[id] is not None:
            found.append({**tool, _CALL: {**tool[_CALL], "id": targets[id]}})
    return found


def with_callees_by_id(records: list[Record]) -> list[Record]:
    """The assistants, where those that call one of the others by its name alone call it by its id. Where several have
    the name, or none, nothing is changed."""
    if not any(_NAME.encode() in record.raw for record in records):
        return records
    ids: dict[str | None, list[str]] = {}
    for record in records:
        ids.setdefault(AssistantView.of(record).name, []).append(record.id)
    known: dict[str | None, str] = {name: same[0] for name, same in ids.items() if name and len(same) == 1}
    return [_with_ids(record, known) for record in records]


def _with_ids(record: Record, ids: Mapping[str | None, str]) -> Record:
    try:
        fields = read_json(record.raw)
    except ValueError:
        return record
    tools = fields.get("tools") if isinstance(fields, dict) else None
    if ids.keys().isdisjoint(callee_names(tools)):
        return record
    found = []
    for tool in tools or ():
        name = _callee_name(tool)
        if name in ids:
            link = {key: value for key, value in tool[_CALL].items() if key not in ("id", _NAME)}
            tool = {**tool, _CALL: {"id": ids[name], **link}}
        found.append(tool)
    return msgspec.structs.replace(record, raw=msgspec.json.encode({**fields, "tools": found}))


def _callee_name(tool: object) -> str | None:
    call = _call(tool)
    name = call.get(_NAME)
    return name if isinstance(name, str) and not call.get("id") else None


def _call(tool: object) -> dict[str, Any]:
    """What a tool says of the assistant that it calls; nothing where it calls none."""
    called = tool.get(_CALL) if isinstance(tool, dict) and tool.get("type") == _CALL else None
    return called if isinstance(called, dict) else {}
