"""Which file is in which store, with what attributes, cut how, and how far its indexing has come.

Nothing runs in the background: what indexing will end in is known when a file is attached (its text was read when it
was uploaded), and ``ready_at`` says from when on that is shown. Until then the membership reads ``in_progress``.
"""

from __future__ import annotations

import fnmatch
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from holdall.sandbox.service.api_errors import invalid, not_found
from holdall.sandbox.service.body_shapes import Shape, integer, record, tagged, text
from holdall.sandbox.service.documents import RETRIEVABLE, extension, written_extension
from holdall.sandbox.service.foundry_ids import check_file_ids, not_owned
from holdall.sandbox.service.rates import ATTACHED_PER_PROJECT
from holdall.sandbox.service.service import ApiSurface, Call
from holdall.sandbox.service.switches import Variation

_OUTCOMES = ("completed", "failed", "cancelled")

# The status as a SQL expression over memberships AS t; its one parameter is the time.
STATUS = "CASE WHEN t.outcome <> 'cancelled' AND t.ready_at > ? THEN 'in_progress' ELSE t.outcome END"

# In place of a file's seq, for a file that never was; seqs begin at 1.
_NO_FILE = 0

_AUTO = {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}

_STATIC = record(
    {"max_chunk_size_tokens": integer(100, 4096), "chunk_overlap_tokens": integer(0)},
    required=("max_chunk_size_tokens", "chunk_overlap_tokens"),
)


def _static(value: Any, name: str) -> dict[str, Any]:
    checked: dict[str, Any] = _STATIC(value, name)
    if checked["chunk_overlap_tokens"] * 2 > checked["max_chunk_size_tokens"]:
        raise invalid(
            f"Invalid '{name}.chunk_overlap_tokens': must not exceed half of 'max_chunk_size_tokens'.",
            f"{name}.chunk_overlap_tokens",
            "invalid_value",
        )
    return checked


CHUNKING: Shape = tagged(
    "type",
    {
        "auto": record({"type": text()}),
        "static": record({"type": text(), "static": _static}, required=("type", "static")),
    },
)


class WantedMember(msgspec.Struct, frozen=True, kw_only=True):
    """One file to attach, with settings of its own or None for the defaults."""

    file_id: str
    attributes: dict[str, Any] | None
    chunking: dict[str, Any] | None


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """What of a store is still in progress: number by what it will end in, and bytes it will use."""

    counts: dict[str, int]
    usage_bytes: int


def pending(connection: sqlite3.Connection, store: int, now: float) -> Pending:
    rows = connection.execute(
        "SELECT outcome, count(*), sum(usage_bytes) FROM memberships "
        "WHERE store = ? AND ready_at > ? AND outcome <> 'cancelled' GROUP BY outcome",
        (store, now),
    ).fetchall()
    return Pending(counts={row[0]: row[1] for row in rows}, usage_bytes=sum(row[2] for row in rows))


def _files(
    connection: sqlite3.Connection, call: Call, wanted: Sequence[WantedMember], where: str
) -> dict[str, sqlite3.Row]:
    """The wanted files' rows by id; raises the refusal where one is missing or of a kind that can't be searched."""
    check_file_ids(call, [each.file_id for each in wanted], where)
    ids = msgspec.json.encode([each.file_id for each in wanted]).decode()
    rows = connection.execute(
        "SELECT f.* FROM json_each(?) AS j CROSS JOIN files AS f ON f.id = j.value "
        "WHERE f.project IN (?, ?) AND (f.expires_at IS NULL OR f.expires_at > ?)",
        (ids, *call.owners, call.now),
    ).fetchall()
    found = {row["id"]: row for row in rows}
    missing = [each.file_id for each in wanted if each.file_id not in found]
    if missing and Variation.UNKNOWN_FILE_ACCEPTED not in call.service.behaviour.oddities:
        if call.surface is ApiSurface.CURRENT:
            raise not_owned(missing)
        if where == "file_id":
            raise not_found(f"No such File object: {missing[0]}", "file_id")
        raise not_found(f"Files {missing} were not found", where)
    lower_case = Variation.SEARCH_LOWER_CASE in call.service.behaviour.oddities
    kind = written_extension if lower_case else extension
    refused = sorted({kind(row["filename"]) for row in rows} - RETRIEVABLE)
    if refused:
        raise invalid(
            f"Files with extensions [{', '.join('.' + each if each else 'none' for each in refused)}] are not "
            "supported for retrieval. See "
            "https://platform.openai.com/docs/assistants/tools/file-search/supported-files",
            "file_ids",
            "unsupported_file",
        )
    return found


