"""/vector_stores/{id}/files: a store's memberships one by one, and the text that was read out of each."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Any

import msgspec

from holdall.sandbox.service import memberships, stores
from holdall.sandbox.service.api_errors import invalid, not_found
from holdall.sandbox.service.body_shapes import ATTRIBUTES, Shape, choice, json_body, record, text
from holdall.sandbox.service.chunking import byte_chunks, chunks
from holdall.sandbox.service.document_check import text_of
from holdall.sandbox.service.memberships import CHUNKING, STATUS, WantedMember
from holdall.sandbox.service.paging import listing, select, window
from holdall.sandbox.service.service import Call
from holdall.sandbox.service.switches import Variation

STATUSES = choice("in_progress", "completed", "failed", "cancelled")

FIELDS: dict[str, Shape] = {"file_id": text(), "attributes": ATTRIBUTES, "chunking_strategy": CHUNKING}
_CREATE = record(FIELDS, required=("file_id",))
_UPDATE = record({"attributes": ATTRIBUTES}, required=("attributes",))


def _require(connection: sqlite3.Connection, store: sqlite3.Row, file: str) -> sqlite3.Row:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM memberships WHERE store = ? AND id = ?", (store["seq"], file)
    ).fetchone()
    if row is None:
        raise not_found(f"No file found with id '{file}' in vector store '{store['id']}'.")
    return row


def create(call: Call) -> dict[str, Any]:
    asked = json_body(call.body, _CREATE)
    wanted = WantedMember(
        file_id=asked["file_id"], attributes=asked.get("attributes"), chunking=asked.get("chunking_strategy")
    )
    with call.service.database.write() as connection:
        store = stores.require_writable(connection, call)
        memberships.attach(connection, call, store["seq"], [wanted], where="file_id")
        return memberships.shown(_require(connection, store, wanted.file_id), store["id"], call.now)


def retrieve(call: Call) -> dict[str, Any]:
    with call.service.database.read() as connection:
        store = stores.require(connection, call)
        return memberships.shown(_require(connection, store, call.path["file"]), store["id"], call.now)


def update(call: Call) -> dict[str, Any]:
    asked = json_body(call.body, _UPDATE)
    with call.service.database.write() as connection:
        store = stores.require_writable(connection, call)
        row = _require(connection, store, call.path["file"])
        connection.execute(
            "UPDATE memberships SET attributes = ? WHERE seq = ?",
            (msgspec.json.encode(asked["attributes"] or {}), row["seq"]),
        )
        return memberships.shown(_require(connection, store, row["id"]), store["id"], call.now)


def delete(call: Call) -> dict[str, Any]:
    with call.service.database.write() as connection:
        store = stores.require_writable(connection, call)
        row = _require(connection, store, call.path["file"])
        memberships.detach(connection, [row])
    return {"id": row["id"], "object": "vector_store.file.deleted", "deleted": True}


def list_all(call: Call) -> dict[str, Any]:
    with call.service.database.read() as connection:
        store = stores.require(connection, call)
        return list_of(connection, call, store, "memberships AS t", "t.store = ?", (store["seq"],))


def list_of(
    connection: sqlite3.Connection, call: Call, store: sqlite3.Row, source: str, where: str, args: tuple[Any, ...]
) -> dict[str, Any]:
    """The page of a list of memberships that the query asks for, ``filter`` included."""
    asked = window(call.query)
    status = call.query.get("filter")
    narrowed: tuple[str, tuple[Any, ...]] = ("", ())
    if status is not None:
        narrowed = (f"({STATUS}) = ?", (call.now, STATUSES(status, "filter")))
        if status in ("failed", "cancelled"):
            # The same thing twice, so that the index on outcome can serve it.
            narrowed = (f"t.outcome = ? AND {narrowed[0]}", (status, *narrowed[1]))
    rows, has_more = select(
        connection, "t.*", source, where, args, asked, narrowed=narrowed[0], narrowed_args=narrowed[1]
    )
    return listing(
        [memberships.shown(row, store["id"], call.now) for row in rows], [row["id"] for row in rows], has_more
    )


def content(call: Call) -> dict[str, Any]:
    """The parsed text, in pages of items; ``page`` is a former page's ``next_page``."""
    with call.service.database.read() as connection:
        store = stores.require(connection, call)
        row = _require(connection, store, call.path["file"])
        file = connection.execute("SELECT * FROM files WHERE seq = ?", (row["file"],)).fetchone()
    if memberships.shown(row, store["id"], call.now)["status"] != "completed" or file is None:
        raise not_found(f"No content found for file '{row['id']}' in vector store '{store['id']}'.")
    behaviour = call.service.behaviour
    items = pieces(call, row, file, oddities=behaviour.oddities)
    first = _first_item(call.query.get("page"), len(items))
    after = first + behaviour.content_page_items
    has_more = after < len(items)
    return {
        "object": "vector_store.file_content.page",
        "data": [{"type": "text", "text": item} for item in items[first:after]],
        "has_more": has_more,
        "next_page": f"page_{after}" if has_more else None,
    }


def pieces(call: Call, membership: sqlite3.Row, file: sqlite3.Row, *, oddities: Collection[str] = ()) -> list[str]:
    """A completed membership's text in chunks, as its chunking strategy says."""
    static = msgspec.json.decode(membership["chunking"])["static"]
    size, overlap = static["max_chunk_size_tokens"], static["chunk_overlap_tokens"]
    text = text_of(call.service.blobs, file["blob"], file["filename"])
    if Variation.TEXT_CUT_BY_BYTES in oddities:
        return byte_chunks(text, size=size, overlap=overlap)
    return chunks(text, size=size, overlap=overlap if Variation.TEXT_OVERLAPS in oddities else 0)


def _first_item(page: str | None, items: int) -> int:
    if page is None:
        return 0
    number = page.removeprefix("page_")
    if not (page.startswith("page_") and number.isdecimal() and len(number) < 10 and 0 < int(number) < items):
        raise invalid(f"Invalid 'page': '{page}' is not a page of this content.", "page", "invalid_value")
    return int(number)
