"""The tools of an assistant as the Responses API takes them. Pure.

What an assistant's tools use stands beside them, here it stands in them, and a function is flat. The tools have been
mended by the destination's table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from holdall.dialects.loss import Why
from holdall.dialects.reading import Reading
from holdall.dialects.tables import USES
from holdall.model import SourceId, TargetId

__all__ = ["containers", "lose_unused", "placed"]


def placed(
    reading: Reading,
    tools: list[dict[str, Any]],
    stores: Mapping[SourceId, TargetId],
    files: Mapping[SourceId, TargetId],
) -> list[dict[str, Any]]:
    """The tools in their order, each with what it uses, by the ids of the copy."""
    resources = _object(reading.fields.get("tool_resources"))
    found: list[dict[str, Any]] = []
    for tool in tools:
        kind = tool["type"]
        if kind == "function":
            found.append({"type": kind, "strict": False, **tool["function"]})
        elif kind == "code_interpreter":
            used = _used(resources, kind, files)
            found.append({"type": kind, "container": {"type": "auto", **({"file_ids": used} if used else {})}})
        elif used := _used(resources, kind, stores):
            found.append({"type": kind, "vector_store_ids": used, **tool.get("file_search", {})})
        else:
            asked = reading.fields["tools"]
            number = next(n for n, one in enumerate(asked) if isinstance(one, dict) and one.get("type") == kind)
            text = "it is a file_search, which needs a vector store, and has none"
            reading.lose(Why.UNUSABLE, f"tools[{number}]", asked[number], text)
    return found


def containers(request: Mapping[str, Any]) -> list[str]:
    """The files that the code interpreter of a request is given; the request may be anybody's."""
    asked = request.get("tools")
    found: list[str] = []
    for tool in asked if isinstance(asked, list) else ():
        container = tool.get("container") if isinstance(tool, dict) else None
        ids = container.get("file_ids") if isinstance(container, dict) else None
        found += [id for id in ids if isinstance(id, str)] if isinstance(ids, list) else []
    return found


def _used(resources: dict[str, Any], tool: str, ids: Mapping[SourceId, TargetId]) -> list[TargetId]:
    listed = _object(resources.get(tool)).get(USES[tool])
    asked = [SourceId(id) for id in listed if isinstance(id, str)] if isinstance(listed, list) else []
    return list(dict.fromkeys(ids[id] for id in asked if id in ids))


def lose_unused(reading: Reading, kinds: Collection[str]) -> None:
    """What stands in ``tool_resources`` and no tool of these ``kinds`` uses."""
    asked = "it has to be an object"
    resources = reading.fit("tool_resources", reading.fields.get("tool_resources"), dict, asked) or {}
    reading.lose_unknown(resources, USES, "tool_resources.")
    for tool, field in USES.items():
        where = f"tool_resources.{tool}"
        resource = reading.fit(where, resources.get(tool), dict, asked) or {}
        reading.lose_unknown(resource, {field}, f"{where}.")
        if tool not in kinds and resource.get(field):
            text = f"there is no {tool} tool that would use it"
            reading.lose(Why.UNUSABLE, f"{where}.{field}", resource[field], text)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
