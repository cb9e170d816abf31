"""The canonical form of settable fields, for comparing objects of different servers. Pure.

Absent, null, empty and the API's default are equal; so are ``"auto"`` and ``{"type": "auto"}``, and ids in any order.
Members that a server adds to the API's own objects are ignored. Metadata, attributes, parameters and schemas are the
owner's, and are compared unchanged. Sources: the official OpenAPI description and, for agents, the official SDK.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from holdall.dialects.agents import FIELDS as AGENT_FIELDS
from holdall.dialects.assistants import FIELDS
from holdall.dialects.rules import DEFAULTS, USES
from holdall.model import Kind

# Not the name, which is the agent's identity. A new version says all of them.
_FOUNDRY_UNSET: Mapping[str, Any] = {
    **dict.fromkeys(("description", "instructions", "temperature", "top_p", "reasoning", "tool_choice", "text")),
    "tools": [],
    "structured_inputs": {},
    "skills": [],
    **dict.fromkeys(("rai_config", "harness")),
    "metadata": {},
}
UNSET: Mapping[Kind, Mapping[str, Any]] = {
    Kind.ASSISTANT: {**dict.fromkeys(FIELDS[1:]), "tools": [], "tool_resources": {}, "metadata": {}},
    Kind.AGENT: {
        **dict.fromkeys(AGENT_FIELDS[1:]),
        "tools": [],
        "experimental": {"time_awareness": False},
        "metadata": {},
    },
    Kind.FOUNDRY_AGENT: _FOUNDRY_UNSET,
    Kind.AGENT_VERSION: _FOUNDRY_UNSET,
    Kind.STORE: {"name": None, "expires_after": None, "metadata": {}},
    Kind.MEMBERSHIP: {"attributes": {}},
    Kind.FILE: {},
    # Of a skill, what its versions make of it.
    Kind.SKILL: {"default_version": None, "latest_version": None},
    Kind.SKILL_VERSION: {},
    Kind.TEMPLATE: {
        "name": None,
        "packages": None,
        "capability_directories": [],
        "network": None,
        "files": [],
        "skills": [],
        "plugins": [],
        "desktop": None,
    },
}
"""What a client can set and need not, by kind, with what an update sends to unset it. A store's description, which no
answer shows, isn't among it, nor is the model, which has no default."""


class _Taken(Enum):
    AS_IT_IS = 1
    """JSON of the owner's, in which null is a value."""
    AS_A_SET = 2
    """Ids, whose order says nothing."""


_EMPTY: tuple[Any, ...] = (None, "", [], {})
_Defaults = tuple[Any, ...]
"""The values that say what leaving the member out says. A shape is these, or a function of the model that gives them;
_Taken; the members' shapes by name; or None where nobody here knows it."""


def _results(model: str) -> _Defaults:
    # Source: the OpenAPI description of max_num_results.
    return (5,) if model.startswith(("gpt-3.5", "gpt-35")) else (20,)


