"""/vector_stores/{id}/file_batches: many files put into a store in one call, all accepted or none."""

from __future__ import annotations

import sqlite3
from typing import Any

from holdall.sandbox.service import memberships, store_files, stores
from holdall.sandbox.service.api_errors import invalid, missing_parameter, not_found
from holdall.sandbox.service.body_shapes import ATTRIBUTES, array, json_body, record, text
from holdall.sandbox.service.memberships import CHUNKING, WantedMember
from holdall.sandbox.service.service import Call
from holdall.sandbox.service.switches import Variation


def _asked(call: Call) -> tuple[str, list[WantedMember]]:
    """The files that a body names, and under which of the two keys."""
    most = call.service.behaviour.max_batch_files
    least = 0 if Variation.BATCH_IGNORES_FILES in call.service.behaviour.oddities else 1
    shape = record(
        {
            "file_ids": array(text(), most, minimum=1),
            "files": array(record(store_files.FIELDS, required=("file_id",)), most, minimum=least),
            "attributes": ATTRIBUTES,
            "chunking_strategy": CHUNKING,
        }
    )
    asked = json_body(call.body, shape)
    if "files" in asked and "file_ids" in asked:
        raise invalid("You may only specify one of 'files' and 'file_ids'.", "files", "invalid_value")
    if "files" in asked:
        # The batch-wide settings don't count here, not even for files that have none of their own.
        return "files", [
            WantedMember(
                file_id=each["file_id"], attributes=each.get("attributes"), chunking=each.get("chunking_strategy")
            )
            for each in asked["files"]
        ]
    if "file_ids" not in asked:
        raise missing_parameter("file_ids")
    attributes, chunking = asked.get("attributes"), asked.get("chunking_strategy")
    return "file_ids", [
        WantedMember(file_id=id_, attributes=attributes, chunking=chunking) for id_ in asked["file_ids"]
    ]


def create(call: Call) -> dict[str, Any]:
    where, wanted = _asked(call)
    service = call.service
    with service.database.write() as connection:
        store = stores.require_writable(connection, call)
        counts = memberships.attach(connection, call, store["seq"], wanted, where=where)
        ready_at = call.now + service.behaviour.index_delay
        id_ = service.ids.batch()
        made = connection.execute(
            "INSERT INTO batches (store, id, created_at, ready_at, completed, failed) VALUES (?, ?, ?, ?, ?, ?)",
            (store["seq"], id_, int(call.now), ready_at, counts["completed"], counts["failed"]),
        )
        connection.executemany(
            "INSERT OR IGNORE INTO batch_members (batch, membership) "
            "SELECT ?, seq FROM memberships WHERE store = ? AND id = ?",
            [(made.lastrowid, store["seq"], each.file_id) for each in wanted],
        )
        return _shown(_require(connection, store, id_), store["id"], call.now)


def _require(connection: sqlite3.Connection, store: sqlite3.Row, id_: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM batches WHERE store = ? AND id = ?", (store["seq"], id_)
    ).fetchone()
    if row is None:
        raise not_found(f"No vector store file batch found with id '{id_}'.")
    return row


def _shown(row: sqlite3.Row, store_id: str, now: float) -> dict[str, Any]:
    """The batch object. It is ``completed`` when the last file is through, also where every one of them failed."""
    total = row["completed"] + row["failed"] + row["cancelled"]
    waiting = row["ready_at"] > now and not row["is_cancelled"]
    return {
        "id": row["id"],
        # What the service sends; the SDK's type has it misspelt, and its strict validation knows that.
        "object": "vector_store.file_batch",
        "created_at": row["created_at"],
        "vector_store_id": store_id,
        "status": "cancelled" if row["is_cancelled"] else "in_progress" if waiting else "completed",
        "file_counts": {
            "in_progress": total if waiting else 0,
            "completed": 0 if waiting else row["completed"],
            "failed": 0 if waiting else row["failed"],
            "cancelled": row["cancelled"],
            "total": total,
        },
    }


def retrieve(call: Call) -> dict[str, Any]:
    with call.service.database.read() as connection:
        store = stores.require(connection, call)
        return _shown(_require(connection, store, call.path["batch"]), store["id"], call.now)


def cancel(call: Call) -> dict[str, Any]:
    """Stop what is still in progress; a batch that is through stays as it is."""
    with call.service.database.write() as connection:
        store = stores.require(connection, call)
        batch = _require(connection, store, call.path["batch"])
        if batch["ready_at"] > call.now and not batch["is_cancelled"]:
            waiting = connection.execute(
                "SELECT t.* FROM batch_members AS b JOIN memberships AS t ON t.seq = b.membership "
                "WHERE b.batch = ? AND t.ready_at > ? AND t.outcome <> 'cancelled'",
                (batch["seq"], call.now),
            ).fetchall()
            memberships.cancel(connection, store["seq"], waiting)
            connection.execute(
                "UPDATE batches SET is_cancelled = 1, cancelled = completed + failed, completed = 0, failed = 0 "
                "WHERE seq = ?",
                (batch["seq"],),
            )
        return _shown(_require(connection, store, batch["id"]), store["id"], call.now)


def list_files(call: Call) -> dict[str, Any]:
    with call.service.database.read() as connection:
        store = stores.require(connection, call)
        batch = _require(connection, store, call.path["batch"])
        source = "batch_members AS b JOIN memberships AS t ON t.seq = b.membership"
        return store_files.list_of(connection, call, store, source, "b.batch = ?", (batch["seq"],))
