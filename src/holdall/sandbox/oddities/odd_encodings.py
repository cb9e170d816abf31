"""Answers as other servers write JSON: what their encoders let through, and what their frameworks put around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.sandbox.oddities.exchange import Change, Exchange, Memory
from holdall.sandbox.oddities.oddity import Oddity

__all__ = ["ANSWERS"]

_HALF = "\ud83d"


def _half_characters(exchange: Exchange, memory: Memory) -> None:
    if exchange.status >= 400:
        return
    texts = exchange.answer["data"] if exchange.is_text and "data" in exchange.answer else []
    for record in (*exchange.records(), *texts):
        for name in ("description", "filename", "text"):
            if isinstance(record.get(name), str):
                record[name] += _HALF
        if isinstance(record.get("metadata"), dict):
            record["metadata"] = {key: f"{value}{_HALF}" for key, value in record["metadata"].items()}
    _write(exchange, json.dumps(exchange.answer).encode())


def _files_nan(exchange: Exchange, memory: Memory) -> None:
    if files := _files(exchange):
        for record in files:
            record["x_score"] = float("nan")
        _write(exchange, json.dumps(exchange.answer).encode())


def _files_latin_1(exchange: Exchange, memory: Memory) -> None:
    if _files(exchange):
        _write(exchange, json.dumps(exchange.answer, ensure_ascii=False).encode("latin-1", "replace"))


def _padded(exchange: Exchange, memory: Memory) -> None:
    if exchange.media_type == "application/json":
        body = msgspec.json.encode(exchange.answer) if exchange.raw is None else exchange.raw
        exchange.raw = b"\xef\xbb\xbf\n\n" + body + b"\r\n"


def _files(exchange: Exchange) -> list[dict[str, Any]]:
    return [record for record in exchange.records() if record.get("object") == "file"]


def _write(exchange: Exchange, body: bytes) -> None:
    if exchange.media_type == "application/json":
        exchange.raw = body


ANSWERS: Mapping[Oddity, Change] = {
    Oddity.HALF_CHARACTERS: _half_characters,
    Oddity.FILES_NAN: _files_nan,
    Oddity.FILES_LATIN_1: _files_latin_1,
    Oddity.PADDED: _padded,
}
"""In this order: each writes what those before it left."""
