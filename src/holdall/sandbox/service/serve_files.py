"""/files: what the records say; how the bytes come in and go out is in ``transfers``."""

from __future__ import annotations

import sqlite3
from collections.abc import Container
from typing import Any

import msgspec

from holdall.sandbox.service import memberships
from holdall.sandbox.service.api_errors import ApiError, invalid, missing_parameter, not_found
from holdall.sandbox.service.document_check import CheckedDocument
from holdall.sandbox.service.documents import UPLOADABLE, extension, written_extension
from holdall.sandbox.service.paging import listing, select, window
from holdall.sandbox.service.service import Call, Service
from holdall.sandbox.service.switches import Variation

_PURPOSES = ("fine-tune", "assistants", "batch", "user_data", "vision", "evals")

# Purposes that only the service gives.
_OWN_PURPOSES = ("assistants_output", "batch_output", "fine-tune-results")

# Purposes whose content is not handed out. No official rule exists; these are the ones that users meet.
_REFUSED_PURPOSES = ("assistants", "user_data")

_LIVING = "(t.expires_at IS NULL OR t.expires_at > ?)"


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """The form fields of an upload, ``filename`` as it was sent; ``lifetime`` in seconds."""

    filename: str
    purpose: str
    lifetime: int | None


def check_upload(fields: dict[str, str], filename: str | None, oddities: Container[str] = ()) -> Upload:
    """What an upload's form says, checked; raises the refusals."""
    for name in fields:
        if name not in ("purpose", "expires_after[anchor]", "expires_after[seconds]"):
            raise invalid(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    if filename is None:
        raise missing_parameter("file")
    if "purpose" not in fields:
        raise missing_parameter("purpose")
    purpose = fields["purpose"]
    if purpose not in _PURPOSES:
        raise invalid(f"'{purpose}' is not one of {list(_PURPOSES)} - 'purpose'", None)
    kind = extension(filename)
    if Variation.UPLOAD_LOWER_CASE in oddities:
        kind = written_extension(filename)
    if purpose == "assistants" and kind not in UPLOADABLE:
        allowed = ", ".join(f'"{each}"' for each in sorted(UPLOADABLE))
        raise invalid(f"Invalid extension {kind}. Supported formats: {allowed}", None)
    if purpose in ("batch", "fine-tune") and kind != "jsonl":
        api = "Batch" if purpose == "batch" else "Fine-Tuning"
        raise invalid(f"Invalid file format for {api} API. Must be .jsonl", None, "invalid_file_format")
    return Upload(filename=filename, purpose=purpose, lifetime=_lifetime(fields))


def _lifetime(fields: dict[str, str]) -> int | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor is None or seconds is None:
        raise missing_parameter(f"expires_after.{'anchor' if anchor is None else 'seconds'}")
    if anchor != "created_at":
        raise invalid(
            f"Invalid value: '{anchor}'. Supported values are: 'created_at'.", "expires_after.anchor", "invalid_value"
        )
    if not seconds.isdecimal() or len(seconds) > 7 or not 3600 <= int(seconds) <= 2592000:
        raise invalid(
            f"Invalid 'expires_after.seconds': expected an integer between 3600 and 2592000, but got {seconds}.",
            "expires_after.seconds",
            "invalid_value",
        )
    return int(seconds)


def add(call: Call, upload: Upload, blob: str, size: int, examined: CheckedDocument) -> dict[str, Any]:
    """Give a blob its record. From here on the file exists."""
    service = call.service
    created_at = int(call.now)
    with service.database.write() as connection:
        if Variation.SAME_BYTES_SAME_ID in service.behaviour.oddities:
            same = _same(connection, call, blob, size)
            if same is not None:
                service.blobs.remove(blob)
                return _shown(call, same)
        made = connection.execute(
            "INSERT INTO files (project, id, blob, filename, purpose, bytes, created_at, expires_at, text_bytes, "
            "error_code, error_message) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                call.project,
                service.ids.file(upload.purpose),
                blob,
                upload.filename,
                upload.purpose,
                size,
                created_at,
                None if upload.lifetime is None else created_at + upload.lifetime,
                examined.text_bytes,
                examined.code,
                examined.message,
            ),
        )
        row = connection.execute("SELECT * FROM files WHERE seq = ?", (made.lastrowid,)).fetchone()
    return _shown(call, row)


