"""The Assistants API, version 2: what create calls accept of a record, and what is lost.

Values are sent unchanged (a float stays a float) where the destination's table allows. Fields that only the server sets
are no loss; any other unknown field is left out and reported. Other destinations use its rules for tools, too.
Sources: the official OpenAPI description (CreateAssistantRequest, CreateVectorStoreRequest, VectorStoreFileAttributes).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.dialects.rules import (
    ABSENT,
    DEFAULTS,
    EFFORT,
    METADATA,
    NOT_AN_OBJECT,
    SHARE,
    USES,
    Anything,
    Choice,
    Flag,
    Form,
    Free,
    Members,
    Number,
    Pairs,
    Reading,
    Request,
    Rule,
    Table,
    Targets,
    Text,
    completed,
    fields,
    marked,
    refused,
    repair_members,
    unfit,
    unmarked,
    without_type,
)
from holdall.graph import with_callees
from holdall.model import Record, SourceId, TargetId

MAX_NAME = 64
"""Characters of the name of a function or of a schema."""

_PLAIN_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME}}}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


# -- rules of formats and tools ------------------------------------------------------------------------

_SCHEMA = Members(members={"description": Text(), "schema": Free(), "strict": Flag()})
_NOT_STRICT = (
    "changed to false: strict needs a schema in which every object requires all its properties and allows no others"
)


class Format(Rule, frozen=True):
    """An assistant's response format: ``auto``, ``{type}``, or ``{type, json_schema: {name, schema, …}}``."""

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        if value == "auto":
            return value
        if value in ("text", "json_object"):
            reading.lose(Why.VALUE_CHANGED, where, value, f"{NOT_AN_OBJECT}; converted")
            return {"type": value}
        kind = value.get("type") if isinstance(value, dict) else None
        schema = value.get("json_schema") if isinstance(value, dict) else None
        if kind in ("text", "json_object"):
            reading.lose_unknown(value, {"type", "json_schema"}, f"{where}.")
            return {"type": kind}
        if kind == "json_schema" and isinstance(schema, dict):
            reading.lose_unknown(value, {"type", "json_schema"}, f"{where}.")
            return {"type": kind, "json_schema": _json_schema(reading, schema, f"{where}.json_schema.")}
        return unfit(reading, value, where, "unknown format")


def _json_schema(reading: Reading, asked: dict[str, Any], where: str) -> dict[str, Any]:
    name = asked.get("name")
    plain = _NOT_IN_NAMES.sub("_", name)[:MAX_NAME] if isinstance(name, str) and name else "response"
    if plain != name:
        text = f"changed to {plain}: only letters, digits, _ and -, at most {MAX_NAME}"
        reading.lose(Why.VALUE_CHANGED, f"{where}name", name, text)
    found = {"name": plain, **repair_members(reading, _SCHEMA.members, asked, where)}
    if found.get("strict"):
        closed = as_strict(found.get("schema", {}))
        _tell_strict(reading, found, "schema", closed, where)
    reading.lose_unknown(asked, {"name", *_SCHEMA.members}, where)
    return found


def _tell_strict(
    reading: Reading, found: dict[str, Any], field: str, closed: dict[str, Any] | None, where: str
) -> None:
    """Replace the schema by one that ``strict`` accepts, or else set ``strict`` to false."""
    if closed is None:
        found["strict"] = False
        reading.lose(Why.VALUE_CHANGED, f"{where}strict", True, _NOT_STRICT)
    elif closed != found.get(field):
        text = "changed to an object schema with additionalProperties false, for strict"
        if field in found:
            reading.lose(Why.VALUE_CHANGED, f"{where}{field}", found[field], text)
        found[field] = closed


