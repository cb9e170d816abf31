"""The Agents API (beta): what its create and update calls take, and what of a record they don't. Pure.

A null inside of a field says what leaving it out says, and not every one of them may be sent, so they are left out.
References (vault credentials, MCP servers, what an environment has) are sent as they are: names, which only the owner
can make true at the destination. Source: the official SDK, AgentCreateParams and AgentUpdateParams.
"""

from __future__ import annotations

from typing import Any

from holdall.dialects.assistants import Request, named
from holdall.dialects.marks import marked
from holdall.dialects.reading import read_fields, unknown_fields
from holdall.model import Record

__all__ = ["FIELDS", "agent", "without_nulls"]

FIELDS = (
    "model",
    "name",
    "instructions",
    "tools",
    "text",
    "reasoning",
    "multi_agent",
    "service_tier",
    "compaction",
    "experimental",
)
"""What a client can set, besides metadata."""

_READ_ONLY = frozenset({"id", "object", "created_at", "updated_at", "metadata"})
_NEVER_NULL = frozenset({"model", "experimental"})
# JSON of the owner's, in which a null is a value.
_FREE = frozenset({"parameters", "schema", "request_metadata"})


def agent(record: Record, *, prefix: str, operation: str, model: str | None = None) -> Request:
    """POST /agents for one agent, with ``model`` in place of its own."""
    fields = read_fields(record)
    name = fields.get("name")
    label = name if isinstance(name, str) else None
    metadata, losses = marked(
        fields.get("metadata"), kind=record.kind, source=record.id, name=label, operation=operation
    )
    body = {
        key: without_nulls(fields[key])
        for key in FIELDS
        if key in fields and not (fields[key] is None and key in _NEVER_NULL)
    }
    if "name" in body:
        body["name"] = named(body["name"], prefix)
    if model is not None:
        body["model"] = model
    losses += unknown_fields(record, label, fields, known={*FIELDS, *_READ_ONLY})
    body["metadata"] = metadata.create
    update = None if metadata.final is None else {"metadata": metadata.final}
    return Request(body=body, update=update, losses=losses)


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