def attach(
    connection: sqlite3.Connection, call: Call, store: int, wanted: Sequence[WantedMember], *, where: str
) -> dict[str, int]:
    """Put files into a store, all or none, and return how many will end in which outcome.

    A file that is there already is indexed anew with the new settings. Of a file named twice the last counts.
    """
    if not wanted:
        return dict.fromkeys(_OUTCOMES, 0)
    if call.service.behaviour.rate_limits:
        call.service.rates.spend(call.project, len(wanted), ATTACHED_PER_PROJECT, call.now)
    unique = list({each.file_id: each for each in wanted}.values())
    files = _files(connection, call, unique, where)
    already = connection.execute(
        "SELECT t.* FROM json_each(?) AS j CROSS JOIN memberships AS t ON t.id = j.value WHERE t.store = ?",
        (msgspec.json.encode([each.file_id for each in unique]).decode(), store),
    ).fetchall()
    _forget(connection, store, already)
    rows = [_row(call, store, each, files.get(each.file_id)) for each in unique]
    connection.executemany(
        "INSERT INTO memberships (store, id, file, created_at, ready_at, outcome, usage_bytes, error_code, "
        "error_message, attributes, chunking) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (store, id) DO UPDATE SET ready_at = excluded.ready_at, outcome = excluded.outcome, "
        "usage_bytes = excluded.usage_bytes, error_code = excluded.error_code, "
        "error_message = excluded.error_message, attributes = excluded.attributes, chunking = excluded.chunking, "
        "first_passage = NULL, passage_count = 0",
        rows,
    )
    counts = {name: sum(row[5] == name for row in rows) for name in _OUTCOMES}
    _count(connection, store, counts, sum(row[6] for row in rows))
    connection.execute("UPDATE stores SET last_active_at = ? WHERE seq = ?", (int(call.now), store))
    return counts


def _row(call: Call, store: int, wanted: WantedMember, file: sqlite3.Row | None) -> tuple[Any, ...]:
    behaviour = call.service.behaviour
    if file is None:
        code, message = "server_error", "File not found."
    elif any(fnmatch.fnmatchcase(file["filename"], glob) for glob in behaviour.index_failures):
        code, message = "server_error", "An internal error occurred."
    elif Variation.INDEX_LOWER_CASE in behaviour.oddities and not written_extension(file["filename"]).islower():
        code, message = "unsupported_file", "The file type is not supported."
    else:
        code, message = file["error_code"], file["error_message"]
    chunking = wanted.chunking
    return (
        store,
        wanted.file_id,
        _NO_FILE if file is None else file["seq"],
        int(call.now),
        call.now + behaviour.index_delay,
        "completed" if code is None else "failed",
        0 if file is None or code is not None else file["text_bytes"],
        code,
        message,
        msgspec.json.encode(wanted.attributes or {}),
        msgspec.json.encode(_AUTO if chunking is None or chunking["type"] == "auto" else chunking),
    )


def _count(connection: sqlite3.Connection, store: int, counts: dict[str, int], usage_bytes: int) -> None:
    connection.execute(
        "UPDATE stores SET completed = completed + ?, failed = failed + ?, cancelled = cancelled + ?, "
        "usage_bytes = usage_bytes + ? WHERE seq = ?",
        (*(counts[name] for name in _OUTCOMES), usage_bytes, store),
    )


def _forget(connection: sqlite3.Connection, store: int, rows: Iterable[sqlite3.Row]) -> None:
    """Take memberships out of their store's counts and out of search; the rows themselves stay."""
    counts, usage = dict.fromkeys(_OUTCOMES, 0), 0
    for row in rows:
        counts[row["outcome"]] -= 1
        usage -= row["usage_bytes"]
        if row["first_passage"] is not None:
            connection.execute(
                "DELETE FROM passages WHERE rowid >= ? AND rowid < ?",
                (row["first_passage"], row["first_passage"] + row["passage_count"]),
            )
    if any(counts.values()):
        _count(connection, store, counts, usage)


def cancel(connection: sqlite3.Connection, store: int, rows: Sequence[sqlite3.Row]) -> None:
    """Turn memberships that are still in progress into cancelled ones."""
    _forget(connection, store, rows)
    connection.executemany(
        "UPDATE memberships SET outcome = 'cancelled', usage_bytes = 0, error_code = NULL, error_message = NULL, "
        "first_passage = NULL, passage_count = 0 WHERE seq = ?",
        [(row["seq"],) for row in rows],
    )
    _count(connection, store, {"completed": 0, "failed": 0, "cancelled": len(rows)}, 0)


def detach(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> None:
    """Take memberships away, of whatever stores."""
    for row in rows:
        _forget(connection, row["store"], [row])
        connection.execute("DELETE FROM batch_members WHERE membership = ?", (row["seq"],))
        connection.execute("DELETE FROM memberships WHERE seq = ?", (row["seq"],))


def detach_all(connection: sqlite3.Connection, store: int) -> None:
    """Empty a store that is about to be deleted, batches and all."""
    for first, number in connection.execute(
        "SELECT first_passage, passage_count FROM memberships WHERE store = ? AND first_passage IS NOT NULL", (store,)
    ).fetchall():
        connection.execute("DELETE FROM passages WHERE rowid >= ? AND rowid < ?", (first, first + number))
    connection.execute("DELETE FROM batch_members WHERE batch IN (SELECT seq FROM batches WHERE store = ?)", (store,))
    connection.execute("DELETE FROM batches WHERE store = ?", (store,))
    connection.execute("DELETE FROM memberships WHERE store = ?", (store,))


def shown(row: sqlite3.Row, store_id: str, now: float) -> dict[str, Any]:
    """The vector_store.file object of a membership's row."""
    status = row["outcome"]
    if status != "cancelled" and row["ready_at"] > now:
        status = "in_progress"
    failed = status == "failed"
    return {
        "id": row["id"],
        "object": "vector_store.file",
        "usage_bytes": row["usage_bytes"] if status == "completed" else 0,
        "created_at": row["created_at"],
        "vector_store_id": store_id,
        "status": status,
        "last_error": {"code": row["error_code"], "message": row["error_message"]} if failed else None,
        "chunking_strategy": msgspec.Raw(row["chunking"]),
        "attributes": msgspec.Raw(row["attributes"]),
    }
