"""/assistants: definitions, checked like the service checks them and read back with its defaults filled in."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from holdall.sandbox import catalogue, stores
from holdall.sandbox.paging import listing, select, window
from holdall.sandbox.refusals import Refusal, invalid, not_found
from holdall.sandbox.service import Call
from holdall.sandbox.shapes import (
    METADATA,
    Shape,
    array,
    boolean,
    choice,
    integer,
    json_body,
    nullable,
    number,
    one_of,
    open_object,
    record,
    tagged,
    text,
)

__all__ = ["create", "delete", "list_all", "require_beta", "retrieve", "update"]

_TYPE = text()
_FUNCTION_NAME = text(64, minimum=1, pattern="[a-zA-Z0-9_-]+")

_TOOL = tagged(
    "type",
    {
        "code_interpreter": record({"type": _TYPE}),
        "file_search": record(
            {
                "type": _TYPE,
                "file_search": record(
                    {
                        "max_num_results": integer(1, 50),
                        "ranking_options": record(
                            {"ranker": choice("auto", "default_2024_08_21"), "score_threshold": number(0, 1)},
                            required=("score_threshold",),
                        ),
                    }
                ),
            }
        ),
        "function": record(
            {
                "type": _TYPE,
                "function": record(
                    {
                        "name": _FUNCTION_NAME,
                        "description": nullable(text(1024)),
                        "parameters": nullable(open_object),
                        "strict": nullable(boolean),
                    },
                    required=("name",),
                ),
            },
            required=("function",),
        ),
    },
)

_FORMAT_OBJECT = tagged(
    "type",
    {
        "text": record({"type": _TYPE}),
        "json_object": record({"type": _TYPE}),
        "json_schema": record(
            {
                "type": _TYPE,
                "json_schema": record(
                    {
                        "name": _FUNCTION_NAME,
                        "description": nullable(text()),
                        "schema": open_object,
                        "strict": nullable(boolean),
                    },
                    required=("name",),
                ),
            },
            required=("json_schema",),
        ),
    },
)
_RESPONSE_FORMAT = nullable(one_of("a string or an object", {str: choice("auto"), dict: _FORMAT_OBJECT}))

_STORES_INLINE = array(
    record(
        {
            "file_ids": array(text(), 10000),
            "chunking_strategy": stores.CHUNKING,
            "metadata": METADATA,
        }
    ),
    1,
)


def _resources(*, inline: bool) -> Shape:
    search: dict[str, Shape] = {"vector_store_ids": array(text(), 1)}
    if inline:
        search["vector_stores"] = _STORES_INLINE
    return nullable(
        record(
            {
                "code_interpreter": nullable(record({"file_ids": array(text(), 20)})),
                "file_search": nullable(record(search)),
            }
        )
    )


_FIELDS: dict[str, Shape] = {
    "model": text(minimum=1),
    "name": nullable(text(256)),
    "description": nullable(text(512)),
    "instructions": nullable(text(256_000)),
    "reasoning_effort": nullable(choice("none", "minimal", "low", "medium", "high", "xhigh", "max")),
    "tools": array(_TOOL, 128),
    "metadata": METADATA,
    "temperature": nullable(number(0, 2)),
    "top_p": nullable(number(0, 1)),
    "response_format": _RESPONSE_FORMAT,
}
_CREATE = record({**_FIELDS, "tool_resources": _resources(inline=True)}, required=("model",))
_UPDATE = record({**_FIELDS, "tool_resources": _resources(inline=False)})


def _shown_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as it reads back: with the ranking that the service fills in, and ``strict`` said."""
    if tool["type"] == "file_search":
        ranking = {"ranker": "default_2024_08_21", "score_threshold": 0.0}
        return {"type": "file_search", "file_search": {"ranking_options": ranking, **tool.get("file_search", {})}}
    if tool["type"] == "function":
        function = {key: value for key, value in tool["function"].items() if value is not None}
        return {"type": "function", "function": {**function, "strict": function.get("strict", False)}}
    return {"type": tool["type"]}


def _check_parameters(model: str, asked: dict[str, Any]) -> None:
    if catalogue.is_reasoning(model):
        for name in ("temperature", "top_p"):
            if asked.get(name) is not None:
                raise invalid(
                    f"Unsupported parameter: '{name}' is not supported with this model.",
                    name,
                    "unsupported_parameter",
                )
    elif asked.get("reasoning_effort") is not None:
        raise invalid(
            "Unsupported parameter: 'reasoning_effort' is not supported with this model.",
            "reasoning_effort",
            "unsupported_parameter",
        )


def _check_tools(tools: list[dict[str, Any]]) -> None:
    for kind in ("code_interpreter", "file_search"):
        if sum(tool["type"] == kind for tool in tools) > 1:
            raise invalid(f"Invalid 'tools': only one tool of type '{kind}' is allowed.", "tools", "invalid_value")
    names = [tool["function"]["name"] for tool in tools if tool["type"] == "function"]
    for name in names:
        if names.count(name) > 1:
            raise invalid(f"Invalid 'tools': duplicate function name '{name}'.", "tools", "invalid_value")


