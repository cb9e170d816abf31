"""The assistants that an assistant calls: tools of type ``connected_agent``. Pure.

Source: Azure's agents (2025-05-01), whose tool has the other's ``id``. Tools that write definitions to files have its
name in ``name_from_id`` instead, since an id means nothing in another project.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from holdall.model import AssistantView, Record
from holdall.untrusted import read_json

__all__ = ["linked", "named", "named_links", "relinked"]

_TYPE = "connected_agent"
_NAME = "name_from_id"


def linked(tools: object) -> list[str]:
    """The ids of the assistants that ``tools`` call, each once.

    >>> linked([{"type": "connected_agent", "connected_agent": {"id": "asst_1", "name": "n"}}])
    ['asst_1']
    """
    ids = (link.get("id") for link in _links(tools))
    return list(dict.fromkeys(one for one in ids if isinstance(one, str) and one))


def named(tools: object) -> list[str]:
    """The names of those that ``tools`` call by their names alone."""
    names = (link.get(_NAME) for link in _links(tools) if not link.get("id"))
    return list(dict.fromkeys(one for one in names if isinstance(one, str)))


def relinked(tools: list[Any], targets: Mapping[Any, str | None]) -> list[Any]:
    """``tools`` where those that call others call them by the ids of ``targets``; where that is None, without the tool.
    One that ``targets`` don't have is called as before."""
    found: list[Any] = []
    for tool in tools:
        called = next(iter(linked([tool])), None)
        if called is None or called not in targets:
            found.append(tool)
        elif (target := targets[called]) is not None:
            found.append({**tool, _TYPE: {**tool[_TYPE], "id": target}})
    return found


def named_links(records: list[Record]) -> list[Record]:
    """The assistants, where those that call one of the others by its name alone call it by its id. Where several have
    the name, or none, nothing is changed."""
    if not any(_NAME.encode() in record.raw for record in records):
        return records
    ids: dict[str | None, list[str]] = {}
    for record in records:
        ids.setdefault(AssistantView.of(record).name, []).append(record.id)
    return [
        _with_ids(record, {name: same[0] for name, same in ids.items() if name and len(same) == 1})
        for record in records
    ]


def _with_ids(record: Record, ids: Mapping[str, str]) -> Record:
    try:
        fields = read_json(record.raw)
    except ValueError:
        return record
    tools = fields.get("tools") if isinstance(fields, dict) else None
    if not any(name in ids for name in named(tools)):
        return record
    found = []
    for tool in tools or ():
        name = next(iter(named([tool])), "")
        if name in ids:
            link = {key: value for key, value in tool[_TYPE].items() if key not in ("id", _NAME)}
            tool = {**tool, _TYPE: {"id": ids[name], **link}}
        found.append(tool)
    return msgspec.structs.replace(record, raw=msgspec.json.encode({**fields, "tools": found}))


def _links(tools: object) -> Iterator[dict[str, Any]]:
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") == _TYPE and isinstance(tool.get(_TYPE), dict):
            yield tool[_TYPE]
