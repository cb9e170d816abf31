"""/vector_stores/{id}/search: words instead of vectors, on SQLite's full-text index, in the shape of the service.

A store's text goes into the index when the store is first searched, so that importing pays nothing for it. Every word
of the query may match; the more of them do, the higher the score, which runs from 0 to 1.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
import unicodedata
from typing import Any

import msgspec

from holdall.sandbox.service import store_files, stores
from holdall.sandbox.service.api_errors import invalid
from holdall.sandbox.service.body_shapes import (
    Shape,
    array,
    boolean,
    choice,
    integer,
    json_body,
    number,
    one_of,
    record,
    text,
)
from holdall.sandbox.service.service import Call
from holdall.sandbox.service.switches import Variation

# Files that one slice of indexing takes up: other writers wait for no more than that.
_SLICE = 100

# Words of a query that are looked for; a whole page as a query would take seconds.
_MOST_WORDS = 64

# Passages that are ranked; far more than the fifty that may be asked for.
_CANDIDATES = 200

_SCALAR: dict[type, Shape] = {str: text(), int: number(), float: number(), bool: boolean}
_VALUE = one_of("a string, number, boolean or array", {**_SCALAR, list: array(one_of("a string or number", _SCALAR))})
_COMPARISONS = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin")
_COMPARISON = record({"type": choice(*_COMPARISONS), "key": text(), "value": _VALUE}, required=("type", "key", "value"))


def _filter(value: Any, name: str) -> dict[str, Any]:
    is_compound = isinstance(value, dict) and value.get("type") in ("and", "or")
    shape = record({"type": text(), "filters": array(_filter)}, required=("type", "filters"))
    checked: dict[str, Any] = shape(value, name) if is_compound else _COMPARISON(value, name)
    return checked


FILTER: Shape = _filter
"""Of attributes: a comparison, or several joined by ``and`` or ``or``."""

_BODY = record(
    {
        "query": one_of("a string or an array", {str: text(), list: array(text(), minimum=1)}),
        "rewrite_query": boolean,
        "max_num_results": integer(1, 50),
        "filters": FILTER,
        "ranking_options": record(
            {"ranker": choice("none", "auto", "default-2024-11-15"), "score_threshold": number(0, 1)}
        ),
    },
    required=("query",),
)

# The index knows words by their separators; scripts that have none are given some, on both sides of a match.
_UNSEPARATED = re.compile(r"([\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af])")


def _separated(words: str) -> str:
    return _UNSEPARATED.sub(r" \1 ", words)


def index_some(call: Call) -> bool:
    """Make some more of the store searchable; True if there may be more to do. Writes."""
    with call.service.database.write() as connection:
        store = stores.require_living(connection, call)["seq"]
        rows = connection.execute(
            "SELECT * FROM memberships WHERE store = ? AND ready_at <= ? AND first_passage IS NULL "
            "AND outcome = 'completed' LIMIT ?",
            (store, call.now, _SLICE),
        ).fetchall()
        for row in rows:
            _index(connection, call, row)
        if not rows:
            connection.execute("UPDATE stores SET last_active_at = ? WHERE seq = ?", (int(call.now), store))
    return len(rows) > 0


def _index(connection: sqlite3.Connection, call: Call, membership: sqlite3.Row) -> None:
    file = connection.execute("SELECT * FROM files WHERE seq = ?", (membership["file"],)).fetchone()
    found = store_files.pieces(call, membership, file, oddities={Variation.TEXT_OVERLAPS})
    first = connection.execute("SELECT coalesce(max(rowid), 0) + 1 FROM passages").fetchone()[0]
    connection.executemany(
        "INSERT INTO passages (rowid, shelf, words, membership, position) VALUES (?, ?, ?, ?, ?)",
        [
            (first + place, f"s{membership['store']}", _separated(piece), membership["seq"], place)
            for place, piece in enumerate(found)
        ],
    )
    connection.execute(
        "UPDATE memberships SET first_passage = ?, passage_count = ? WHERE seq = ?",
        (first, len(found), membership["seq"]),
    )


def search(call: Call) -> dict[str, Any]:
    """The best passages of the store, best first."""
    asked = json_body(call.body, _BODY)
    queries = [asked["query"]] if isinstance(asked["query"], str) else asked["query"]
    with call.service.database.read() as connection:
        data = found(
            connection,
            call,
            stores.require_living(connection, call)["id"],
            queries,
            most=asked.get("max_num_results", 10),
            filters=asked.get("filters"),
            threshold=asked.get("ranking_options", {}).get("score_threshold", 0),
        )
    return {
        "object": "vector_store.search_results.page",
        "search_query": queries,
        "data": data,
        "has_more": False,
        "next_page": None,
    }


def found(
    connection: sqlite3.Connection,
    call: Call,
    store_id: str,
    queries: list[str],
    *,
    most: int,
    filters: dict[str, Any] | None,
    threshold: float,
) -> list[dict[str, Any]]:
    """What a search of one of the project's stores gives, best first."""
    store = stores.find(connection, call, store_id)
    ranked = _ranked(connection, store["seq"], queries, filters) if store else []
    return [_result(connection, call, row, score) for score, row in ranked[:most] if score >= threshold]


