"""/assistants: what is defined in ``definitions``, kept; the files and stores that it names must be there."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from holdall.sandbox.service import serve_models, stores
from holdall.sandbox.service.api_errors import ApiError, invalid, not_found
from holdall.sandbox.service.assistant_definitions import (
    check_parameters,
    check_response_format,
    check_tools,
    shown,
    shown_tool,
    to_create,
    to_update,
)
from holdall.sandbox.service.body_shapes import json_body
from holdall.sandbox.service.paging import listing, select, window
from holdall.sandbox.service.service import Call


def _resolved(connection: sqlite3.Connection, call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    """tool_resources as asked, once all they name is known to exist; inline stores have been made."""
    own = ("code_interpreter", "file_search")
    found: dict[str, Any] = {kind: value for kind, value in asked.items() if kind not in own}
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
            if stores.find(connection, call, store) is None:
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


def create(call: Call) -> dict[str, Any]:
    asked = json_body(call.body, to_create(call.service.behaviour))
    service = call.service
    serve_models.assistant_model(service.behaviour, call.project, asked["model"])
    check_parameters(asked["model"], asked)
    check_tools(asked.get("tools", []))
    check_response_format(asked.get("response_format"))
    asked["tools"] = [shown_tool(tool) for tool in asked.get("tools", [])]
    with service.database.write() as connection:
        asked["tool_resources"] = _resolved(connection, call, asked.get("tool_resources") or {})
        made = shown(service.ids.assistant(), int(call.now), asked)
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
    asked = json_body(call.body, to_update(call.service.behaviour))
    with call.service.database.write() as connection:
        row = _find(connection, call)
        settings: dict[str, Any] = msgspec.json.decode(row["body"])
        model = asked.get("model", settings["model"])
        if "model" in asked:
            serve_models.assistant_model(call.service.behaviour, call.project, model)
        check_parameters(model, asked)
        check_response_format(asked.get("response_format"))
        if "tools" in asked:
            check_tools(asked["tools"])
            asked["tools"] = [shown_tool(tool) for tool in asked["tools"]]
        if "tool_resources" in asked:
            resolved = _resolved(connection, call, asked["tool_resources"] or {})
            asked["tool_resources"] = {**settings["tool_resources"], **resolved}
        made = shown(row["id"], settings["created_at"], {**settings, **asked})
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
        raise ApiError(
            400,
            "You must provide the 'OpenAI-Beta' header to access the Assistants API. Please try again by setting the "
            "header 'OpenAI-Beta: assistants=v2'.",
            code="invalid_beta",
        )
