"""The tools of an assistant as the Responses API takes them. Pure.

What an assistant's tools use stands beside them, here it stands in them. A function is flat, and its ``parameters`` and
its ``strict`` must be there. Source: the official OpenAPI description, Tool and its variants.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from holdall.dialects.loss import Why
from holdall.dialects.reading import Reading, is_number
from holdall.model import SourceId, TargetId

__all__ = ["CONTAINER_FILES", "containers", "tools"]

CONTAINER_FILES = 50
"""Files that the container of a code interpreter is made with."""

_RANKERS = frozenset({"auto", "default-2024-11-15"})
_RESULTS = range(1, 51)
_USES = {"code_interpreter": "file_ids", "file_search": "vector_store_ids"}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OBJECT = "it has to be an object"


def tools(
    reading: Reading, stores: Mapping[SourceId, TargetId], files: Mapping[SourceId, TargetId]
) -> list[dict[str, Any]]:
    """The tools in their order, each with what it uses, by the ids of the copy."""
    asked = reading.fit("tools", reading.fields.get("tools"), list, "tools have to be a list") or []
    resources = reading.fit("tool_resources", reading.fields.get("tool_resources"), dict, _OBJECT) or {}
    found = []
    kinds = set()
    for number, tool in enumerate(asked):
        where = f"tools[{number}]"
        kind = tool.get("type") if isinstance(tool, dict) else None
        kinds.add(kind if isinstance(kind, str) else None)
        made = None
        match kind:
            case "function":
                made = _function(reading, tool, where)
            case "file_search":
                made = _search(reading, tool, where, _used(resources, kind, stores))
            case "code_interpreter":
                made = _interpreter(reading, tool, where, _used(resources, kind, files))
            case str():
                reading.lose(Why.UNKNOWN_TOOL, where, tool, f"it is {kind}, which is not taken from an assistant")
            case _:
                reading.lose(Why.UNKNOWN_TOOL, where, tool, "it has no type")
        if made is not None:
            found.append(made)
    _lose_unused(reading, resources, kinds)
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
    resource = resources.get(tool)
    listed = resource.get(_USES[tool]) if isinstance(resource, dict) else None
    asked = [SourceId(id) for id in listed if isinstance(id, str)] if isinstance(listed, list) else []
    return list(dict.fromkeys(ids[id] for id in asked if id in ids))


def _lose_unused(reading: Reading, resources: dict[str, Any], kinds: set[str | None]) -> None:
    reading.lose_unknown(resources, _USES, "tool_resources.")
    for tool, field in _USES.items():
        where = f"tool_resources.{tool}"
        resource = reading.fit(where, resources.get(tool), dict, _OBJECT) or {}
        reading.lose_unknown(resource, {field}, f"{where}.")
        if tool not in kinds and resource.get(field):
            reading.lose(
                Why.UNUSABLE, f"{where}.{field}", resource[field], f"there is no {tool} tool that would use it"
            )


def _function(reading: Reading, tool: dict[str, Any], where: str) -> dict[str, Any] | None:
    """A ``strict`` of null meant false, and parameters that were left out meant none."""
    asked = tool.get("function")
    if not isinstance(asked, dict) or not isinstance(name := asked.get("name"), str) or not _NAME.fullmatch(name):
        text = "it is a function without a name of 1 to 64 letters, digits, _ and -"
        reading.lose(Why.UNKNOWN_TOOL, where, tool, text)
        return None
    inside = f"{where}.function."
    found: dict[str, Any] = {"type": "function", "name": name}
    about = reading.fit(f"{inside}description", asked.get("description"), str, "it has to be a text")
    if about is not None:
        found["description"] = about
    found["parameters"] = reading.fit(f"{inside}parameters", asked.get("parameters"), dict, _OBJECT) or {}
    found["strict"] = reading.fit(f"{inside}strict", asked.get("strict"), bool, "it has to be true or false") or False
    reading.lose_unknown(tool, {"type", "function"}, f"{where}.")
    reading.lose_unknown(asked, {"name", "description", "parameters", "strict"}, inside)
    return found


def _search(reading: Reading, tool: dict[str, Any], where: str, stores: list[TargetId]) -> dict[str, Any] | None:
    if not stores:
        reading.lose(Why.UNUSABLE, where, tool, "it is a file_search, which needs a vector store, and has none")
        return None
    found: dict[str, Any] = {"type": "file_search", "vector_store_ids": stores}
    reading.lose_unknown(tool, {"type", "file_search"}, f"{where}.")
    inside = f"{where}.file_search"
    asked = reading.fit(inside, tool.get("file_search"), dict, _OBJECT) or {}
    reading.lose_unknown(asked, {"max_num_results", "ranking_options"}, f"{inside}.")
    most = asked.get("max_num_results")
    if is_number(most) and most in _RESULTS:
        found["max_num_results"] = int(most)
    elif most is not None:
        reading.lose(Why.UNFIT_VALUE, f"{inside}.max_num_results", most, "it has to be a number from 1 to 50")
    if ranking := _ranking(reading, asked.get("ranking_options"), f"{inside}.ranking_options"):
        found["ranking_options"] = ranking
    return found


def _ranking(reading: Reading, options: object, where: str) -> dict[str, Any]:
    asked = reading.fit(where, options, dict, _OBJECT) or {}
    found: dict[str, Any] = {}
    ranker, threshold = asked.get("ranker"), asked.get("score_threshold")
    if isinstance(ranker, str) and ranker in _RANKERS:
        found["ranker"] = ranker
    elif ranker is not None:
        reading.lose(Why.VALUE_CHANGED, f"{where}.ranker", ranker, f"there is no ranker {ranker}; it is auto now")
        found["ranker"] = "auto"
    if is_number(threshold) and 0 <= threshold <= 1:
        found["score_threshold"] = threshold
    elif threshold is not None:
        reading.lose(Why.UNFIT_VALUE, f"{where}.score_threshold", threshold, "it has to be a number from 0 to 1")
    reading.lose_unknown(asked, {"ranker", "score_threshold"}, f"{where}.")
    return found


def _interpreter(reading: Reading, tool: dict[str, Any], where: str, files: list[TargetId]) -> dict[str, Any]:
    container: dict[str, Any] = {"type": "auto"}
    if files:
        container["file_ids"] = files[:CONTAINER_FILES]
    if too_many := files[CONTAINER_FILES:]:
        text = f"a container is made with at most {CONTAINER_FILES} files, {len(too_many)} are left out"
        reading.lose(Why.LEFT_OUT, "tool_resources.code_interpreter.file_ids", too_many, text)
    reading.lose_unknown(tool, {"type"}, f"{where}.")
    return {"type": "code_interpreter", "container": container}
