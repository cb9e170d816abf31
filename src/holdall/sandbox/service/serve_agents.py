"""/agents: reusable agents, kept as they are defined in ``agent_definitions``. Nothing runs them."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from holdall.sandbox.service import serve_models
from holdall.sandbox.service.agent_definitions import shown, to_create, to_update
from holdall.sandbox.service.api_errors import ApiError, not_found
from holdall.sandbox.service.paging import listing, select, window
from holdall.sandbox.service.service import Call


def create(call: Call) -> dict[str, Any]:
    asked = to_create(call.body)
    serve_models.agent_model(call.service.behaviour, call.project, asked["model"])
    now = int(call.now)
    made = shown(call.service.ids.agent(), now, now, asked)
    with call.service.database.write() as connection:
        connection.execute(
            "INSERT INTO agents (project, id, body) VALUES (?, ?, ?)",
            (call.project, made["id"], msgspec.json.encode(made)),
        )
    return made


def _find(connection: sqlite3.Connection, call: Call) -> sqlite3.Row:
    wanted = call.path["agent"]
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM agents WHERE id = ? AND project = ?", (wanted, call.project)
    ).fetchone()
    if row is None:
        raise not_found(f"Agent with id '{wanted}' not found.")
    return row


def retrieve(call: Call) -> msgspec.Raw:
    with call.service.database.read() as connection:
        return msgspec.Raw(_find(connection, call)["body"])


def update(call: Call) -> dict[str, Any]:
    """What is given replaces what was there, null included; only experimental settings are merged."""
    asked = to_update(call.body)
    with call.service.database.write() as connection:
        row = _find(connection, call)
        was: dict[str, Any] = msgspec.json.decode(row["body"])
        if "model" in asked:
            serve_models.agent_model(call.service.behaviour, call.project, asked["model"])
        settings = {**was, **asked, "experimental": {**was["experimental"], **asked.get("experimental", {})}}
        made = shown(row["id"], was["created_at"], int(call.now), settings)
        connection.execute("UPDATE agents SET body = ? WHERE seq = ?", (msgspec.json.encode(made), row["seq"]))
    return made


def delete(call: Call) -> dict[str, Any]:
    with call.service.database.write() as connection:
        row = _find(connection, call)
        connection.execute("DELETE FROM agents WHERE seq = ?", (row["seq"],))
    return {"id": row["id"], "object": "agent.deleted", "deleted": True}


def list_all(call: Call) -> dict[str, Any]:
    asked = window(call.query, before=False)
    with call.service.database.read() as connection:
        rows, has_more = select(connection, "t.id, t.body", "agents AS t", "t.project = ?", (call.project,), asked)
    return listing([msgspec.Raw(row["body"]) for row in rows], [row["id"] for row in rows], has_more)


def require_beta(version: str | None) -> None:
    """The agents endpoints answer only to clients that ask for their version."""
    if version is None or "agents=v1" not in version.replace(" ", ""):
        raise ApiError(
            400,
            "You must provide the 'OpenAI-Beta' header to access the Agents API. Please try again by setting the "
            "header 'OpenAI-Beta: agents=v1'.",
            code="invalid_beta",
        )