_NOTHING: _Defaults = ()
_OWN = _Taken.AS_IT_IS
_NO_PARAMETERS: _Defaults = (
    {"type": "object"},
    {"properties": {}},
    {"type": "object", "properties": {}},
    {"type": "object", "properties": {}, "required": []},
)
_EXPIRY = {"anchor": ("last_active_at",), "days": _NOTHING}
_CHUNKING = {
    "type": ("auto", "static"),
    "static": {"max_chunk_size_tokens": (800,), "chunk_overlap_tokens": (400,)},
}
_ASSISTANT: Mapping[str, Any] = {
    **{field: (value,) for field, value in DEFAULTS.items()},
    "metadata": _OWN,
    "tool_resources": {
        "code_interpreter": {"file_ids": _Taken.AS_A_SET},
        "file_search": {"vector_store_ids": _Taken.AS_A_SET, "vector_stores": _OWN},
    },
    "response_format": {
        "type": ("auto", "text"),
        "json_schema": {"name": _NOTHING, "description": _NOTHING, "schema": _OWN, "strict": (False,)},
    },
    "tools": {
        "type": _NOTHING,
        "function": {"name": _NOTHING, "description": _NOTHING, "parameters": _NO_PARAMETERS, "strict": (False,)},
        "file_search": {
            "max_num_results": _results,
            "ranking_options": {
                "ranker": ("auto", "default_2024_08_21"),
                "score_threshold": (0,),
                # Shown, and in no create call.
                "hybrid_search": _OWN,
            },
        },
    },
}
_AGENT: Mapping[str, Any] = {
    "metadata": _OWN,
    "text": {"format": {"type": ("text",), "schema": _OWN}, "verbosity": ("medium",)},
    "multi_agent": {"enabled": (False,)},
    "service_tier": ("auto",),
    "compaction": {"async": (False,)},
    "experimental": {"time_awareness": (False,)},
    "tools": {
        "parameters": _NO_PARAMETERS,
        "request_metadata": _OWN,
        "defer_loading": (False,),
        "enabled": (True,),
        "connection_origin": ("service",),
        "required": (False,),
        "context_size": ("medium",),
        "mode": ("live",),
        "include_screenshots": (False,),
    },
}
# The members of all tools, but for those that a server fills in by itself.
_FOUNDRY_TOOLS: Mapping[str, Any] = {
    "type": _NOTHING,
    **dict.fromkeys(("name", "description", "outputs", "filters", "allowed_tools", "base_url")),
    **dict.fromkeys(("server_label", "server_url", "project_connection_id", "environment")),
    **dict.fromkeys(("display_width", "display_height", "memory_store_name", "scope", "agent_card_path")),
    **dict.fromkeys(
        ("azure_ai_search", "azure_function", "bing_custom_search", "bing_grounding", "browser_automation")
    ),
    **dict.fromkeys(("fabric_dataagent", "sharepoint_grounding", "custom_search_configuration")),
    "openapi": {
        **dict.fromkeys(("name", "description", "auth", "default_params")),
        "spec": _OWN,
    },
    "parameters": _NO_PARAMETERS,
    "strict": (False,),
    "async": (False,),
    "defer_loading": (False,),
    "vector_store_ids": _Taken.AS_A_SET,
    "max_num_results": _results,
    "ranking_options": {"ranker": ("auto", "default-2024-11-15"), "score_threshold": (0,)},
    "container": {"type": ("auto",), "file_ids": _Taken.AS_A_SET, "memory_limit": ("1g",)},
    "search_context_size": ("medium",),
    "require_approval": ("always",),
    "user_location": {"type": ("approximate",), **dict.fromkeys(("country", "region", "city", "timezone"))},
    "external_web_access": (True,),
}
_PREVIEW = "_preview"
_PREVIEWS = frozenset({"a2a", "bing_custom_search", "browser_automation", "fabric_dataagent", "sharepoint_grounding"})
_INPUT = {"description": _NOTHING, "default_value": _OWN, "schema": _OWN, "required": (False,)}
_FOUNDRY: Mapping[str, Any] = {
    "temperature": (1,),
    "top_p": (1,),
    "reasoning": {
        "effort": (DEFAULTS["reasoning_effort"],),
        **dict.fromkeys(("summary", "mode", "context", "generate_summary")),
    },
    "metadata": _OWN,
    "tools": _FOUNDRY_TOOLS,
    "structured_inputs": _OWN,
    "tool_choice": {"type": ("auto",), **dict.fromkeys(("name", "mode", "tools", "server_label"))},
    "text": {
        "format": {
            "type": ("text",),
            **dict.fromkeys(("name", "description")),
            "schema": _OWN,
            "strict": (False,),
        }
    },
    # Where no version is asked for, the service says which it took.
    "skills": {"name": _NOTHING},
}
_SHAPES: Mapping[Kind, Mapping[str, Any]] = {
    Kind.ASSISTANT: _ASSISTANT,
    Kind.AGENT: _AGENT,
    Kind.FOUNDRY_AGENT: _FOUNDRY,
    Kind.AGENT_VERSION: _FOUNDRY,
    Kind.STORE: {"expires_after": _EXPIRY, "metadata": _OWN},
    Kind.MEMBERSHIP: {"attributes": _OWN, "chunking_strategy": _CHUNKING},
    Kind.FILE: {},
    Kind.SKILL: {},
    Kind.SKILL_VERSION: {},
    Kind.TEMPLATE: {"desktop": {"enabled": (False,)}},
}


