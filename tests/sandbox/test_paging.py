"""Lists, compared with what slicing a Python list gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.sandbox.server import Running
from tests.sandbox.wire import ask, upload
from tests.sweep import examples


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """The URL of a store's files in a sandbox, and their ids, oldest first."""
    folder: Path = tmp_path_factory.mktemp("paging")
    with Running(folder) as box:
        store = ask(box.url, "POST", "/vector_stores", {}).json()["id"]
        ids = [upload(box.url, f"{number}.txt", b"x").json()["id"] for number in range(7)]
        ask(box.url, "POST", f"/vector_stores/{store}/file_batches", {"file_ids": ids})
        yield f"{box.url}/vector_stores/{store}/files", ids


def expected(ids: list[str], limit: int, order: str, after: str | None, before: str | None) -> tuple[list[str], bool]:
    """The page by slicing: after a cursor from its start, before one alone up to it."""
    items = ids if order == "asc" else ids[::-1]
    if after is not None:
        items = items[items.index(after) + 1 :]
    if before is not None:
        items = items[: items.index(before)] if before in items else []
    page = items[-limit:] if before is not None and after is None else items[:limit]
    return page, len(items) > limit


@examples(60)
@given(data=st.data())
def test_every_window(shelf: tuple[str, list[str]], data: st.DataObject) -> None:
    url, ids = shelf
    limit = data.draw(st.integers(1, 9))
    order = data.draw(st.sampled_from(["asc", "desc"]))
    after = data.draw(st.none() | st.sampled_from(ids))
    before = data.draw(st.none()) if after else data.draw(st.none() | st.sampled_from(ids))
    cursors = "".join(f"&{name}={id_}" for name, id_ in (("after", after), ("before", before)) if id_)
    answer = ask(url, "GET", f"?limit={limit}&order={order}{cursors}").json()
    page, has_more = expected(ids, limit, order, after, before)
    assert [each["id"] for each in answer["data"]] == page
    assert answer["has_more"] is has_more
    assert answer["object"] == "list"
    assert (answer["first_id"], answer["last_id"]) == ((page[0], page[-1]) if page else (None, None))


def test_newest_first_and_twenty_unless_asked(shelf: tuple[str, list[str]]) -> None:
    url, ids = shelf
    assert [each["id"] for each in ask(url, "GET", "").json()["data"]] == ids[::-1]


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ("limit=0", "limit", "integer_below_min_value"),
        ("limit=101", "limit", "integer_above_max_value"),
        ("limit=many", "limit", "invalid_type"),
        ("order=up", "order", "invalid_value"),
        ("after=file-unknown", "after", "invalid_value"),
        ("before=file-unknown", "before", "invalid_value"),
        ("filter=done", "filter", "invalid_value"),
    ],
)
def test_what_is_refused(shelf: tuple[str, list[str]], query: str, param: str, code: str) -> None:
    answer = ask(shelf[0], "GET", f"?{query}")
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, code)


def test_files_come_ten_thousand_at_a_time(shelf: tuple[str, list[str]]) -> None:
    base = shelf[0].partition("/vector_stores")[0]
    assert ask(base, "GET", "/files?limit=10000").status == 200
    assert ask(base, "GET", "/files?limit=10001").error["param"] == "limit"
