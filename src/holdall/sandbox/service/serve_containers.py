"""/containers: short-lived places for files; nothing runs in them. ``container_copies`` is about what they hold.

A container expires when nothing was done with it for some minutes. Its record stays readable, what it held does not.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from holdall.sandbox.service import container_copies
from holdall.sandbox.service.api_errors import invalid, not_found, scope_missing
from holdall.sandbox.service.body_shapes import array, choice, integer, json_body, nullable, open_object, record, text
from holdall.sandbox.service.paging import listing, select, window
from holdall.sandbox.service.service import Call

# Minutes without an operation, and files named at creation. Source: OpenAI's guide to the code interpreter.
_IDLE_MINUTES = 20
_MAX_FILES = 50

_CREATE = record(
    {
        "name": text(256, minimum=1),
        "file_ids": array(text(), _MAX_FILES),
        "expires_after": nullable(
            record(
                {"anchor": choice("last_active_at"), "minutes": integer(1, _IDLE_MINUTES)},
                required=("anchor", "minutes"),
            )
        ),
        "memory_limit": choice("1g", "4g", "16g", "64g"),
        "network_policy": open_object,
    },
    required=("name",),
)


def check_scope(call: Call) -> None:
    """Refuse a project that may not use containers."""
    if not call.service.behaviour.containers:
        raise scope_missing("api.containers.write")


def _require(connection: sqlite3.Connection, call: Call) -> sqlite3.Row:
    """The container that the path names; raises 404."""
    wanted = call.path["container"]
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM containers WHERE id = ? AND project = ?", (wanted, call.project)
    ).fetchone()
    if row is None:
        raise not_found(f"Container with id '{wanted}' not found.")
    return row


def require_running(connection: sqlite3.Connection, call: Call) -> sqlite3.Row:
    """The container that the path names, for an operation in it; raises 403, 404, or 400 once it has expired."""
    check_scope(call)
    row = _require(connection, call)
    if _is_expired(row, call):
        raise invalid("Container is expired.", None)
    _touch(connection, row, call)
    return row


def _is_expired(row: sqlite3.Row, call: Call) -> bool:
    most = call.service.behaviour.container_operations
    return row["last_active_at"] + row["minutes"] * 60 <= call.now or (most is not None and row["operations"] >= most)


def _touch(connection: sqlite3.Connection, row: sqlite3.Row, call: Call) -> None:
    """Every operation, reading too, keeps a container alive."""
    connection.execute(
        "UPDATE containers SET last_active_at = ?, operations = operations + 1 WHERE seq = ?",
        (int(call.now), row["seq"]),
    )


def _shown(row: sqlite3.Row, call: Call) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "container",
        "created_at": row["created_at"],
        "status": "expired" if _is_expired(row, call) else "running",
        "expires_after": {"anchor": "last_active_at", "minutes": row["minutes"]},
        "last_active_at": row["last_active_at"],
        "memory_limit": row["memory_limit"],
        "name": row["name"],
    }


def create(call: Call) -> dict[str, Any]:
    check_scope(call)
    asked = json_body(call.body, _CREATE)
    expiry = asked.get("expires_after") or {"minutes": _IDLE_MINUTES}
    service = call.service
    with service.database.write() as connection:
        _check_room(connection, call)
        id_ = service.ids.container()
        made = connection.execute(
            "INSERT INTO containers (project, id, name, memory_limit, minutes, created_at, last_active_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                call.project,
                id_,
                asked["name"],
                asked.get("memory_limit", "1g"),
                expiry["minutes"],
                int(call.now),
                int(call.now),
            ),
        )
        assert made.lastrowid is not None
        for file in dict.fromkeys(asked.get("file_ids", [])):
            container_copies.insert_copy(connection, call, made.lastrowid, file, where="file_ids")
        row = connection.execute("SELECT * FROM containers WHERE seq = ?", (made.lastrowid,)).fetchone()
        return _shown(row, call)


def _check_room(connection: sqlite3.Connection, call: Call) -> None:
    most = call.service.behaviour.max_containers
    rows = connection.execute("SELECT * FROM containers WHERE project = ?", (call.project,)).fetchall()
    if sum(not _is_expired(row, call) for row in rows) >= most:
        raise invalid(f"Too many containers: at most {most} may be active at once.", None, "container_limit_exceeded")


def retrieve(call: Call) -> dict[str, Any]:
    check_scope(call)
    with call.service.database.write() as connection:
        row = _require(connection, call)
        if not _is_expired(row, call):
            _touch(connection, row, call)
        return _shown(_require(connection, call), call)


def delete(call: Call) -> dict[str, Any]:
    check_scope(call)
    with call.service.database.write() as connection:
        row = _require(connection, call)
        blobs = container_copies.remove_all(connection, row["seq"])
        connection.execute("DELETE FROM containers WHERE seq = ?", (row["seq"],))
    for blob in blobs:
        call.service.blobs.remove(blob)
    return {"id": row["id"], "object": "container.deleted", "deleted": True}


def list_all(call: Call) -> dict[str, Any]:
    check_scope(call)
    asked = window(call.query, before=False)
    name = call.query.get("name")
    with call.service.database.read() as connection:
        rows, has_more = select(
            connection,
            "t.*",
            "containers AS t",
            "t.project = ?",
            (call.project,),
            asked,
            narrowed="t.name = ?" if name else "",
            narrowed_args=(name,) if name else (),
        )
    return listing([_shown(row, call) for row in rows], [row["id"] for row in rows], has_more)