def _ranked(
    connection: sqlite3.Connection, store: int, queries: list[str], filters: dict[str, Any] | None
) -> list[tuple[float, sqlite3.Row]]:
    """The candidates that pass the filter with their scores, best first.

    The index's own weight finds them; what ranks them is how many of the query's words they hold, for that means
    the same in a store of three files and in one of a million.
    """
    asked = set(re.findall(r"\w+", _separated(" ".join(queries))))
    words = {_folded(word) for word in asked}
    if not words:
        raise invalid("Invalid 'query': string does not contain a word.", "query", "invalid_value")
    quoted = " OR ".join(f'"{word}"' for word in sorted(asked, key=len, reverse=True)[:_MOST_WORDS])
    rows = connection.execute(
        "SELECT t.*, passages.words, passages.position, -bm25(passages, 0.0, 1.0) AS weight FROM passages "
        "JOIN memberships AS t ON t.seq = passages.membership WHERE passages MATCH ? ORDER BY weight DESC",
        (f"shelf : s{store} AND words : ({quoted})",),
    )
    passing = (row for row in rows if filters is None or _passes(filters, msgspec.json.decode(row["attributes"])))
    found = []
    for row in itertools.islice(passing, _CANDIDATES):
        held = len(words.intersection(re.findall(r"\w+", _folded(row["words"])))) / len(words)
        weight = max(row["weight"], 0.0)
        found.append((0.9 * held + 0.1 * weight / (weight + 1), row))
    return sorted(found, key=lambda each: each[0], reverse=True)


def _folded(text: str) -> str:
    """Without case and accents, as the index folds words, so that both sides count the same."""
    if text.isascii():
        return text.lower()
    # Letter by letter: of a row of marks that combine Python sorts all at once, in quadratic time.
    parts = (part for char in text.lower() for part in unicodedata.normalize("NFD", char))
    return "".join(part for part in parts if not unicodedata.combining(part))


def _result(connection: sqlite3.Connection, call: Call, row: sqlite3.Row, score: float) -> dict[str, Any]:
    file = connection.execute("SELECT * FROM files WHERE seq = ?", (row["file"],)).fetchone()
    piece = store_files.pieces(call, row, file, oddities={Variation.TEXT_OVERLAPS})[row["position"]]
    return {
        "file_id": row["id"],
        "filename": file["filename"],
        "score": round(score, 6),
        "attributes": msgspec.Raw(row["attributes"]),
        "content": [{"type": "text", "text": piece}],
    }


def _passes(filter_: dict[str, Any], attributes: dict[str, Any]) -> bool:
    kind: str = filter_["type"]
    if kind in ("and", "or"):
        results = (_passes(each, attributes) for each in filter_["filters"])
        return all(results) if kind == "and" else any(results)
    value, wanted = attributes.get(filter_["key"]), filter_["value"]
    if kind in ("in", "nin"):
        if not isinstance(wanted, list):
            raise invalid("Invalid 'filters.value': expected an array.", "filters.value", "invalid_type")
        return (value in wanted) is (kind == "in")
    if kind in ("eq", "ne"):
        return (value == wanted) is (kind == "eq")
    if value is None or isinstance(wanted, list) or isinstance(value, str) != isinstance(wanted, str):
        return False
    compared: dict[str, bool] = {
        "gt": value > wanted,
        "gte": value >= wanted,
        "lt": value < wanted,
        "lte": value <= wanted,
    }
    return compared[kind]
