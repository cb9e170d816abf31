"""/openai/v1/responses by an agent: its definition becomes the request, and the caller's input is asked of it."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.sandbox.service import foundry_records
from holdall.sandbox.service.api_errors import ApiError, invalid
from holdall.sandbox.service.body_shapes import Shape, choice, nullable, open_object, record, text
from holdall.sandbox.service.service import Call

_REFERENCE: Shape = record(
    {"type": choice("agent_reference"), "name": text(minimum=1), "version": nullable(text(minimum=1))},
    required=("type", "name"),
)
# What a definition says of a response, and so its caller doesn't.
_DEFINED = ("model", "instructions", "temperature", "top_p", "reasoning", "tools", "tool_choice", "text")
_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")

# The tools that the sandbox has, each with what it reads of it.
_SERVED: Mapping[str, frozenset[str]] = {
    "function": frozenset(["type", "name", "description", "parameters", "strict"]),
    "file_search": frozenset(["type", "vector_store_ids", "max_num_results", "filters", "ranking_options"]),
    "code_interpreter": frozenset(["type", "container"]),
}


def by_agent(
    connection: sqlite3.Connection, call: Call, body: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The body of a request with the definition that serves it in place of the reference; and which that is.

    Raises 404 for an agent or version that isn't there, 403 where it is disabled, 400 for what only a definition says.
    """
    if "agent_reference" not in body and "agent" not in call.path:
        return body, None
    rest = {key: value for key, value in body.items() if key not in ("agent_reference", "structured_inputs")}
    given = {"type": "agent_reference", "name": call.path["agent"]} if "agent" in call.path else body["agent_reference"]
    wanted = _REFERENCE(given, "agent_reference")
    for name in _DEFINED:
        if rest.get(name) is not None:
            raise invalid("Not allowed when agent is specified.", name, "invalid_payload")
    agent = foundry_records.find(connection, call, wanted["name"])
    if msgspec.json.decode(agent["body"])["state"] == "disabled":
        raise ApiError(403, f"Agent '{agent['id']}' is disabled.", code="agent_disabled")
    number = wanted.get("version")
    if number is None:
        row = foundry_records.served(connection, agent)
    else:
        row = foundry_records.find_version(connection, agent, number)
    version: dict[str, Any] = msgspec.json.decode(row["body"])
    inputs = open_object(body.get("structured_inputs") or {}, "structured_inputs")
    made = {**rest, **_request(version["definition"], inputs)}
    return made, {"type": "agent_reference", "name": version["name"], "version": version["version"]}


def _request(definition: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    if definition["kind"] != "prompt":
        raise invalid(f"An agent of kind '{definition['kind']}' isn't served by this sandbox.", "agent_reference")
    known = {**_defaults(definition), **inputs}
    made = {name: definition[name] for name in _DEFINED if definition.get(name) is not None}
    if "instructions" in made:
        made["instructions"] = _filled_in(made["instructions"], known)
    made["tools"] = [_served(tool, known) for tool in made.get("tools", []) if _is_served(tool)]
    if not _can_choose(made.get("tool_choice"), made["tools"]):
        del made["tool_choice"]
    if "text" in made:
        made["text"] = {key: value for key, value in made["text"].items() if value is not None}
    if "reasoning" in made:
        made["reasoning"] = {key: made["reasoning"][key] for key in ("effort", "summary") if key in made["reasoning"]}
    return made


def _defaults(definition: dict[str, Any]) -> dict[str, Any]:
    """The values of the inputs that a caller may leave out."""
    inputs = definition.get("structured_inputs") or {}
    return {name: each["default_value"] for name, each in inputs.items() if each.get("default_value") is not None}


def _can_choose(wanted: Any, tools: list[dict[str, Any]]) -> bool:
    """Whether a ``tool_choice`` that names one tool names one of these."""
    if not isinstance(wanted, dict):
        return True
    return (wanted.get("type"), wanted.get("name")) in {(tool["type"], tool.get("name")) for tool in tools}


def _is_served(tool: dict[str, Any]) -> bool:
    return tool["type"] in _SERVED and tool.get("vector_store_ids") != []


def _served(tool: dict[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    made = {key: value for key, value in tool.items() if key in _SERVED[tool["type"]]}
    made |= {key: _filled_in(made[key], inputs) for key in ("vector_store_ids", "container") if key in made}
    return {"container": {"type": "auto"}, **made} if tool["type"] == "code_interpreter" else made


def _filled_in(value: Any, inputs: Mapping[str, Any]) -> Any:
    """``value`` with what stands in double braces filled in; names that nobody knows stay as they are."""
    match value:
        case str():
            return _PLACEHOLDER.sub(lambda found: str(inputs.get(found[1], found[0])), value)
        case list():
            return [_filled_in(each, inputs) for each in value]
        case dict():
            return {key: _filled_in(each, inputs) for key, each in value.items()}
        case _:
            return value
