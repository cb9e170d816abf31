"""Calls that are accepted and not carried out, or not wholly; and states that say what isn't so."""

from __future__ import annotations

from collections.abc import Mapping

from holdall.sandbox.oddities.exchange import Change, Exchange, Memory
from holdall.sandbox.oddities.odd_records import RESERVED
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.service.api_errors import ApiError, server_error

_CREATES = ("assistants", "agents", "vector_stores", "file_batches")


def _posted(exchange: Exchange, *ends: str) -> bool:
    """Whether this is a POST of a JSON object to a path that begins or ends so."""
    return exchange.method == "POST" and isinstance(exchange.body, dict) and bool({*exchange.parts} & {*ends})


def _batch_ignores_files(exchange: Exchange, memory: Memory) -> None:
    if _posted(exchange, "file_batches") and "files" in exchange.body:
        exchange.body = {"files": []}


def _batch_500(exchange: Exchange, memory: Memory) -> None:
    if _posted(exchange, "file_batches") and "files" in exchange.body:
        raise server_error()


def _store_ignores_files(exchange: Exchange, memory: Memory) -> None:
    if _posted(exchange, "vector_stores") and exchange.parts == ["vector_stores"]:
        exchange.body.pop("file_ids", None)


def _inline_stores_ignored(exchange: Exchange, memory: Memory) -> None:
    if _posted(exchange, "assistants"):
        resources = exchange.body.get("tool_resources")
        search = resources.get("file_search") if isinstance(resources, dict) else None
        if isinstance(search, dict):
            search.pop("vector_stores", None)


def _expires_after_ignored(exchange: Exchange, memory: Memory) -> None:
    if _posted(exchange, "vector_stores"):
        exchange.body.pop("expires_after", None)


def _metadata_ignored(exchange: Exchange, memory: Memory) -> None:
    if _posted(exchange, "assistants", "vector_stores"):
        exchange.body.pop("metadata", None)


def _metadata_reserved(exchange: Exchange, memory: Memory) -> None:
    if _posted(exchange, "vector_stores"):
        for key in RESERVED:
            if key in (exchange.body.get("metadata") or {}):
                raise ApiError(400, f"metadata.{key} is reserved", param="metadata")


def _description_ignored(exchange: Exchange, memory: Memory) -> None:
    if _posted(exchange, "assistants", "vector_stores"):
        exchange.body.pop("description", None)


def _reasoning_effort_ignored(exchange: Exchange, memory: Memory) -> None:
    if _posted(exchange, "assistants"):
        exchange.body.pop("reasoning_effort", None)


def _attributes_ignored(exchange: Exchange, memory: Memory) -> None:
    if not _posted(exchange, "vector_stores"):
        return
    if len(exchange.parts) == 4 and exchange.parts[2] == "files":  # an update, which has to say some
        exchange.body["attributes"] = {}
        return
    exchange.body.pop("attributes", None)
    files = exchange.body.get("files")
    for each in files if isinstance(files, list) else ():
        if isinstance(each, dict):
            each.pop("attributes", None)


def _null_refused(exchange: Exchange, memory: Memory) -> None:
    """The owner's own objects may have nulls in them."""
    creates = _posted(exchange, *_CREATES) and exchange.parts[-1] in _CREATES
    if creates and (where := _null(exchange.body, "")):
        raise ApiError(400, f"Invalid type for '{where}': expected a value, but got null instead.", param=where)


def _null(value: object, where: str) -> str:
    """The first place below ``where`` that holds null; empty where there is none."""
    if value is None:
        return where
    if isinstance(value, dict):
        inside = ((key, item) for key, item in value.items() if key not in ("parameters", "schema"))
        return next((found for key, item in inside if (found := _null(item, f"{where}.{key}".lstrip(".")))), "")
    if isinstance(value, list):
        return next((found for place, item in enumerate(value) if (found := _null(item, f"{where}[{place}]"))), "")
    return ""


def _one_upload_a_second(exchange: Exchange, memory: Memory) -> None:
    if exchange.method == "POST" and exchange.parts == ["files"]:
        before = memory.uploaded_at.get(exchange.project)
        if before is not None and exchange.now - before < 1.0:
            raise ApiError(429, "Rate limit exceeded: 1 per 1 second", kind="requests", code="rate_limit_exceeded")
        memory.uploaded_at[exchange.project] = exchange.now


def _broken_list(exchange: Exchange, memory: Memory) -> None:
    if exchange.method == "GET" and exchange.parts == ["files"] and exchange.project in memory.broken_lists:
        raise server_error()


def _refused_upload(exchange: Exchange, memory: Memory) -> None:
    if exchange.method == "POST" and exchange.parts == ["files"] and exchange.status == 400:
        memory.broken_lists.add(exchange.project)


def _failures_count_as_completed(exchange: Exchange, memory: Memory) -> None:
    for record in exchange.records():
        counts = record.get("file_counts")
        if counts:
            counts["completed"] += counts["failed"]
            counts["failed"] = 0


def _store_stays_in_progress(exchange: Exchange, memory: Memory) -> None:
    if exchange.method == "POST" and exchange.parts[0] == "vector_stores" and len(exchange.parts) == 2:
        memory.updated_stores.add(exchange.parts[1])
    for record in exchange.records():
        if record.get("object") == "vector_store" and record["id"] in memory.updated_stores:
            record["status"] = "in_progress"


def _counts_contradict(exchange: Exchange, memory: Memory) -> None:
    for record in exchange.records():
        if record.get("object") == "vector_store":
            record["file_counts"]["total"] += 2


def _counts_zero(exchange: Exchange, memory: Memory) -> None:
    for record in exchange.records():
        if record.get("object") == "vector_store":
            record["file_counts"] = dict.fromkeys(record["file_counts"], 0)


def _counts_left_out(exchange: Exchange, memory: Memory) -> None:
    for record in exchange.records():
        if record.get("object") == "vector_store":
            del record["file_counts"]


REQUESTS: Mapping[Oddity, Change] = {
    Oddity.BATCH_IGNORES_FILES: _batch_ignores_files,
    Oddity.BATCH_500: _batch_500,
    Oddity.STORE_IGNORES_FILES: _store_ignores_files,
    Oddity.INLINE_STORES_IGNORED: _inline_stores_ignored,
    Oddity.EXPIRES_AFTER_IGNORED: _expires_after_ignored,
    Oddity.METADATA_IGNORED: _metadata_ignored,
    Oddity.METADATA_RESERVED: _metadata_reserved,
    Oddity.DESCRIPTION_IGNORED: _description_ignored,
    Oddity.REASONING_EFFORT_IGNORED: _reasoning_effort_ignored,
    Oddity.ATTRIBUTES_IGNORED: _attributes_ignored,
    Oddity.NULL_REFUSED: _null_refused,
    Oddity.ONE_UPLOAD_A_SECOND: _one_upload_a_second,
    Oddity.REFUSED_UPLOAD_BREAKS_LIST: _broken_list,
}

ANSWERS: Mapping[Oddity, Change] = {
    Oddity.REFUSED_UPLOAD_BREAKS_LIST: _refused_upload,
    Oddity.FAILURES_COUNT_AS_COMPLETED: _failures_count_as_completed,
    Oddity.STORE_STAYS_IN_PROGRESS: _store_stays_in_progress,
    Oddity.COUNTS_CONTRADICT: _counts_contradict,
    Oddity.COUNTS_ZERO: _counts_zero,
    Oddity.COUNTS_LEFT_OUT: _counts_left_out,
}
