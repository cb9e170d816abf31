"""What a definition says, as the page shows it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from holdall.dialects.prompt_agents import flat
from holdall.model import DefinitionView, Kind, Record
from holdall.untrusted import read_json

# Characters of a value that has a place of its own.
_LONG = 100

_SHOWN_ELSEWHERE = frozenset({"id", "object", "created_at", "name", "model", "description", "instructions", "tools"})


def fields_of(record: Record) -> dict[str, Any]:
    try:
        found = read_json(record.raw)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    # The latest version of a Foundry agent, as an assistant has it all.
    return {"id": record.id, **flat(found)} if record.kind is Kind.FOUNDRY_AGENT else found


def tools_of(fields: dict[str, Any]) -> list[Any]:
    tools = fields.get("tools")
    return tools if isinstance(tools, list) else [] if tools is None else [tools]


def parameters(fields: dict[str, Any], view: DefinitionView, *, long: bool) -> Iterator[tuple[str, Any]]:
    """What else a definition sets; the ``long`` values by themselves."""
    refers = bool(view.store_ids or view.file_ids)
    for field, value in fields.items():
        if field in _SHOWN_ELSEWHERE or value in (None, "", [], {}) or (field == "tool_resources" and refers):
            continue
        if long == (len(short(value)) > _LONG):
            yield field, value


def title_of(field: str) -> str:
    words = field.replace("_", " ")[:_LONG]
    return words[:1].upper() + words[1:]


def indented(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
