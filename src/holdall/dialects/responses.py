"""The Responses API: an assistant as a ``responses.create`` request, and what is lost.

The API keeps no assistants, so the request is written to a file for the caller, who adds only ``input``. The
destination's table repairs or leaves out what the call would refuse, and reports it; this module only places the
fields.

Fields without effect in a request (name, description, id, created_at) are ``kept`` beside it, which is no loss; nor is
leaving out defaults.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from holdall.dialects.assistants import NOTHING, OPENAI, TOOLS, Function, file_search, mapped, refusing
from holdall.dialects.loss import Why
from holdall.dialects.rules import (
    CLONED_FROM,
    DEFAULTS,
    USES,
    Form,
    Reading,
    Request,
    Table,
    Targets,
    Text,
    fields,
    unmarked,
)
from holdall.model import Record

_KEPT = ("id", "name", "description", "created_at")
_ASIDE = frozenset({"object", *_KEPT})


def assistant(
    record: Record,
    *,
    prefix: str,
    operation: str,
    targets: Targets,
    model: str | None,
    table: Table,
) -> Request:
    """What ``responses.create(**body, input=…)`` takes for one assistant. It carries no mark of an ``operation``."""
    reading = Reading(record, prefix=prefix, model=model)
    rules = {field: rule for field, rule in table.fields.items() if field not in _KEPT}
    found = {field: value for field, value in fields(reading, rules).items() if value is not None}
    refusing(reading, found)
    request = {field: found[field] for field in ("model", "instructions") if field in found} | settings(found)
    if tools := placed(reading, found.get("tools", []), targets):
        request["tools"] = tools
    lose_unused(reading, {tool["type"] for tool in found.get("tools", [])})
    if own := _unmarked(reading, found.get("metadata", {})):
        request["metadata"] = own
    reading.lose_unknown(reading.fields, {*table.fields, *_ASIDE}, "")
    kept = {field: reading.fields.get(field) for field in _KEPT}
    if reading.name is None:
        kept["name"] = None
    return Request(body=request, kept=kept, left_out=reading.left_out, losses=reading.losses)


def settings(found: Mapping[str, Any]) -> dict[str, Any]:
    """The model settings of an assistant that aren't at their defaults."""
    # Models that reason refuse even the default of these.
    settings = {f: found[f] for f in ("temperature", "top_p") if found.get(f, DEFAULTS[f]) != DEFAULTS[f]}
    if "reasoning_effort" in found:
        settings["reasoning"] = {"effort": found["reasoning_effort"]}
    if found.get("response_format", "auto") != "auto":
        settings["text"] = {"format": _flat(found["response_format"])}
    return settings


def _flat(asked: dict[str, Any]) -> dict[str, Any]:
    """What an assistant has one level down."""
    if asked["type"] != "json_schema":
        return asked
    return {"type": "json_schema", "schema": {}, **asked["json_schema"]}


def _unmarked(reading: Reading, metadata: dict[str, Any]) -> dict[str, Any]:
    """The owner's own keys."""
    # What a request has here, every response to it has: no place for our marks.
    if (was := metadata.get(CLONED_FROM)) is not None:
        text = f"was {was}; its id in the bundle is in the file next to it"
        reading.lose(Why.MARKS_REPLACED, f"metadata.{CLONED_FROM}", was, text)
    return unmarked(metadata)


def placed(reading: Reading, tools: list[dict[str, Any]], targets: Targets) -> list[dict[str, Any]]:
    """The tools in order. An assistant's tool resources move into the tools, with the copy's ids, and functions are
    flattened. Tools of other types stay as they are."""
    resources = _object(reading.fields.get("tool_resources"))
    found: list[dict[str, Any]] = []
    for tool in tools:
        kind = tool["type"]
        if kind == "function":
            # Without the field a function is strict in this API, and not in the Assistants API.
            found.append({"type": kind, "strict": False, **tool["function"]})
        elif kind == "code_interpreter":
            used = mapped(_object(resources.get(kind)).get(USES[kind]), targets.files)
            found.append({"type": kind, "container": {"type": "auto", **({"file_ids": used} if used else {})}})
        elif kind not in USES:
            found.append(tool)
        elif used := mapped(_object(resources.get(kind)).get(USES[kind]), targets.stores):
            found.append({"type": kind, "vector_store_ids": used, **tool.get("file_search", {})})
        else:
            asked = reading.fields["tools"]
            number = next(n for n, one in enumerate(asked) if isinstance(one, dict) and one.get("type") == kind)
            text = "left out: file_search without a vector store"
            reading.lose(Why.UNUSABLE, f"tools[{number}]", asked[number], text)
    return found


def containers(request: Mapping[str, Any]) -> list[str]:
    """The files that the code interpreter of a request is given; the request may be anybody's."""
    asked = request.get("tools")
    found: list[str] = []
    for tool in asked if isinstance(asked, list) else ():
        container = tool.get("container") if isinstance(tool, dict) else None
        ids = container.get("file_ids") if isinstance(container, dict) else None
        found += [id for id in ids if isinstance(id, str)] if isinstance(ids, list) else []
    return found


def lose_unused(reading: Reading, kinds: Collection[str], others: Collection[str] = ()) -> None:
    """Record as lost the ``tool_resources`` that no tool of these ``kinds`` uses; ``others`` are the destination's
    own."""
    asked = "must be an object"
    resources = reading.fit("tool_resources", reading.fields.get("tool_resources"), dict, asked) or {}
    reading.lose_unknown(resources, {*USES, *others}, "tool_resources.")
    for tool, field in USES.items():
        where = f"tool_resources.{tool}"
        resource = reading.fit(where, resources.get(tool), dict, asked) or {}
        reading.lose_unknown(resource, {field}, f"{where}.")
        if tool not in kinds and resource.get(field):
            text = f"left out: no {tool} tool uses it"
            reading.lose(Why.UNUSABLE, f"{where}.{field}", resource[field], text)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


RESPONSES = Table(
    form=Form.RESPONSES,
    build=assistant,
    fields={
        **OPENAI.fields,
        "name": Text(),
        "description": Text(),
        "instructions": Text(most=10_485_760, weighs=True),
        "tools": msgspec.structs.replace(
            TOOLS,
            kinds={
                "function": Function(complete=True),
                "code_interpreter": NOTHING,
                # The same ranker has another name here.
                "file_search": file_search("default-2024-11-15"),
            },
        ),
    },
    stores=2,
    files=50,
)
"""The Responses API, by the fields of the assistant that becomes a request."""
