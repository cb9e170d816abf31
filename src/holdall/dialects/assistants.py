"""The Assistants API, version 2: what create calls accept of a record, and what is lost.

Values are sent unchanged (a float stays a float) where the destination's table allows. Fields that only the server sets
are no loss; any other unknown field is left out and reported. Sources: the official OpenAPI description
(CreateAssistantRequest, CreateVectorStoreRequest, VectorStoreFileAttributes).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.dialects.tables import (
    ABSENT,
    DEFAULTS,
    EFFORT,
    METADATA,
    SHARE,
    USES,
    Anything,
    Choice,
    Form,
    Members,
    Number,
    Pairs,
    Reading,
    Request,
    Rule,
    Table,
    Targets,
    Text,
    fields,
    marked,
    refused,
    unmarked,
)
from holdall.dialects.tool_rules import Format, Function, Tools
from holdall.graph import with_callees
from holdall.model import Record, SourceId, TargetId

__all__ = [
    "ATTACHMENT",
    "FIELDS",
    "NOTHING",
    "OPENAI",
    "OWN",
    "READ_ONLY",
    "STORE",
    "STORE_READ_ONLY",
    "TOOLS",
    "Attachment",
    "Request",
    "assistant",
    "attachment",
    "dispensable",
    "file_search",
    "mapped",
    "marked_request",
    "own_metadata",
    "purpose",
    "refusing",
    "store",
]

NOTHING = Members(members={})
"""A tool without members."""


def file_search(ranker: str, defaults: Mapping[str, Any] = {}) -> Members:
    """The rule of a search tool; each API has its own names of ``ranker``."""
    ranking: dict[str, Rule] = {
        "ranker": Choice(words=("auto", ranker), otherwise="auto"),
        "score_threshold": SHARE,
    }
    options: dict[str, Rule] = {
        "max_num_results": Number(least=1, most=50, whole=True),
        "ranking_options": Members(members=ranking, defaults=defaults),
    }
    return Members(members={"file_search": Members(members=options)})


TOOLS = Tools(
    kinds={
        "file_search": file_search("default_2024_08_21", {"score_threshold": 0}),
        "code_interpreter": NOTHING,
        "function": Function(description=Text(most=1024)),
    },
    most=128,
    # A second one of these is refused.
    once=("file_search", "code_interpreter"),
)
_RULES: Mapping[str, Rule] = {
    "model": Text(),
    "name": Text(most=256),
    "description": Text(most=512),
    "instructions": Text(most=256_000, weighs=True),
    "reasoning_effort": EFFORT,
    "tools": TOOLS,
    # Ids, which become those of the copy: no value that a rule could repair.
    "tool_resources": Anything(),
    "temperature": Number(least=0, most=2),
    "top_p": SHARE,
    "response_format": Format(),
    "metadata": METADATA,
}

FIELDS = tuple(field for field in _RULES if field != "metadata")
"""What a client can set in an assistant, but for its metadata."""

STORE: Mapping[str, Rule] = {
    "name": Text(),
    "description": Text(),
    "expires_after": Members(
        members={
            "anchor": Choice(words=("last_active_at",)),
            # Some that wrote the record counted in seconds or milliseconds.
            "days": Number(least=1, most=365, whole=True, scales=(86_400, 86_400_000)),
        },
        needs=("anchor", "days"),
    ),
    "metadata": METADATA,
}
"""A vector store, at any destination."""

ATTACHMENT: Mapping[str, Rule] = {
    "attributes": Pairs(scalars=True),
    "static": Members(
        members={
            "max_chunk_size_tokens": Number(least=100, most=4096, whole=True, clamped=True),
            "chunk_overlap_tokens": Number(least=0, most=2048, whole=True, clamped=True),
        },
        needs=("max_chunk_size_tokens", "chunk_overlap_tokens"),
    ),
}
"""A file in a store: its attributes, and how it is cut where that is known."""

READ_ONLY = ("id", "object", "created_at")
"""What only the server sets in an assistant."""

# With expires_at: a server reckons it from expires_after and the last use.
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
    targets: Targets,
    model: str | None,
    table: Table,
) -> Request:
    """POST /assistants for one assistant. Tools that call an assistant without a copy (None in ``targets``) are left
    out."""
    reading = Reading(record, prefix=prefix, model=model)
    body = fields(reading, table.fields)
    for field, value in refusing(reading, body).items():
        if value is not None and value == DEFAULTS[field]:
            reading.lose(
                Why.DEFAULT_LEFT_OUT, field, value, "left out: the model does not accept it (it had the default value)"
            )
    # An update has to empty it, and takes no null for that.
    if body.get("tools", ()) is None:
        body["tools"] = []
    if targets.assistants and isinstance(body.get("tools"), list):
        body["tools"] = with_callees(body["tools"], targets.assistants)
    resources = body.pop("tool_resources", None)
    if isinstance(resources, dict):
        body["tool_resources"] = _resources(reading, resources, targets, table.resources)
    reading.lose_unknown(reading.fields, {*table.fields, *READ_ONLY}, "")
    return marked_request(reading, body, operation)


def store(record: Record, *, operation: str, as_is: bool = False) -> Request:
    """POST /vector_stores for one vector store, without its files. ``as_is``: whatever the record has, as its own
    server shows it."""
    reading = Reading(record)
    rules = dict.fromkeys(STORE, Anything()) if as_is else STORE
    body = {field: value for field, value in fields(reading, rules).items() if value is not None}
    reading.lose_unknown(reading.fields, {*STORE, *STORE_READ_ONLY}, "")
    return marked_request(reading, body, operation)


def attachment(record: Record, target: TargetId, *, as_is: bool = False) -> Attachment:
    """One entry of ``files`` of POST /vector_stores/{id}/file_batches, with its own attributes and chunking.

    ``as_is`` as in ``store``.
    """
    reading = Reading(record)
    body: dict[str, Any] = {"file_id": target}
    rules = dict.fromkeys(ATTACHMENT, Anything()) if as_is else ATTACHMENT
    attributes = reading.fields.get("attributes")
    if attributes is not None:
        attributes = rules["attributes"].repair(reading, attributes, "attributes")
    if attributes and attributes is not ABSENT:
        body["attributes"] = attributes
    strategy = reading.fields.get("chunking_strategy")
    # One of type "other" says only that the source doesn't know, and can't be sent.
    if isinstance(strategy, dict) and strategy.get("type") == "static" and strategy.get("static") is not None:
        static = rules["static"].repair(reading, strategy["static"], "chunking_strategy.static")
        if static is not ABSENT:
            # Each is within its own limits, and the two may still not go together.
            if not as_is and static["chunk_overlap_tokens"] > (most := static["max_chunk_size_tokens"] // 2):
                text = f"reduced to {most}, half of the chunk size, which is the maximum"
                field = "chunking_strategy.static.chunk_overlap_tokens"
                reading.lose(Why.VALUE_CHANGED, field, static["chunk_overlap_tokens"], text)
                static["chunk_overlap_tokens"] = most
            body["chunking_strategy"] = {"type": "static", "static": static}
    return Attachment(body=body, recut="chunking_strategy" not in body, losses=reading.losses)


def dispensable(body: Mapping[str, Any]) -> dict[str, bool]:
    """The fields of ``body`` that may be left out, and whether that loses nothing. A null means the same as leaving it
    out.
    """
    # Reasoning models take no temperature and no top_p, yet a server shows both, at 1, for assistants that have one.
    found = {field: body[field] == default for field, default in DEFAULTS.items() if field in body}
    nulls = {field: True for field, value in body.items() if value is None}
    return {**found, **nulls}


def own_metadata(record: Record) -> dict[str, Any]:
    """The metadata of a copy of ``record``, without our marks."""
    return unmarked(fields(Reading(record), {"metadata": STORE["metadata"]}).get("metadata"))


def refusing(reading: Reading, body: dict[str, Any]) -> dict[str, Any]:
    """Remove from ``body`` what its model refuses; values other than the default are lost. Returns what was removed."""
    # As it is, a model may be anything.
    model = body["model"] if isinstance(body.get("model"), str) else ""
    taken = {field: body.pop(field) for field in refused(model) if field in body}
    for field, value in taken.items():
        if value is not None and value != DEFAULTS[field]:
            why = (
                "is not a reasoning model and does not accept it"
                if field == "reasoning_effort"
                else "is a reasoning model and does not accept it"
            )
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


def mapped(ids: object, copies: Mapping[SourceId, TargetId]) -> list[TargetId]:
    """The copies' ids for ``ids``, each once. Anything but a list of ids has none."""
    found = [id for id in ids if isinstance(id, str)] if isinstance(ids, list) else []
    return list(dict.fromkeys(copies[SourceId(id)] for id in found if id in copies))


def _resources(
    reading: Reading, resources: dict[str, Any], targets: Targets, others: Collection[str]
) -> dict[str, Any]:
    """``tool_resources`` with the ids of the copy in it, each once."""
    kept: dict[str, Any] = {}
    for (tool, field), ids in zip(USES.items(), (targets.files, targets.stores), strict=True):
        resource = resources.get(tool)
        if not isinstance(resource, dict):
            continue
        kept[tool] = {}
        if isinstance(resource.get(field), list):
            kept[tool][field] = mapped(resource[field], ids)
        reading.lose_unknown(resource, {field}, f"tool_resources.{tool}.")
    # A destination's own tools have no ids of ours in what they use.
    kept.update({tool: value for tool, value in resources.items() if tool in others and value is not None})
    reading.lose_unknown(resources, {*USES, *others}, "tool_resources.")
    return kept


OPENAI = Table(form=Form.ASSISTANTS, build=assistant, fields=_RULES, stores=1, files=20)
"""The Assistants API, version 2, which any server has that calls itself compatible."""

OWN = msgspec.structs.replace(OPENAI, fields={**_RULES, "tools": msgspec.structs.replace(TOOLS, others=True)})
"""The same for what came from this very server, which takes the tools that it gave out itself."""
