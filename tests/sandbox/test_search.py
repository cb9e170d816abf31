"""Search finds by words, in one store only, in any script, and obeys filters."""

from __future__ import annotations

from typing import Any

import pytest

from holdall.sandbox.server import Running
from tests.sandbox.wire import ask, upload

TEXTS = {
    "whale.md": ("The whale is the largest animal of the sea.", {"kind": "sea", "year": 1990}),
    "horse.md": ("The horse is fast on land, and the whale is not.", {"kind": "land", "year": 2000}),
    "accents.md": ("Déjà vu in a café.", {"kind": "word", "year": 2010}),
    "japanese.md": ("東京は日本の首都です。", {"kind": "word", "year": 2020}),
    "korean.md": ("서울은 한국의 수도이다.", {"kind": "word", "year": 2030}),
}


@pytest.fixture
def store(box: Running) -> str:
    store = ask(box.url, "POST", "/vector_stores", {}).json()["id"]
    for name, (text, attributes) in TEXTS.items():
        file = upload(box.url, name, text.encode()).json()["id"]
        ask(box.url, "POST", f"/vector_stores/{store}/files", {"file_id": file, "attributes": attributes})
    return f"/vector_stores/{store}"


def names(box: Running, store: str, query: str | list[str], **body: Any) -> list[str]:
    answer = ask(box.url, "POST", f"{store}/search", {"query": query, **body})
    assert answer.status == 200, answer.body
    return [found["filename"] for found in answer.json()["data"]]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("the largest animal of the sea", "whale.md"),
        ("fast horse", "horse.md"),
        ("deja VU", "accents.md"),
        ("東京は日本の首都です", "japanese.md"),
        ("한국의 수도", "korean.md"),
    ],
)
def test_a_sentence_of_a_file_finds_that_file_first(box: Running, store: str, query: str, first: str) -> None:
    assert names(box, store, query)[0] == first


def test_nothing_of_other_stores_and_nothing_detached(box: Running, store: str) -> None:
    other = "/vector_stores/" + ask(box.url, "POST", "/vector_stores", {}).json()["id"]
    assert names(box, other, "whale") == []
    found = ask(box.url, "POST", f"{store}/search", {"query": "horse"}).json()["data"][0]["file_id"]
    ask(box.url, "DELETE", f"{store}/files/{found}")
    assert "horse.md" not in names(box, store, "horse whale")
    ask(box.url, "POST", f"{other}/files", {"file_id": found})
    assert names(box, other, "horse") == ["horse.md"]
    ask(box.url, "DELETE", f"/files/{found}")
    assert names(box, other, "horse") == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": "eq", "key": "kind", "value": "sea"}, {"whale.md"}),
        ({"type": "ne", "key": "kind", "value": "sea"}, {"horse.md"}),
        ({"type": "gt", "key": "year", "value": 1990}, {"horse.md"}),
        ({"type": "lte", "key": "year", "value": 1990}, {"whale.md"}),
        ({"type": "in", "key": "kind", "value": ["land", "air"]}, {"horse.md"}),
        ({"type": "nin", "key": "kind", "value": ["land", "air"]}, {"whale.md"}),
        ({"type": "gt", "key": "kind", "value": 5}, set()),
        ({"type": "lt", "key": "nothing", "value": 5}, set()),
        (
            {
                "type": "or",
                "filters": [
                    {"type": "and", "filters": [{"type": "gte", "key": "year", "value": 2000}]},
                    {"type": "eq", "key": "kind", "value": "sea"},
                ],
            },
            {"whale.md", "horse.md"},
        ),
    ],
)
def test_filters(box: Running, store: str, filters: dict[str, Any], expected: set[str]) -> None:
    assert set(names(box, store, "whale", filters=filters)) == expected


def test_numbers_of_results_and_scores(box: Running, store: str) -> None:
    assert len(names(box, store, ["whale", "cafe"], max_num_results=2)) == 2
    strict = {"ranker": "none", "score_threshold": 0.8}
    assert names(box, store, "largest animal", ranking_options=strict) == ["whale.md"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": "?!"},
        {"query": "x", "max_num_results": 51},
        {"query": "x", "ranking_options": {"score_threshold": 2}},
        {"query": "x", "filters": {"type": "like", "key": "a", "value": 1}},
        {"query": "x", "filters": {"type": "or", "filters": [{"type": "eq"}]}},
        {"query": "whale", "filters": {"type": "in", "key": "kind", "value": "sea"}},
        {"query": "x", "limit": 3},
    ],
)
def test_what_is_refused(box: Running, store: str, body: dict[str, Any]) -> None:
    assert ask(box.url, "POST", f"{store}/search", body).status == 400
