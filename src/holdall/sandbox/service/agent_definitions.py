"""A reusable agent's definition: the shape that a request must have, and how it reads back.

The only source for both is the SDK (``types/beta/agent*.py``, ``persisted_agent_tool*.py``); there is no public
description of the endpoint. Its limits are those that the SDK's texts state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.sandbox.service.api_errors import invalid
from holdall.sandbox.service.body_shapes import (
    METADATA,
    Shape,
    array,
    boolean,
    choice,
    integer,
    json_body,
    mapping,
    nullable,
    open_object,
    record,
    tagged,
    text,
)

_TOOLS_BYTES = 3 * 1024 * 1024
_TYPE = text()
_NAMES = nullable(array(text()))
_HEADERS = nullable(mapping(text(), keys=1000, key_length=1000))
_LEVEL = nullable(choice("low", "medium", "high"))

_TRANSPORT = tagged(
    "type",
    {
        "http": record({"type": _TYPE, "server_url": text(minimum=1), "headers": _HEADERS}, required=("server_url",)),
        "stdio": record(
            {"type": _TYPE, "command": text(minimum=1), "cwd": text(minimum=1), "args": _NAMES, "env_vars": _NAMES},
            required=("command", "cwd"),
        ),
    },
)
_PLACE = nullable(record(dict.fromkeys(("city", "country", "region", "timezone"), nullable(text()))))

_TOOLS: dict[str, Shape] = {
    "function": record(
        {
            "type": _TYPE,
            "name": text(64, minimum=1, pattern="[a-zA-Z0-9_-]+"),
            "description": text(),
            "parameters": open_object,
            "defer_loading": boolean,
            "async": boolean,
        },
        required=("name", "description", "parameters"),
    ),
    "tool_search": record({"type": _TYPE}),
    "programmatic_tool_calling": record({"type": _TYPE, "enabled": boolean}),
    "mcp": record(
        {
            "type": _TYPE,
            "server_label": text(minimum=1),
            "transport": _TRANSPORT,
            "allowed_tools": _NAMES,
            "connection_origin": nullable(choice("service", "environment")),
            "credential_id": nullable(text()),
            "request_metadata": nullable(open_object),
            "required": boolean,
        },
        required=("server_label", "transport"),
    ),
    "web_search": record(
        {
            "type": _TYPE,
            "allowed_domains": _NAMES,
            "context_size": _LEVEL,
            "location": _PLACE,
            "mode": nullable(choice("disabled", "cached", "live")),
        }
    ),
    "computer_use": record({"type": _TYPE, "include_screenshots": boolean}),
    "automations": record({"type": _TYPE}),
}

_FORMAT = tagged(
    "type",
    {"text": record({"type": _TYPE}), "json_schema": record({"type": _TYPE, "schema": open_object}, ("schema",))},
)

_FIELDS: dict[str, Shape] = {
    "model": text(minimum=1),
    "name": nullable(text()),
    "instructions": nullable(text()),
    "metadata": METADATA,
    "compaction": nullable(record({"async": nullable(boolean)})),
    "experimental": record({"time_awareness": boolean}),
    "multi_agent": nullable(
        record({"enabled": boolean, "max_concurrent_subagents": integer(1)}, required=("enabled",))
    ),
    "reasoning": nullable(
        record(
            {
                "effort": nullable(choice("none", "minimal", "low", "medium", "high", "xhigh", "max")),
                "summary": nullable(choice("concise", "detailed", "auto")),
            }
        )
    ),
    "service_tier": nullable(choice("auto", "default", "flex", "priority", "fast", "ultrafast")),
    "text": nullable(record({"format": nullable(_FORMAT), "verbosity": _LEVEL})),
    "tools": nullable(array(tagged("type", _TOOLS))),
}
_CREATE = record(_FIELDS, required=("model",))
_UPDATE = record(_FIELDS)


def to_create(body: bytes) -> dict[str, Any]:
    """What a request that makes an agent asks for; raises the refusals."""
    return _checked(json_body(body, _CREATE))


def to_update(body: bytes) -> dict[str, Any]:
    """What a request that changes one asks for."""
    return _checked(json_body(body, _UPDATE))


def _checked(asked: dict[str, Any]) -> dict[str, Any]:
    size = len(msgspec.json.encode(asked.get("tools")))
    if size > _TOOLS_BYTES:
        raise invalid(
            f"Invalid 'tools': too large. Expected at most {_TOOLS_BYTES} bytes of JSON, but got {size} instead.",
            "tools",
            "invalid_value",
        )
    return asked


def shown(id_: str, created_at: int, updated_at: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The agent object: settings with the service's defaults in place of what is missing or null."""

    def told(name: str) -> dict[str, Any]:
        return {key: value for key, value in (settings.get(name) or {}).items() if value is not None}

    helpers = told("multi_agent")
    return {
        "id": id_,
        "object": "agent",
        "created_at": created_at,
        "updated_at": updated_at,
        "name": settings.get("name"),
        "instructions": settings.get("instructions"),
        "model": settings["model"],
        "metadata": settings.get("metadata") or {},
        "tools": [_shown_tool(tool) for tool in settings.get("tools") or []],
        "text": {"format": {"type": "text"}, "verbosity": "medium", **told("text")},
        "reasoning": {"effort": None, "summary": None, **told("reasoning")},
        "multi_agent": {
            "enabled": helpers.get("enabled", False),
            "max_concurrent_subagents": helpers.get("max_concurrent_subagents", 6) if helpers.get("enabled") else None,
        },
        "service_tier": settings.get("service_tier") or "auto",
        "compaction": {"async": False, **told("compaction")},
        "experimental": {"time_awareness": False, **told("experimental")},
    }


_DEFAULTS: dict[str, dict[str, Any]] = {
    "function": {"defer_loading": False},
    "programmatic_tool_calling": {"enabled": True},
    "mcp": {
        "allowed_tools": None,
        "connection_origin": "service",
        "credential_id": None,
        "request_metadata": {},
        "required": False,
    },
    "web_search": {"allowed_domains": None, "context_size": "medium", "location": None, "mode": "live"},
    "computer_use": {"include_screenshots": False},
}
_TRANSPORT_DEFAULTS: dict[str, dict[str, Any]] = {"http": {"headers": {}}, "stdio": {"args": [], "env_vars": []}}


def _shown_tool(tool: dict[str, Any]) -> dict[str, Any]:
    made = _filled(tool, _DEFAULTS.get(tool["type"], {}))
    if tool["type"] == "mcp":
        made["transport"] = _filled(tool["transport"], _TRANSPORT_DEFAULTS[tool["transport"]["type"]])
    return made


def _filled(given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {**defaults, **{key: value for key, value in given.items() if value is not None}}
