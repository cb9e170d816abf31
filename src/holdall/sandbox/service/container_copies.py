"""What containers hold: copies of the project's files and files of their own, each under a path with a hash in it."""

from __future__ import annotations

import hashlib
import sqlite3

from holdall.sandbox.service import serve_files
from holdall.sandbox.service.api_errors import not_found
from holdall.sandbox.service.foundry_ids import check_file_ids, not_owned
from holdall.sandbox.service.service import ApiSurface, Call


def insert_copy(connection: sqlite3.Connection, call: Call, container: int, file_id: str, *, where: str) -> str:
    """Copy one file of the project into a container, and return the copy's id; raises 404."""
    check_file_ids(call, [file_id], where)
    row = serve_files.living(connection, call, file_id)
    if row is None:
        if call.surface is ApiSurface.CURRENT:
            raise not_owned([file_id])
        raise not_found(f"No such File object: {file_id}", where)
    service = call.service
    # Nothing proves that the service's own copies are byte for byte; here they are, unless a switch says otherwise.
    more = b"\n" if service.behaviour.container_alters_files else b""
    blob = service.blobs.copied(row["blob"], more=more)
    return insert(connection, call, container, blob, row["filename"], row["bytes"] + len(more))


def insert(connection: sqlite3.Connection, call: Call, container: int, blob: str, filename: str, size: int) -> str:
    id_ = call.service.ids.container_file()
    digest = hashlib.sha256(f"{blob}\0{filename}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    connection.execute(
        "INSERT INTO container_files (container, id, blob, path, bytes, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (container, id_, blob, f"/mnt/data/{digest}-{filename}", size, int(call.now)),
    )
    return id_


def remove_all(connection: sqlite3.Connection, container: int) -> list[str]:
    """Empty a container that is about to be deleted, and return the blobs that nothing names any more."""
    rows = connection.execute("SELECT blob FROM container_files WHERE container = ?", (container,)).fetchall()
    connection.execute("DELETE FROM container_files WHERE container = ?", (container,))
    return [row["blob"] for row in rows]
