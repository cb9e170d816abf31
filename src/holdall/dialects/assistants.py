"""The Assistants API, version 2: what its create calls take, and what of a record they don't.

Values are sent as the source gave them, a float stays a float, as far as the destination's table takes them. Fields
that only the server sets are no loss; any other field that the create call doesn't know is left out, and said.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.dialects.marks import marked, unmarked
from holdall.dialects.mending import ABSENT, fields, mend
from holdall.dialects.reading import Reading
from holdall.dialects.rules import Anything, Rule, Text
from holdall.dialects.tables import ATTACHMENT, DEFAULTS, OPENAI, STORE, USES, Table, refused
from holdall.graph import with_callees
from holdall.model import Record, SourceId, TargetId

__all__ = [
    "FIELDS",
    "STORE_READ_ONLY",
    "Attachment",
    "Request",
    "assistant",
    "attachment",
    "dispensable",
    "marked_request",
    "named",
    "own_metadata",
    "prefixed",
    "purpose",
    "refusing",
    "store",
]

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

_ASSISTANT_READ_ONLY = ("id", "object", "created_at")
STORE_READ_ONLY = (
    "id",
    "object",
    "created_at",
    "usage_bytes",
    "bytes",
    "file_counts",
    "status",
    "expires_at",
    "last_active_at",
)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What an object is to be: its ``body``, the ``update`` that must follow its creation (or None), and what is lost.

    ``create`` is what is sent to make it: a null there says what leaving it out says, and not every server takes it.
    """

    body: dict[str, Any]
    update: dict[str, Any] | None = None
    losses: list[Loss] = []

    @property
    def create(self) -> dict[str, Any]:
        return {field: value for field, value in self.body.items() if value is not None}


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a vector store as ``file_batches`` takes it; ``recut`` where the source's chunking is unknown."""

    body: dict[str, Any]
    recut: bool = False
    losses: list[Loss] = []


def assistant(
    record: Record,
    *,
    prefix: str,
    operation: str,
    stores: Mapping[SourceId, TargetId],
    files: Mapping[SourceId, TargetId],
    assistants: Mapping[SourceId, TargetId | None] = MappingProxyType({}),
    model: str | None = None,
    table: Table = OPENAI,
) -> Request:
    """POST /assistants for one assistant, with ``model`` in place of its own, as ``table`` allows.

    References that ``stores`` and ``files`` don't map are left out of it, and tools that call one of ``assistants``
    which is None there; that they are is said by the plan, which knows why.
    """
    reading = Reading(record, model)
    prefixed(reading, prefix)
    body = fields(reading, table.fields)
    for field, value in refusing(reading, body).items():
        if value is not None and value == DEFAULTS[field]:
            reading.lose(Why.DEFAULT_LEFT_OUT, field, value, "left out: the model refuses it, and it is the default")
    if body.get("tools", ()) is None:
        body["tools"] = []
    if assistants and isinstance(body.get("tools"), list):
        body["tools"] = with_callees(body["tools"], assistants)
    resources = reading.fields.get("tool_resources")
    if isinstance(resources, dict):
        body["tool_resources"] = _resources(reading, resources, stores, files, table.resources)
    reading.lose_unknown(reading.fields, {*table.fields, "tool_resources", *_ASSISTANT_READ_ONLY}, "")
    return marked_request(reading, body, operation)


def store(record: Record, *, operation: str, as_is: bool = False) -> Request:
    """POST /vector_stores for one vector store, without its files. ``expires_at`` is never copied. ``as_is``: whatever
    the record has, as its own server shows it."""
    reading = Reading(record)
    rules = dict.fromkeys(STORE, Anything()) if as_is else STORE
    body = {field: value for field, value in fields(reading, rules).items() if value is not None}
    reading.lose_unknown(reading.fields, {*STORE, *STORE_READ_ONLY}, "")
    return marked_request(reading, body, operation)


