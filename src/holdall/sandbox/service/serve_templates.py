"""/agents/environments/templates: what an agent's environment starts with. Nothing starts here.

What a template names by id (files, skills) is looked up when a session starts, so nothing of it is checked here.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from holdall.sandbox.service.api_errors import invalid, not_found
from holdall.sandbox.service.paging import listing, select, window
from holdall.sandbox.service.service import Call, Service
from holdall.sandbox.service.template_definitions import shown, to_set


def create(call: Call) -> dict[str, Any]:
    given = to_set(call.body)
    service, now = call.service, int(call.now)
    # Whatever the server's default will be later, this template keeps the one of today.
    given["network"] = given.get("network") or {"access": service.behaviour.template_network}
    made = shown(service.ids.template(), now, now, given)
    with service.database.write() as connection:
        _check_name(connection, call, made["name"], None)
        connection.execute(
            "INSERT INTO templates (project, id, name, body, given) VALUES (?, ?, ?, ?, ?)",
            (call.project, made["id"], made["name"], msgspec.json.encode(made), msgspec.json.encode(given)),
        )
    return made


def _check_name(connection: sqlite3.Connection, call: Call, name: str | None, template: int | None) -> None:
    """Refuse the name of another template of the project, where names are unique."""
    if not call.service.behaviour.unique_names or name is None:
        return
    others = connection.execute(
        "SELECT 1 FROM templates WHERE project = ? AND seq IS NOT ? AND name = ?",
        (call.project, template, name),
    ).fetchone()
    if others:
        raise invalid(f"A template named '{name}' already exists in this project.", "name", "invalid_value")


def _find(connection: sqlite3.Connection, call: Call, columns: str = "*") -> sqlite3.Row:
    wanted = call.path["template"]
    row: sqlite3.Row | None = connection.execute(
        f"SELECT {columns} FROM templates WHERE id = ? AND project = ?", (wanted, call.project)
    ).fetchone()
    if row is None:
        raise not_found(f"Environment template with id '{wanted}' not found.")
    return row


def retrieve(call: Call) -> msgspec.Raw:
    with call.service.database.read() as connection:
        return msgspec.Raw(_find(connection, call, "body")["body"])


def update(call: Call) -> dict[str, Any]:
    """What is left out stays; a list or object replaces the one that was there; null resets."""
    asked = to_set(call.body)
    with call.service.database.write() as connection:
        row = _find(connection, call)
        given = {**msgspec.json.decode(row["given"]), **asked}
        given["network"] = given["network"] or {"access": call.service.behaviour.template_network}
        was: dict[str, Any] = msgspec.json.decode(row["body"])
        made = shown(row["id"], was["created_at"], int(call.now), given)
        _check_name(connection, call, made["name"], row["seq"])
        connection.execute(
            "UPDATE templates SET name = ?, body = ?, given = ? WHERE seq = ?",
            (made["name"], msgspec.json.encode(made), msgspec.json.encode(given), row["seq"]),
        )
    return made


def delete(call: Call) -> dict[str, Any]:
    with call.service.database.write() as connection:
        row = _find(connection, call, "seq, id")
        connection.execute("DELETE FROM templates WHERE seq = ?", (row["seq"],))
    return {"id": row["id"], "object": "agent.environment.template.deleted", "deleted": True}


def list_all(call: Call) -> dict[str, Any]:
    asked = window(call.query, before=False)
    with call.service.database.read() as connection:
        rows, has_more = select(connection, "t.id, t.body", "templates AS t", "t.project = ?", (call.project,), asked)
    return listing([msgspec.Raw(row["body"]) for row in rows], [row["id"] for row in rows], has_more)


def stored(service: Service, id_: str) -> dict[str, Any] | None:
    """All that was sent for a template, also what the API never returns; None if there is no such template."""
    with service.database.read() as connection:
        row = connection.execute("SELECT given FROM templates WHERE id = ?", (id_,)).fetchone()
    return msgspec.json.decode(row["given"], type=dict[str, Any]) if row else None