class Function(Rule, frozen=True, kw_only=True):
    """A function tool. ``nested``: what it is stands in ``function``, not in the tool itself. ``complete``: its
    parameters have to be there, and so have its other members in ``defaults``."""

    nested: bool = True
    complete: bool = False
    description: Text = Text()
    more: Mapping[str, Rule] = {}
    defaults: Mapping[str, Any] = {}

    def repair(self, reading: Reading, tool: Any, where: str) -> Any:
        asked = tool.get("function") if self.nested else without_type(tool)
        if (
            not isinstance(asked, dict)
            or not isinstance(name := asked.get("name"), str)
            or not _PLAIN_NAME.fullmatch(name)
        ):
            text = f"left out: the function's name must be 1 to {MAX_NAME} letters, digits, _ or -"
            reading.lose(Why.UNKNOWN_TOOL, where, tool, text)
            return ABSENT
        inside = f"{where}.function." if self.nested else f"{where}."
        rules: dict[str, Rule] = {"description": self.description, "parameters": Free(), **self.more}
        if self.nested:
            rules["strict"] = Flag()
            reading.lose_unknown(tool, {"type", "function"}, f"{where}.")
        found: dict[str, Any] = {"name": name, **repair_members(reading, rules, asked, inside)}
        reading.lose_unknown(asked, {"name", *rules}, inside)
        self._fit_parameters(reading, found, inside)
        found = completed(self.defaults, found)
        return {"type": "function", "function": found} if self.nested else {"type": "function", **found}

    def _fit_parameters(self, reading: Reading, found: dict[str, Any], where: str) -> None:
        asked = found.get("parameters")
        strict = found.get("strict", False)
        if asked is not None or self.complete or strict:
            made = as_parameters(asked or {})
            if made is None:
                found.pop("parameters")
                reading.lose(Why.UNFIT_VALUE, f"{where}parameters", asked, "must be the schema of an object")
                made = as_parameters({})
            elif asked is not None and made != asked:
                text = "changed to a schema with properties, and items in arrays"
                reading.lose(Why.VALUE_CHANGED, f"{where}parameters", asked, text)
            found["parameters"] = made
        if strict:
            closed = as_strict(found["parameters"])
            # Where nothing was asked for, there is nothing to be said of its change.
            if asked or closed is None:
                _tell_strict(reading, found, "parameters", closed, where)
            else:
                found["parameters"] = closed


class Tools(Rule, frozen=True, kw_only=True):
    """A list of tools of these ``kinds``, at most ``most``, and of some only one. ``others``: those of other types are
    sent as they are."""

    kinds: Mapping[str, Rule]
    most: int | None = None
    once: tuple[str, ...] = ()
    others: bool = False

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        if not isinstance(value, list):
            return unfit(reading, value, where, "must be a list")
        found: list[dict[str, Any]] = []
        for number, tool in enumerate(value):
            inside = f"{where}[{number}]"
            made = self._tool(reading, tool, inside)
            if made is ABSENT:
                continue
            if again := self._again(made, found):
                # The very same once more does nothing; another function of that name is lost.
                why = Why.OVER_LIMIT if made in found or made["type"] in self.once else Why.LEFT_OUT
                reading.lose(why, inside, tool, f"left out: only one is allowed, and there is already {again}")
            elif len(found) == self.most:
                reading.lose(Why.LEFT_OUT, inside, tool, f"left out: more than {self.most} tools")
            else:
                found.append(made)
        return found

    def _tool(self, reading: Reading, tool: Any, where: str) -> Any:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str):
            reading.lose(Why.UNKNOWN_TOOL, where, tool, "left out: no type")
            return ABSENT
        known = self.kinds.get(kind, Anything() if self.others else None)
        if known is None:
            reading.lose(Why.UNKNOWN_TOOL, where, tool, f"left out: the destination has no {kind}")
            return ABSENT
        if not isinstance(known, Members):
            return known.repair(reading, tool, where)
        made = known.repair(reading, without_type(tool), where, Why.UNKNOWN_TOOL)
        return made if made is ABSENT else {"type": kind, **made}

    def _again(self, tool: dict[str, Any], found: list[dict[str, Any]]) -> str:
        """The earlier tool that this one repeats, in words; empty if none."""
        kind = tool["type"]
        alike = [other for other in found if other["type"] == kind]
        if alike and kind in self.once:
            return f"a {kind}"
        if kind == "function" and any(_function_name(other) == _function_name(tool) for other in alike):
            return f"a function {_function_name(tool)}"
        return ""


def _function_name(tool: dict[str, Any]) -> str:
    name: str = tool.get("function", tool)["name"]
    return name


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


NOTHING = Members(members={})
"""A tool without members."""


# -- what the calls that create accept -----------------------------------------------------------------

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

