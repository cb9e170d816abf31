"""The Agents API (beta): what create and update calls accept of a record, and what is lost. Pure.

References (vault credentials, MCP servers, environments) are sent unchanged: they are names, which the owner must set
up at the destination. Source: the official SDK, AgentCreateParams and AgentUpdateParams.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdall.dialects.assistants import NOTHING, Function, Tools, marked_request
from holdall.dialects.rules import (
    EFFORT,
    METADATA,
    Choice,
    Each,
    Flag,
    Free,
    Members,
    Number,
    Reading,
    Request,
    Rule,
    Table,
    Tagged,
    Targets,
    Text,
    fields,
)
from holdall.model import Record

_LEVEL = Choice(words=("low", "medium", "high"))
_NAMES = Each(Text())
AGENT_TOOLS: Mapping[str, Rule] = {
    # Flat, and with a description in any case.
    "function": Function(
        nested=False,
        complete=True,
        more={"defer_loading": Flag(), "async": Flag()},
        defaults={"description": ""},
    ),
    "tool_search": NOTHING,
    "programmatic_tool_calling": Members(members={"enabled": Flag()}),
    "mcp": Members(
        members={
            "server_label": Text(),
            "transport": Tagged(
                kinds={
                    "http": Members(members={"server_url": Text(), "headers": Free()}, needs=("server_url",)),
                    "stdio": Members(
                        members={"command": Text(), "cwd": Text(), "args": _NAMES, "env_vars": _NAMES},
                        needs=("command", "cwd"),
                    ),
                }
            ),
            "allowed_tools": _NAMES,
            "connection_origin": Choice(words=("service", "environment")),
            "credential_id": Text(),
            "request_metadata": Free(),
            "required": Flag(),
        },
        needs=("server_label", "transport"),
    ),
    "web_search": Members(
        members={
            "allowed_domains": _NAMES,
            "context_size": _LEVEL,
            "location": Members(members=dict.fromkeys(("city", "country", "region", "timezone"), Text())),
            "mode": Choice(words=("disabled", "cached", "live")),
        }
    ),
    "computer_use": Members(members={"include_screenshots": Flag()}),
    "automations": NOTHING,
}
AGENT: Mapping[str, Rule] = {
    "model": Text(),
    "name": Text(),
    "instructions": Text(),
    "tools": Tools(kinds=AGENT_TOOLS),
    "text": Members(
        members={
            "format": Tagged(
                kinds={"text": NOTHING, "json_schema": Members(members={"schema": Free()}, needs=("schema",))}
            ),
            "verbosity": _LEVEL,
        }
    ),
    "reasoning": Members(members={"effort": EFFORT, "summary": Choice(words=("concise", "detailed", "auto"))}),
    "multi_agent": Members(
        # No limit is documented. Beyond 2**53 a JSON number is no longer exact.
        members={"enabled": Flag(), "max_concurrent_subagents": Number(least=1, most=2**53, whole=True)},
        needs=("enabled",),
    ),
    "service_tier": Choice(words=("auto", "default", "flex", "priority", "fast", "ultrafast")),
    "compaction": Members(members={"async": Flag()}),
    "experimental": Members(members={"time_awareness": Flag()}),
    "metadata": METADATA,
}
"""The Agents API (beta)."""

FIELDS = tuple(field for field in AGENT if field != "metadata")
"""What a client can set, besides metadata."""

_READ_ONLY = ("id", "object", "created_at", "updated_at")
# They may be left out, and are refused where they are null.
_NEVER_NULL = ("model", "experimental")
# JSON of the owner's, in which a null is a value.
_FREE = frozenset({"parameters", "schema", "output_schema", "spec", "default_value", "request_metadata"})


def agent(record: Record, *, prefix: str, operation: str, targets: Targets, model: str | None, table: Table) -> Request:
    """POST /agents for one agent. It has no references, and its limits are the same everywhere."""
    reading = Reading(record, prefix=prefix, model=model)
    made = fields(reading, AGENT)
    body = {field: value for field, value in made.items() if value is not None or field not in _NEVER_NULL}
    reading.lose_unknown(reading.fields, {*AGENT, *_READ_ONLY}, "")
    return marked_request(reading, body, operation)


def without_nulls(value: Any) -> Any:
    """``value`` without members that are null, at any depth; a value that is null itself stays.

    >>> without_nulls({"enabled": False, "most": None, "parameters": {"default": None}})
    {'enabled': False, 'parameters': {'default': None}}
    """
    if isinstance(value, dict):
        return {key: item if key in _FREE else without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
