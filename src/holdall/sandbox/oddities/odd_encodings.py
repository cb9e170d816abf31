"""Answers as other servers write JSON: what their encoders let through, and what their frameworks put around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.sandbox.oddities.exchange import Change, Exchange, Memory
from holdall.sandbox.oddities.oddity import Oddity


def _half_characters(exchange: Exchange, memory: Memory) -> None:
    if exchange.status >= 400 or not isinstance(exchange.answer, dict):
        return
    texts = exchange.answer.get("data", exchange.answer.get("content")) if exchange.is_text else None
    for record in (*exchange.records(), *(texts or ())):
        for name in ("name", "description", "instructions", "text"):
            if name in record:
                record[name] = _halved(record[name])
        if isinstance(record.get("filename"), str):
            stem, dot, extension = record["filename"].rpartition(".")
            record["filename"] = _halved(stem) + dot + extension
        if isinstance(record.get("metadata"), dict):
            record["metadata"] = {key: _halved(value) for key, value in record["metadata"].items()}
    _write(exchange, json.dumps(exchange.answer).encode())


def _halved(value: Any) -> Any:
    """Without the last UTF-16 unit, where that is the second of two."""
    if not isinstance(value, str) or value[-1:] <= "\uffff":
        return value
    return value.encode("utf-16-le", "surrogatepass")[:-2].decode("utf-16-le", "surrogatepass")


def _files_nan(exchange: Exchange, memory: Memory) -> None:
    if files := _files(exchange):
        for record in files:
            record["x_score"] = float("nan")
        _write(exchange, json.dumps(exchange.answer).encode())


def _files_latin_1(exchange: Exchange, memory: Memory) -> None:
    if _files(exchange):
        _write(exchange, json.dumps(exchange.answer, ensure_ascii=False).encode("latin-1", "replace"))


def _padded(exchange: Exchange, memory: Memory) -> None:
    if exchange.media_type == "application/json" and exchange.status != 204:
        body = msgspec.json.encode(exchange.answer) if exchange.raw is None else exchange.raw
        exchange.raw = b"\xef\xbb\xbf\n\n" + body + b"\r\n"


def _files(exchange: Exchange) -> list[dict[str, Any]]:
    return [record for record in exchange.records() if record.get("object") == "file"]


def _write(exchange: Exchange, body: bytes) -> None:
    if exchange.media_type == "application/json" and exchange.status != 204:
        exchange.raw = body


ANSWERS: Mapping[Oddity, Change] = {
    Oddity.HALF_CHARACTERS: _half_characters,
    Oddity.FILES_NAN: _files_nan,
    Oddity.FILES_LATIN_1: _files_latin_1,
    Oddity.PADDED: _padded,
}
"""In this order: each writes what those before it left."""
