"""The Assistants API, version 2: what its create calls take, and what of a record they don't.

Values are sent as the source gave them: a float stays a float, a null stays null where null is legal. Fields that
only the server sets are no loss; any other field that the create call doesn't know is left out, and said.
Source: the official OpenAPI description, CreateAssistantRequest, CreateVectorStoreRequest and
CreateVectorStoreFileRequest (each refuses additional properties).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.dialects.loss import Loss
from holdall.dialects.marks import Marked, marked
from holdall.dialects.reading import read_fields, unknown_fields
from holdall.model import Record, SourceId, TargetId

__all__ = [
    "BATCH_FILES",
    "DEFAULTS",
    "FIELDS",
    "NAME_LENGTH",
    "Attachment",
    "Request",
    "assistant",
    "attachment",
    "named",
    "purpose",
    "store",
]

BATCH_FILES = 2000
"""Files in one call to file_batches."""

NAME_LENGTH = 256
"""Characters of an assistant's name."""

DEFAULTS = {"temperature": 1, "top_p": 1, "reasoning_effort": "medium"}
"""Parameters that some models refuse, with what they are where nobody set them."""

FIELDS = (
    "model",
    "name",
    "description",
    "instructions",
    "reasoning_effort",
    "tools",
    "tool_resources",
    "temperature",
    "top_p",
    "response_format",
)
"""What a client can set in an assistant, but for its metadata."""

_ASSISTANT_READ_ONLY = frozenset({"id", "object", "created_at", "metadata"})
_STORE = ("name", "description", "expires_after")
_STORE_READ_ONLY = frozenset(
    {
        "id",
        "object",
        "created_at",
        "metadata",
        "usage_bytes",
        "bytes",
        "file_counts",
        "status",
        "expires_at",
        "last_active_at",
    }
)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One create call: its body, the update that must follow it (or None), and what is lost."""

    body: dict[str, Any]
    update: dict[str, Any] | None = None
    losses: list[Loss] = []


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a vector store as ``file_batches`` takes it; ``recut`` where the source's chunking is unknown."""

    body: dict[str, Any]
    recut: bool = False


def assistant(
    record: Record,
    *,
    prefix: str,
    operation: str,
    stores: Mapping[SourceId, TargetId],
    files: Mapping[SourceId, TargetId],
    model: str | None = None,
) -> Request:
    """POST /assistants for one assistant, with ``model`` in place of its own. References that ``stores`` and ``files``
    don't map are left out of it; that they are is said by the plan, which knows why."""
    fields = read_fields(record)
    name = fields.get("name")
    label = name if isinstance(name, str) else None
    metadata, losses = marked(
        fields.get("metadata"), kind=record.kind, source=record.id, name=label, operation=operation
    )
    body = {key: fields[key] for key in FIELDS if key in fields}
    if "name" in body:
        body["name"] = named(body["name"], prefix)
    if model is not None:
        body["model"] = model
    if body.get("tools", ()) is None:
        body["tools"] = []
    if isinstance(body.get("tool_resources"), dict):
        body["tool_resources"], lost = _resources(record, label, body["tool_resources"], stores, files)
        losses += lost
    losses += unknown_fields(record, label, fields, known={*FIELDS, *_ASSISTANT_READ_ONLY})
    return _request(body, metadata, losses)


def store(record: Record, *, operation: str) -> Request:
    """POST /vector_stores for one vector store, without its files. ``expires_at`` is never copied."""
    fields = read_fields(record)
    name = fields.get("name")
    label = name if isinstance(name, str) else None
    metadata, losses = marked(
        fields.get("metadata"), kind=record.kind, source=record.id, name=label, operation=operation
    )
    # The create call takes no null for any of these, though the server answers null where they were not given.
    body = {key: fields[key] for key in _STORE if fields.get(key) is not None}
    losses += unknown_fields(record, label, fields, known={*_STORE, *_STORE_READ_ONLY})
    return _request(body, metadata, losses)


def attachment(record: Record, target: TargetId) -> Attachment:
    """One entry of ``files`` of POST /vector_stores/{id}/file_batches, with its own attributes and chunking.

    A strategy of type ``other`` says only that the source doesn't know; it can't be sent, nor can an absent one.
    """
    fields = read_fields(record)
    body: dict[str, Any] = {"file_id": target}
    if fields.get("attributes"):
        body["attributes"] = fields["attributes"]
    strategy = fields.get("chunking_strategy")
    if isinstance(strategy, dict) and strategy.get("type") == "static" and isinstance(strategy.get("static"), dict):
        body["chunking_strategy"] = {"type": "static", "static": strategy["static"]}
    return Attachment(body=body, recut="chunking_strategy" not in body)


def dispensable(body: Mapping[str, Any]) -> dict[str, bool]:
    """The fields of ``body`` that a create call can do without, and whether nothing is lost by that.

    Reasoning models take no temperature and no top_p, yet the server answers both, at 1, for assistants that have
    such a model; other models take no reasoning_effort. A null says what leaving the field out says.
    """
    found = {field: body[field] == default for field, default in DEFAULTS.items() if field in body}
    nulls = {field: True for field, value in body.items() if value is None}
    return {**found, **nulls}


def named(name: object, prefix: str) -> object:
    """A copy's name. A null name stays null: there is nothing to put the prefix before."""
    return prefix + name if isinstance(name, str) else name


def purpose(source: str | None) -> str:
    """The purpose to upload with. Those that only the server gives (``assistants_output``, …) become ``assistants``."""
    if not source or source.endswith(("_output", "-results")):
        return "assistants"
    return source


def _request(body: dict[str, Any], metadata: Marked, losses: list[Loss]) -> Request:
    body["metadata"] = metadata.create
    update = None if metadata.final is None else {"metadata": metadata.final}
    return Request(body=body, update=update, losses=losses)


def _resources(
    record: Record,
    name: str | None,
    resources: dict[str, Any],
    stores: Mapping[SourceId, TargetId],
    files: Mapping[SourceId, TargetId],
) -> tuple[dict[str, Any], list[Loss]]:
    """``tool_resources`` with the ids of the copy in it."""
    kept: dict[str, Any] = {}
    lost: list[Loss] = []
    for tool, field, ids in (
        ("code_interpreter", "file_ids", files),
        ("file_search", "vector_store_ids", stores),
    ):
        resource = resources.get(tool)
        if not isinstance(resource, dict):
            continue
        kept[tool] = {}
        if isinstance(resource.get(field), list):
            kept[tool][field] = [ids[i] for i in resource[field] if i in ids]
        lost += unknown_fields(record, name, resource, known={field}, where=f"tool_resources.{tool}.")
    known = {"code_interpreter", "file_search"}
    lost += unknown_fields(record, name, resources, known=known, where="tool_resources.")
    return kept, lost