def _same(connection: sqlite3.Connection, call: Call, blob: str, size: int) -> sqlite3.Row | None:
    """The file of the project that has the bytes of a blob already."""
    rows: list[sqlite3.Row] = connection.execute(
        f"SELECT t.* FROM files AS t WHERE t.bytes = ? AND t.project = ? AND {_LIVING}",
        (size, call.project, call.now),
    ).fetchall()
    return next((row for row in rows if call.service.blobs.equal(row["blob"], blob)), None)


def _shown(call: Call, row: sqlite3.Row) -> dict[str, Any]:
    return {
        "object": "file",
        "id": row["id"],
        "purpose": row["purpose"],
        "filename": row["filename"],
        "bytes": row["bytes"],
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
        "status": "pending" if row["created_at"] + call.service.behaviour.file_pending > call.now else "processed",
        "status_details": None,
    }


def living(connection: sqlite3.Connection, call: Call, id_: str) -> sqlite3.Row | None:
    """The record of a file of the project that is there and hasn't expired."""
    row: sqlite3.Row | None = connection.execute(
        f"SELECT t.* FROM files AS t WHERE t.id = ? AND t.project IN (?, ?) AND {_LIVING}",
        (id_, *call.owners, call.now),
    ).fetchone()
    return row


def _find(connection: sqlite3.Connection, call: Call) -> sqlite3.Row:
    wanted = call.path["file"]
    row = living(connection, call, wanted)
    if row is None:
        raise not_found(f"No such File object: {wanted}", "id")
    return row


def retrieve(call: Call) -> dict[str, Any]:
    with call.service.database.read() as connection:
        return _shown(call, _find(connection, call))


def downloadable(call: Call) -> sqlite3.Row:
    """The record of a file whose content may be handed out; raises the refusal of its purpose."""
    with call.service.database.read() as connection:
        row = _find(connection, call)
    if row["purpose"] in _REFUSED_PURPOSES and not call.service.behaviour.serve_assistants_files:
        raise ApiError(400, f"Not allowed to download files of purpose: {row['purpose']}")
    return row


def delete(call: Call) -> dict[str, Any]:
    """Delete a file and take it out of every store that has it."""
    with call.service.database.write() as connection:
        row = _find(connection, call)
        memberships.detach(
            connection, connection.execute("SELECT * FROM memberships WHERE file = ?", (row["seq"],)).fetchall()
        )
        connection.execute("DELETE FROM files WHERE seq = ?", (row["seq"],))
    call.service.blobs.remove(row["blob"])
    return {"id": row["id"], "object": "file", "deleted": True}


def list_all(call: Call) -> dict[str, Any]:
    asked = window(call.query, default=10000, maximum=10000, before=False)
    purpose = call.query.get("purpose")
    mine, whose = call.listed
    with call.service.database.read() as connection:
        rows, has_more = select(
            connection,
            "t.*",
            "files AS t",
            f"{mine} AND {_LIVING}",
            (*whose, call.now),
            asked,
            narrowed="t.purpose = ?" if purpose else "",
            narrowed_args=(purpose,) if purpose else (),
        )
    return listing([_shown(call, row) for row in rows], [row["id"] for row in rows], has_more)


def give_purpose(service: Service, file_id: str, purpose: str) -> bool:
    """Give a file any purpose, also one that only the service gives; False if there is no such file."""
    if purpose not in (*_PURPOSES, *_OWN_PURPOSES):
        raise invalid(f"'{purpose}' is not a purpose", "purpose")
    with service.database.write() as connection:
        return connection.execute("UPDATE files SET purpose = ? WHERE id = ?", (purpose, file_id)).rowcount == 1
