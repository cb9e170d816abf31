"""The members that the Assistants API has in its own objects. What a server adds beside them is that server's affair.

Only objects of the API's making have a shape; metadata, attributes, parameters and schemas are their owner's. Pure.
Source: the official OpenAPI description.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["known", "narrowed", "respelled"]

Shape = Mapping[str, Any]
"""Members by name, each with its own shape, or None where it is taken as it is."""

_FUNCTION: Shape = dict.fromkeys(("name", "description", "parameters", "strict"))
_RANKING: Shape = dict.fromkeys(("ranker", "score_threshold", "hybrid_search"))
_SHAPES: Mapping[str, Shape] = {
    "expires_after": dict.fromkeys(("anchor", "days")),
    "chunking_strategy": {
        "type": None,
        "static": dict.fromkeys(("max_chunk_size_tokens", "chunk_overlap_tokens")),
    },
    "tool_resources": {
        "code_interpreter": {"file_ids": None},
        "file_search": dict.fromkeys(("vector_store_ids", "vector_stores")),
    },
    "response_format": {
        "type": None,
        "json_schema": dict.fromkeys(("name", "description", "schema", "strict")),
    },
    "tools": {
        "type": None,
        "function": _FUNCTION,
        "file_search": {"max_num_results": None, "ranking_options": _RANKING},
    },
}


def known(field: str, here: Any, there: Any) -> Any:
    """``there``, what a server has in ``field``, without the members that neither the API nor ``here`` has.

    >>> known("expires_after", None, {"anchor": "last_active_at", "days": 7, "tenant": "t"})
    {'anchor': 'last_active_at', 'days': 7}
    """
    return _known(_SHAPES.get(field), here, there)


def narrowed(here: Any, there: Any) -> Any:
    """``there`` without what ``here`` leaves open, at any depth: what has become of what was sent. Null leaves open.

    >>> narrowed({"type": "function", "function": {"name": "f"}}, {"type": "function", "function": {"strict": False}})
    {'type': 'function', 'function': {}}
    """
    if isinstance(here, dict) and isinstance(there, dict):
        return {
            key: None if here[key] is None else narrowed(here[key], value)
            for key, value in there.items()
            if key in here
        }
    if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        return [narrowed(a, b) for a, b in zip(here, there, strict=True)]
    return there


def respelled(field: str, value: Any, spelled: Callable[[str], str], *, nulls: bool) -> Any:
    """``value`` of ``field`` with its members named as the API names them, where ``spelled`` makes their names so.

    An object that stands in a list by itself is taken out of it, where the API has one object. Without ``nulls``,
    members of tools and their resources that are null are left out.

    >>> respelled("tool_resources", [{"fileSearch": {"x": 1}}], lambda key: "file_search", nulls=True)
    {'file_search': {'x': 1}}
    """
    value = value if field == "tools" else _single(value)
    return _respelled(_SHAPES.get(field), value, spelled, nulls or field not in ("tools", "tool_resources"))


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) else value


def _respelled(shape: Shape | None, value: Any, spelled: Callable[[str], str], nulls: bool) -> Any:
    if shape is None:
        return value
    if isinstance(value, list):
        return [_respelled(shape, item, spelled, nulls) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = spelled(key)
        key = name if name in shape and name not in value and key not in shape else key
        if nulls or item is not None:
            inner = shape.get(key)
            found[key] = _respelled(inner, item if inner is None else _single(item), spelled, nulls)
    return found


def _known(shape: Shape | None, here: Any, there: Any) -> Any:
    if shape is None:
        return there
    if isinstance(there, list):
        each = here if isinstance(here, list) and len(here) == len(there) else [None] * len(there)
        return [_known(shape, a, b) for a, b in zip(each, there, strict=True)]
    if not isinstance(there, dict):
        return there
    ours = here if isinstance(here, dict) else {}
    return {
        key: _known(shape.get(key), ours.get(key), value) for key, value in there.items() if key in shape or key in ours
    }
