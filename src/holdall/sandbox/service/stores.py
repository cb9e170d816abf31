"""/vector_stores: the stores themselves; what is in them is the business of ``memberships``."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from holdall.sandbox.service import memberships
from holdall.sandbox.service.api_errors import invalid, not_found
from holdall.sandbox.service.body_shapes import METADATA, array, choice, integer, json_body, nullable, record, text
from holdall.sandbox.service.memberships import CHUNKING, WantedMember
from holdall.sandbox.service.paging import listing, select, window
from holdall.sandbox.service.rates import WRITES_PER_STORE
from holdall.sandbox.service.service import Call

__all__ = [
    "CHUNKING",
    "check_living",
    "create",
    "delete",
    "find",
    "insert",
    "list_all",
    "remove",
    "require",
    "require_living",
    "retrieve",
    "update",
]

_EXPIRES_AFTER = nullable(
    record({"anchor": choice("last_active_at"), "days": integer(1, 365)}, required=("anchor", "days"))
)
_CREATE = record(
    {
        "name": nullable(text()),
        "description": nullable(text()),
        "file_ids": array(text(), 500),
        "expires_after": _EXPIRES_AFTER,
        "chunking_strategy": CHUNKING,
        "metadata": METADATA,
    }
)
_UPDATE = record({"name": nullable(text()), "expires_after": _EXPIRES_AFTER, "metadata": METADATA})


def find(connection: sqlite3.Connection, call: Call, id_: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM stores WHERE id = ? AND project IN (?, ?)", (id_, *call.owners)
    ).fetchone()
    return row


def require(connection: sqlite3.Connection, call: Call) -> sqlite3.Row:
    """The store that the path names; raises 404."""
    wanted = call.path["store"]
    row = find(connection, call, wanted)
    if row is None:
        raise not_found(f"Vector store with id {wanted} not found.")
    return row


def require_living(connection: sqlite3.Connection, call: Call) -> sqlite3.Row:
    """The store that the path names, unless it has expired; raises 404 or 400."""
    row = require(connection, call)
    check_living(row, call.now)
    return row


def check_living(row: sqlite3.Row, now: float) -> None:
    """Refuse a store that has expired."""
    expiry = expires_at(row)
    if expiry is not None and expiry <= now:
        raise invalid(f"Vector store {row['id']} is expired.", None, "vector_store_expired")


def require_writable(connection: sqlite3.Connection, call: Call) -> sqlite3.Row:
    """The store that the path names, for a write to what is in it; raises 404, 400 or 429."""
    row = require_living(connection, call)
    if call.service.behaviour.rate_limits:
        call.service.rates.spend(row["id"], 1, WRITES_PER_STORE, call.now)
    return row


def expires_at(row: sqlite3.Row) -> int | None:
    if row["expires_after"] is None:
        return None
    days: int = msgspec.json.decode(row["expires_after"])["days"]
    return int(row["last_active_at"]) + days * 86400


def _shown(connection: sqlite3.Connection, row: sqlite3.Row, now: float) -> dict[str, Any]:
    """The vector store object. ``description`` is never among its fields: the service does not give it back."""
    pending = memberships.pending(connection, row["seq"], now)
    counts = {
        "in_progress": sum(pending.counts.values()),
        **{name: row[name] - pending.counts.get(name, 0) for name in ("completed", "failed", "cancelled")},
    }
    expiry = expires_at(row)
    expired = expiry is not None and expiry <= now
    return {
        "id": row["id"],
        "object": "vector_store",
        "created_at": row["created_at"],
        "name": row["name"],
        "usage_bytes": 0 if expired else row["usage_bytes"] - pending.usage_bytes,
        "file_counts": {**counts, "total": sum(counts.values())},
        "status": "expired" if expired else "in_progress" if counts["in_progress"] else "completed",
        "expires_after": None if row["expires_after"] is None else msgspec.Raw(row["expires_after"]),
        "expires_at": expiry,
        "last_active_at": row["last_active_at"],
        "metadata": msgspec.Raw(row["metadata"]),
    }


def insert(connection: sqlite3.Connection, call: Call, asked: dict[str, Any], *, where: str = "") -> str:
    """Make a store with its files, and return its id. ``where`` is the place in the body, for refusals."""
    expiry = asked.get("expires_after")
    id_ = call.service.ids.store()
    made = connection.execute(
        "INSERT INTO stores (project, id, name, description, metadata, expires_after, created_at, last_active_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            call.project,
            id_,
            asked.get("name") or "",
            asked.get("description"),
            msgspec.json.encode(asked.get("metadata") or {}),
            None if expiry is None else msgspec.json.encode(expiry),
            int(call.now),
            int(call.now),
        ),
    )
    files = [
        WantedMember(file_id=file, attributes=None, chunking=asked.get("chunking_strategy"))
        for file in asked.get("file_ids", [])
    ]
    assert made.lastrowid is not None
    memberships.attach(connection, call, made.lastrowid, files, where=f"{where}.file_ids" if where else "file_ids")
    return id_


def create(call: Call) -> dict[str, Any]:
    asked = json_body(call.body, _CREATE)
    with call.service.database.write() as connection:
        id_ = insert(connection, call, asked)
        row = find(connection, call, id_)
        assert row is not None
        return _shown(connection, row, call.now)


def retrieve(call: Call) -> dict[str, Any]:
    with call.service.database.read() as connection:
        return _shown(connection, require(connection, call), call.now)


def update(call: Call) -> dict[str, Any]:
    asked = json_body(call.body, _UPDATE)
    with call.service.database.write() as connection:
        seq = require(connection, call)["seq"]
        if "name" in asked:
            connection.execute("UPDATE stores SET name = ? WHERE seq = ?", (asked["name"] or "", seq))
        if "metadata" in asked:
            metadata = msgspec.json.encode(asked["metadata"] or {})
            connection.execute("UPDATE stores SET metadata = ? WHERE seq = ?", (metadata, seq))
        if "expires_after" in asked:
            expiry = asked["expires_after"]
            connection.execute(
                "UPDATE stores SET expires_after = ?, last_active_at = ? WHERE seq = ?",
                (None if expiry is None else msgspec.json.encode(expiry), int(call.now), seq),
            )
        return _shown(connection, require(connection, call), call.now)


def delete(call: Call) -> dict[str, Any]:
    with call.service.database.write() as connection:
        row = require(connection, call)
        remove(connection, row)
    return {"id": row["id"], "object": "vector_store.deleted", "deleted": True}


def remove(connection: sqlite3.Connection, row: sqlite3.Row) -> None:
    """Take a store away, with all that is in it."""
    memberships.detach_all(connection, row["seq"])
    connection.execute("DELETE FROM stores WHERE seq = ?", (row["seq"],))


def list_all(call: Call) -> dict[str, Any]:
    asked = window(call.query)
    with call.service.database.read() as connection:
        rows, has_more = select(connection, "t.*", "stores AS t", *call.listed, asked)
        objects = [_shown(connection, row, call.now) for row in rows]
    return listing(objects, [row["id"] for row in rows], has_more)
