"""The Agents API (beta): what its create and update calls take, and what of a record they don't. Pure.

References (vault credentials, MCP servers, what an environment has) are sent as they are: names, which only the owner
can make true at the destination. Source: the official SDK, AgentCreateParams and AgentUpdateParams.
"""

from __future__ import annotations

from typing import Any

from holdall.dialects.assistants import Request, marked_request, prefixed
from holdall.dialects.mending import fields
from holdall.dialects.reading import Reading
from holdall.dialects.tables import AGENT
from holdall.model import Record

__all__ = ["FIELDS", "agent", "without_nulls"]

FIELDS = tuple(field for field in AGENT if field != "metadata")
"""What a client can set, besides metadata."""

_READ_ONLY = ("id", "object", "created_at", "updated_at")
_NEVER_NULL = ("model", "experimental")
# JSON of the owner's, in which a null is a value.
_FREE = frozenset({"parameters", "schema", "request_metadata"})


def agent(record: Record, *, prefix: str, operation: str, model: str | None = None) -> Request:
    """POST /agents for one agent, with ``model`` in place of its own."""
    reading = Reading(record, model)
    prefixed(reading, prefix)
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