_ASSISTANT: Mapping[str, Rule] = {
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

FIELDS = tuple(field for field in _ASSISTANT if field != "metadata")
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


# -- requests ------------------------------------------------------------------------------------------


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


def marked_request(reading: Reading, body: dict[str, Any], operation: str) -> Request:
    """The request with our marks in its metadata."""
    record = reading.record
    metadata, losses = marked(
        body.get("metadata"), kind=record.kind, source=record.id, name=reading.name, operation=operation
    )
    body["metadata"] = metadata.create
    update = None if metadata.final is None else {"metadata": metadata.final}
    return Request(body=body, update=update, losses=[*reading.losses, *losses])


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


def mapped(ids: object, copies: Mapping[SourceId, TargetId]) -> list[TargetId]:
    """The copies' ids for ``ids``, each once. Anything but a list of ids has none."""
    found = [id for id in ids if isinstance(id, str)] if isinstance(ids, list) else []
    return list(dict.fromkeys(copies[SourceId(id)] for id in found if id in copies))


def purpose(source: str | None) -> str:
    """The purpose to upload with. Those that only the server gives (``assistants_output``, …) become ``assistants``."""
    if not source or source.endswith(("_output", "-results")):
        return "assistants"
    return source


def own_metadata(record: Record) -> dict[str, Any]:
    """The metadata of a copy of ``record``, without our marks."""
    return unmarked(fields(Reading(record), {"metadata": STORE["metadata"]}).get("metadata"))


def dispensable(body: Mapping[str, Any]) -> dict[str, bool]:
    """The fields of ``body`` that may be left out, and whether that loses nothing. A null means the same as leaving it
    out.
    """
    # Reasoning models take no temperature and no top_p, yet a server shows both, at 1, for assistants that have one.
    found = {field: body[field] == default for field, default in DEFAULTS.items() if field in body}
    nulls = {field: True for field, value in body.items() if value is None}
    return {**found, **nulls}


OPENAI = Table(form=Form.ASSISTANTS, build=assistant, fields=_ASSISTANT, stores=1, files=20)
"""The Assistants API, version 2, which any server has that calls itself compatible."""

OWN = msgspec.structs.replace(OPENAI, fields={**_ASSISTANT, "tools": msgspec.structs.replace(TOOLS, others=True)})
"""The same for what came from this very server, which takes the tools that it gave out itself."""


# -- schemas of functions and formats ------------------------------------------------------------------

# Not among what a strict schema may have.
_NEVER_STRICT = frozenset(
    {"allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties"}
)
_BY_NAME = ("properties", "$defs", "definitions")
_IN_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_ALONE = ("items", "additionalProperties")
_NESTED = frozenset((*_BY_NAME, *_IN_LISTS, *_ALONE))


def as_parameters(schema: dict[str, Any]) -> dict[str, Any] | None:
    """``schema`` as a function's parameters; None if it isn't an object's.

    >>> as_parameters({})
    {'type': 'object', 'properties': {}}
    """
    kind = schema.get("type", "object")
    if isinstance(kind, list) and "object" in kind:
        kind = "object"
    if kind != "object":
        return None
    properties = schema.get("properties")
    rest = {key: value for key, value in schema.items() if key not in ("type", "properties")}
    whole = {"type": "object", "properties": properties if isinstance(properties, dict) else {}, **rest}
    listed: dict[str, Any] = _with_items(whole)
    return listed


def as_strict(schema: dict[str, Any]) -> dict[str, Any] | None:
    """``schema`` as ``strict`` accepts it; None if that would change its meaning.

    ``additionalProperties: false`` is added if unset, because ``strict`` implies it; which properties are required is
    the owner's choice.

    >>> as_strict({"type": "object", "properties": {}})
    {'type': 'object', 'properties': {}, 'required': [], 'additionalProperties': False}
    """
    # At its root it is one object, and no choice of several.
    if schema.get("type") != "object" or "anyOf" in schema:
        return None
    closed: dict[str, Any] = _closed(schema)
    return closed if all(map(_is_strict, _schemas_in(closed))) else None


def _with_items(schema: Any) -> Any:
    """A list has to say what is in it."""
    if not isinstance(schema, dict):
        return schema
    found = _each_changed(schema, _with_items)
    is_list = found.get("type") == "array" or (isinstance(found.get("type"), list) and "array" in found["type"])
    return {**found, "items": {}} if is_list and "items" not in found and "prefixItems" not in found else found


def _closed(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    found = _each_changed(schema, _closed)
    if not _is_object(found):
        return found
    if not isinstance(found.get("properties"), dict):
        found = {**found, "properties": {}}
    # Of an object without properties nobody has to say which are required.
    if not found["properties"]:
        found.setdefault("required", [])
    found.setdefault("additionalProperties", False)
    return found


def _each_changed(schema: dict[str, Any], change: Any) -> dict[str, Any]:
    """A copy of ``schema`` with each schema in it changed."""
    found = dict(schema)
    # Most schemas are of one value, and there may be 100,000 of them.
    if _NESTED.isdisjoint(found):
        return found
    for key in _BY_NAME:
        if isinstance(found.get(key), dict):
            found[key] = {name: change(each) for name, each in found[key].items()}
    for key in _IN_LISTS:
        if isinstance(found.get(key), list):
            found[key] = [change(each) for each in found[key]]
    for key in _ALONE:
        if isinstance(found.get(key), dict):
            found[key] = change(found[key])
    return found


def _schemas_in(schema: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict):
        return
    yield schema
    for key in _BY_NAME:
        if isinstance(schema.get(key), dict):
            for each in schema[key].values():
                yield from _schemas_in(each)
    for key in _IN_LISTS:
        if isinstance(schema.get(key), list):
            for each in schema[key]:
                yield from _schemas_in(each)
    yield from _schemas_in(schema.get("items"))


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema


def _is_strict(schema: dict[str, Any]) -> bool:
    if _NEVER_STRICT & schema.keys():
        return False
    if not _is_object(schema):
        return True
    required = schema.get("required")
    names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    return schema["additionalProperties"] is False and names == set(schema["properties"])