def canonical_form(kind: Kind, field: str, value: Any, *, beside: Any = None, model: str | None = None) -> Any:
    """``value`` of a ``field`` without what is at its default; None if nothing is left.

    Members unknown to the API count only if ``beside``, the value compared with, has them too; in agents all count.
    Some defaults depend on the ``model``.

    >>> tools = [{"type": "function", "function": {"name": "f", "strict": False}, "x": 1}]
    >>> canonical_form(Kind.ASSISTANT, "tools", tools)
    [{'type': 'function', 'function': {'name': 'f'}}]
    >>> canonical_form(Kind.ASSISTANT, "response_format", "auto")
    """
    if kind in (Kind.FOUNDRY_AGENT, Kind.AGENT_VERSION):
        value, beside = _settled(field, value), _settled(field, beside)
    return _reduced(_SHAPES[kind].get(field), value, value if kind is Kind.AGENT else beside, model or "")


def _settled(field: str, value: Any) -> Any:
    """A field of a Foundry agent, with one spelling of what has several."""
    if field == "name" and isinstance(value, str):
        return value.casefold()
    if field == "tools" and isinstance(value, list):
        return [_without_preview(tool) for tool in value]
    if field == "structured_inputs" and isinstance(value, dict):
        return {name: _reduced(_INPUT, asked, None, "") or {} for name, asked in value.items()}
    return value


def _without_preview(tool: Any) -> Any:
    """A tool under the name that it has, or will have, when it is no preview any more."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    if not isinstance(kind, str) or kind.removesuffix(_PREVIEW) not in _PREVIEWS:
        return tool
    return {key.removesuffix(_PREVIEW) if key == kind else key: item for key, item in tool.items()} | {
        "type": kind.removesuffix(_PREVIEW)
    }


def _reduced(shape: Any, value: Any, beside: Any, model: str) -> Any:
    if callable(shape):
        shape = shape(model)
    if isinstance(shape, Mapping):
        value = _members_reduced(shape, value, beside, model)
    # Servers give ids back in an order of their own.
    elif shape is _Taken.AS_A_SET and isinstance(value, list):
        value = sorted({str(one) for one in value})
    elif shape is None:
        value = _bare(value)
    if value in _EMPTY:
        return None
    return None if isinstance(shape, tuple) and any(equal(value, default) for default in shape) else value


def _members_reduced(shape: Mapping[str, Any], value: Any, beside: Any, model: str) -> Any:
    """An object of the API's, or a list of them, of which empty members are left out."""
    if isinstance(value, str) and "type" in shape:
        value = {"type": value}
    if isinstance(value, list):
        # Of lists of other lengths nobody can say which item goes with which.
        each = beside if isinstance(beside, list) and len(beside) == len(value) else [None] * len(value)
        return [_reduced(shape, a, b, model) or {} for a, b in zip(value, each, strict=True)]
    if not isinstance(value, dict):
        return value
    ours = beside if isinstance(beside, dict) else {}
    known = {key: item for key, item in value.items() if key in shape or key in ours}
    return _told({key: _reduced(shape.get(key), item, ours.get(key), model) for key, item in known.items()})


def _bare(value: Any) -> Any:
    """Values of unknown shape: a null means the same as leaving it out."""
    if isinstance(value, dict):
        return _told({key: _bare(item) for key, item in value.items()})
    return [_bare(item) for item in value] if isinstance(value, list) else value


def _told(members: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in members.items() if item not in _EMPTY}


def respelled(field: str, value: Any, spelled: Callable[[str], str], *, nulls: bool) -> Any:
    """``value`` of ``field`` with members renamed to the API's names by ``spelled``.

    A list of one object becomes the object where the API has one. Without ``nulls``, null members of tools and their
    resources are left out.

    >>> respelled("tool_resources", [{"fileSearch": {"x": 1}}], lambda key: "file_search", nulls=True)
    {'file_search': {'x': 1}}
    """
    value = value if field == "tools" else _single(value)
    shape = next((shapes[field] for shapes in _SHAPES.values() if field in shapes), None)
    return _respelled(shape, value, spelled, nulls or field not in ("tools", "tool_resources"))


def _single(value: Any) -> Any:
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) else value


def _respelled(shape: Any, value: Any, spelled: Callable[[str], str], nulls: bool) -> Any:
    if not isinstance(shape, Mapping):
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
            single = _single(item) if isinstance(inner, Mapping) else item
            found[key] = _respelled(inner, single, spelled, nulls)
    return found


def resources(wanted: Any, there: Any) -> dict[str, Any]:
    """``tool_resources`` as an update accepts them: a tool's must be emptied explicitly."""
    return {**{tool: {USES[tool]: []} for tool in there or {} if tool in USES}, **(wanted or {})}


def equal(a: Any, b: Any) -> bool:
    """Equality of JSON values: 3 is 3.0, but 1 is not true."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)