def attachment(record: Record, target: TargetId, *, as_is: bool = False) -> Attachment:
    """One entry of ``files`` of POST /vector_stores/{id}/file_batches, with its own attributes and chunking.

    A strategy of type ``other`` says only that the source doesn't know; it can't be sent, nor can an absent one.
    ``as_is`` as in ``store``.
    """
    reading = Reading(record)
    body: dict[str, Any] = {"file_id": target}
    rules = dict.fromkeys(ATTACHMENT, Anything()) if as_is else ATTACHMENT
    attributes = mend(reading, rules["attributes"], reading.fields.get("attributes"), "attributes")
    if attributes is not ABSENT and attributes:
        body["attributes"] = attributes
    strategy = reading.fields.get("chunking_strategy")
    if isinstance(strategy, dict) and strategy.get("type") == "static":
        static = mend(reading, rules["static"], strategy.get("static"), "chunking_strategy.static")
        if static is not ABSENT:
            if not as_is and static["chunk_overlap_tokens"] > (most := static["max_chunk_size_tokens"] // 2):
                text = f"it may be half of the chunk, and is {most} now"
                field = "chunking_strategy.static.chunk_overlap_tokens"
                reading.lose(Why.VALUE_CHANGED, field, static["chunk_overlap_tokens"], text)
                static["chunk_overlap_tokens"] = most
            body["chunking_strategy"] = {"type": "static", "static": static}
    return Attachment(body=body, recut="chunking_strategy" not in body, losses=reading.losses)


def dispensable(body: Mapping[str, Any]) -> dict[str, bool]:
    """The fields of ``body`` that a create call can do without, and whether nothing is lost by that.

    Reasoning models take no temperature and no top_p, yet the server answers both, at 1, for assistants that have
    such a model; other models take no reasoning_effort. A null says what leaving the field out says.
    """
    found = {field: body[field] == default for field, default in DEFAULTS.items() if field in body}
    nulls = {field: True for field, value in body.items() if value is None}
    return {**found, **nulls}


def named(name: object, prefix: str, rules: Mapping[str, Rule] = OPENAI.fields) -> str | None:
    """A copy's name, no longer than it may be. A null name stays null: there is nothing to put the prefix before."""
    rule = rules["name"]
    most = rule.most if isinstance(rule, Text) else None
    return f"{prefix}{name}"[:most] if isinstance(name, str) else None


def own_metadata(record: Record) -> dict[str, Any]:
    """The metadata of a copy of ``record``, of whatever kind, but for our marks."""
    return unmarked(fields(Reading(record), {"metadata": STORE["metadata"]}).get("metadata"))


def prefixed(reading: Reading, prefix: str) -> None:
    """Put ``prefix`` before the name."""
    if isinstance(name := reading.fields.get("name"), str):
        reading.fields["name"] = prefix + name


def refusing(reading: Reading, body: dict[str, Any]) -> dict[str, Any]:
    """Take what its model refuses out of ``body``; what isn't at its default is lost. Returns what was taken out."""
    model = body.get("model") or ""
    taken = {field: body.pop(field) for field in refused(model) if field in body}
    for field, value in taken.items():
        if value is not None and value != DEFAULTS[field]:
            why = "does not reason, and refuses it" if field == "reasoning_effort" else "reasons, and refuses it"
            reading.lose(Why.MODEL_REFUSES, field, value, f"left out: {model} {why}")
    return taken


def marked_request(reading: Reading, body: dict[str, Any], operation: str) -> Request:
    """The request with our marks in its metadata."""
    record = reading.record
    metadata, losses = marked(
        body.get("metadata"), kind=record.kind, source=record.id, name=reading.name, operation=operation
    )
    body["metadata"] = metadata.create
    update = None if metadata.final is None else {"metadata": metadata.final}
    return Request(body=body, update=update, losses=[*reading.losses, *losses])


def purpose(source: str | None) -> str:
    """The purpose to upload with. Those that only the server gives (``assistants_output``, …) become ``assistants``."""
    if not source or source.endswith(("_output", "-results")):
        return "assistants"
    return source


def _resources(
    reading: Reading,
    resources: dict[str, Any],
    stores: Mapping[SourceId, TargetId],
    files: Mapping[SourceId, TargetId],
    others: Collection[str],
) -> dict[str, Any]:
    """``tool_resources`` with the ids of the copy in it, each once."""
    kept: dict[str, Any] = {}
    for (tool, field), ids in zip(USES.items(), (files, stores), strict=True):
        resource = resources.get(tool)
        if not isinstance(resource, dict):
            continue
        kept[tool] = {}
        if isinstance(resource.get(field), list):
            kept[tool][field] = list(dict.fromkeys(ids[i] for i in resource[field] if i in ids))
        reading.lose_unknown(resource, {field}, f"tool_resources.{tool}.")
    kept.update({tool: value for tool, value in resources.items() if tool in others and value is not None})
    reading.lose_unknown(resources, {*USES, *others}, "tool_resources.")
    return kept