def _resolved(connection: sqlite3.Connection, call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    """tool_resources as asked, once all they name is known to exist; inline stores have been made."""
    found: dict[str, Any] = {}
    interpreter, search = asked.get("code_interpreter"), asked.get("file_search")
    if interpreter is not None:
        ids = interpreter.get("file_ids", [])
        _check_files(connection, call, ids)
        found["code_interpreter"] = {"file_ids": list(dict.fromkeys(ids))}
    if search is not None:
        if "vector_store_ids" in search and "vector_stores" in search:
            raise invalid(
                "You may only specify one of 'vector_store_ids' and 'vector_stores'.", "tool_resources.file_search"
            )
        ids = search.get("vector_store_ids", [])
        for store in ids:
            if stores.find(connection, call.project, store) is None:
                raise not_found(f"Vector store {store} not found.", "tool_resources.file_search.vector_store_ids")
        for inline in search.get("vector_stores", []):
            ids = [stores.insert(connection, call, inline, where="tool_resources.file_search.vector_stores[0]")]
        found["file_search"] = {"vector_store_ids": ids}
    return found


def _check_files(connection: sqlite3.Connection, call: Call, ids: list[str]) -> None:
    for file in ids:
        row = connection.execute(
            "SELECT 1 FROM files WHERE id = ? AND project = ? AND (expires_at IS NULL OR expires_at > ?)",
            (file, call.project, call.now),
        ).fetchone()
        if row is None:
            raise not_found(f"No such File object: {file}", "tool_resources.code_interpreter.file_ids")


def _shown(id_: str, created_at: int, settings: dict[str, Any]) -> dict[str, Any]:
    """The assistant object: settings with the service's defaults in place of what is missing or null."""
    kinds = {tool["type"] for tool in settings.get("tools", [])}
    resources = dict(settings.get("tool_resources") or {})
    if "code_interpreter" in kinds:
        resources.setdefault("code_interpreter", {"file_ids": []})
    if "file_search" in kinds:
        resources.setdefault("file_search", {"vector_store_ids": []})
    reasoning = catalogue.is_reasoning(settings["model"])

    def told(name: str, default: Any) -> Any:
        value = settings.get(name)
        return default if value is None else value

    return {
        "id": id_,
        "object": "assistant",
        "created_at": created_at,
        "name": settings.get("name"),
        "description": settings.get("description"),
        "model": settings["model"],
        "instructions": settings.get("instructions"),
        "tools": settings.get("tools", []),
        "top_p": told("top_p", 1.0),
        "temperature": told("temperature", 1.0),
        "reasoning_effort": told("reasoning_effort", "medium") if reasoning else None,
        "tool_resources": resources,
        "metadata": told("metadata", {}),
        "response_format": told("response_format", "auto"),
    }


def create(call: Call) -> dict[str, Any]:
    asked = json_body(call.body, _CREATE)
    service = call.service
    catalogue.assistant_model(service.behaviour, call.project, asked["model"])
    _check_parameters(asked["model"], asked)
    _check_tools(asked.get("tools", []))
    asked["tools"] = [_shown_tool(tool) for tool in asked.get("tools", [])]
    with service.database.write() as connection:
        asked["tool_resources"] = _resolved(connection, call, asked.get("tool_resources") or {})
        made = _shown(service.ids.assistant(), int(call.now), asked)
        connection.execute(
            "INSERT INTO assistants (project, id, body) VALUES (?, ?, ?)",
            (call.project, made["id"], msgspec.json.encode(made)),
        )
    return made


def _find(connection: sqlite3.Connection, call: Call) -> sqlite3.Row:
    wanted = call.path["assistant"]
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM assistants WHERE id = ? AND project = ?", (wanted, call.project)
    ).fetchone()
    if row is None:
        raise not_found(f"No assistant found with id '{wanted}'.")
    return row


def retrieve(call: Call) -> msgspec.Raw:
    with call.service.database.read() as connection:
        return msgspec.Raw(_find(connection, call)["body"])


def update(call: Call) -> dict[str, Any]:
    asked = json_body(call.body, _UPDATE)
    with call.service.database.write() as connection:
        row = _find(connection, call)
        settings: dict[str, Any] = msgspec.json.decode(row["body"])
        model = asked.get("model", settings["model"])
        if "model" in asked:
            catalogue.assistant_model(call.service.behaviour, call.project, model)
        _check_parameters(model, asked)
        if "tools" in asked:
            _check_tools(asked["tools"])
            asked["tools"] = [_shown_tool(tool) for tool in asked["tools"]]
        if "tool_resources" in asked:
            resolved = _resolved(connection, call, asked["tool_resources"] or {})
            asked["tool_resources"] = {**settings["tool_resources"], **resolved}
        made = _shown(row["id"], settings["created_at"], {**settings, **asked})
        connection.execute("UPDATE assistants SET body = ? WHERE seq = ?", (msgspec.json.encode(made), row["seq"]))
    return made


def delete(call: Call) -> dict[str, Any]:
    with call.service.database.write() as connection:
        row = _find(connection, call)
        connection.execute("DELETE FROM assistants WHERE seq = ?", (row["seq"],))
    return {"id": row["id"], "object": "assistant.deleted", "deleted": True}


def list_all(call: Call) -> dict[str, Any]:
    asked = window(call.query)
    with call.service.database.read() as connection:
        rows, has_more = select(connection, "t.id, t.body", "assistants AS t", "t.project = ?", (call.project,), asked)
    return listing([msgspec.Raw(row["body"]) for row in rows], [row["id"] for row in rows], has_more)


def require_beta(version: str | None) -> None:
    """The assistants endpoints answer only to clients that ask for their version."""
    if version is None or "assistants=v2" not in version.replace(" ", ""):
        raise Refusal(
            400,
            "You must provide the 'OpenAI-Beta' header to access the Assistants API. Please try again by setting the "
            "header 'OpenAI-Beta: assistants=v2'.",
            code="invalid_beta",
        )
