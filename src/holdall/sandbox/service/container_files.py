"""/containers/{id}/files: files of the project copied into a container, or uploaded there, and read out again."""

from __future__ import annotations

import sqlite3
from typing import Any

from holdall.sandbox.service import container_copies, serve_containers
from holdall.sandbox.service.api_errors import not_found
from holdall.sandbox.service.body_shapes import json_body, record, text
from holdall.sandbox.service.paging import listing, select, window
from holdall.sandbox.service.service import Call

_COPY = record({"file_id": text()}, required=("file_id",))


def _require(connection: sqlite3.Connection, container: sqlite3.Row, id_: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM container_files WHERE container = ? AND id = ?", (container["seq"], id_)
    ).fetchone()
    if row is None:
        raise not_found(f"File {id_} not found on container {container['id']}")
    return row


def _shown(row: sqlite3.Row, container_id: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "container.file",
        "created_at": row["created_at"],
        "bytes": row["bytes"],
        "container_id": container_id,
        "path": row["path"],
        "source": "user",
    }


def copy(call: Call) -> dict[str, Any]:
    """POST with a JSON body."""
    asked = json_body(call.body, _COPY)
    with call.service.database.write() as connection:
        container = serve_containers.require_running(connection, call)
        id_ = container_copies.insert_copy(connection, call, container["seq"], asked["file_id"], where="file_id")
        return _shown(_require(connection, container, id_), container["id"])


def add(call: Call, blob: str, filename: str, size: int) -> dict[str, Any]:
    """POST with the file itself, whose blob is in place."""
    with call.service.database.write() as connection:
        container = serve_containers.require_running(connection, call)
        id_ = container_copies.insert(connection, call, container["seq"], blob, filename, size)
        return _shown(_require(connection, container, id_), container["id"])


def retrieve(call: Call) -> dict[str, Any]:
    with call.service.database.write() as connection:
        container = serve_containers.require_running(connection, call)
        return _shown(_require(connection, container, call.path["file"]), container["id"])


def downloadable(call: Call) -> sqlite3.Row:
    """The record of a file that is to be read out. No purpose is refused here."""
    with call.service.database.write() as connection:
        return _require(connection, serve_containers.require_running(connection, call), call.path["file"])


def delete(call: Call) -> dict[str, Any]:
    with call.service.database.write() as connection:
        row = _require(connection, serve_containers.require_running(connection, call), call.path["file"])
        connection.execute("DELETE FROM container_files WHERE seq = ?", (row["seq"],))
    call.service.blobs.remove(row["blob"])
    return {"id": row["id"], "object": "container.file.deleted", "deleted": True}


def list_all(call: Call) -> dict[str, Any]:
    asked = window(call.query, before=False)
    with call.service.database.write() as connection:
        container = serve_containers.require_running(connection, call)
        rows, has_more = select(
            connection, "t.*", "container_files AS t", "t.container = ?", (container["seq"],), asked
        )
    return listing([_shown(row, container["id"]) for row in rows], [row["id"] for row in rows], has_more)
