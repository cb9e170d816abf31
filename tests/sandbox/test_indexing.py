"""Indexing takes the time that the sandbox was told, by the clock that it was given, and ends as the file deserves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.sandbox.wire import ask, upload


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slow(tmp_path: Path, clock: Clock) -> Iterator[Running]:
    with Running(tmp_path, behaviour=Behaviour(index_delay=5.0), clock=clock) as running:
        yield running


def get(box: Running, path: str) -> Any:
    return ask(box.url, "GET", path).json()


def counts(box: Running, path: str) -> tuple[str, dict[str, int]]:
    found = get(box, path)
    return found["status"], {name: number for name, number in found["file_counts"].items() if number}


def test_store_membership_and_batch_are_in_progress_until_the_delay_is_over(slow: Running, clock: Clock) -> None:
    good = upload(slow.url, "good.txt", b"text").json()["id"]
    empty = upload(slow.url, "empty.txt", b"").json()["id"]
    store = "/vector_stores/" + ask(slow.url, "POST", "/vector_stores", {}).json()["id"]
    made = ask(slow.url, "POST", f"{store}/file_batches", {"file_ids": [good, empty]}).json()
    batch = f"{store}/file_batches/{made['id']}"
    assert made["status"] == "in_progress"

    clock.now += 4.9
    for path in (store, batch):
        assert counts(slow, path) == ("in_progress", {"in_progress": 2, "total": 2})
    membership = get(slow, f"{store}/files/{empty}")
    assert (membership["status"], membership["last_error"], membership["usage_bytes"]) == ("in_progress", None, 0)
    assert len(get(slow, f"{store}/files?filter=in_progress")["data"]) == 2
    assert get(slow, f"{store}/files?filter=failed")["data"] == []
    assert ask(slow.url, "GET", f"{store}/files/{good}/content").status == 404
    assert get(slow, store)["usage_bytes"] == 0

    clock.now += 0.1
    for path in (store, batch):
        assert counts(slow, path) == ("completed", {"completed": 1, "failed": 1, "total": 2})
    assert [each["id"] for each in get(slow, f"{store}/files?filter=failed")["data"]] == [empty]
    assert [each["id"] for each in get(slow, f"{batch}/files?filter=completed")["data"]] == [good]
    assert get(slow, f"{store}/files/{good}/content")["data"] == [{"type": "text", "text": "text"}]
    assert get(slow, store)["usage_bytes"] == 4


def test_cancelling_a_batch_stops_what_is_in_progress(slow: Running, clock: Clock) -> None:
    file = upload(slow.url, "a.txt", b"text").json()["id"]
    store = "/vector_stores/" + ask(slow.url, "POST", "/vector_stores", {}).json()["id"]
    made = ask(slow.url, "POST", f"{store}/file_batches", {"file_ids": [file]}).json()
    batch = f"{store}/file_batches/{made['id']}"
    cancelled = ask(slow.url, "POST", f"{batch}/cancel").json()
    assert (cancelled["status"], cancelled["file_counts"]["cancelled"]) == ("cancelled", 1)
    clock.now += 60
    assert counts(slow, store) == ("completed", {"cancelled": 1, "total": 1})
    assert get(slow, f"{store}/files?filter=cancelled")["data"][0]["status"] == "cancelled"
    again = ask(slow.url, "POST", f"{store}/files", {"file_id": file}).json()
    assert again["status"] == "in_progress"
    clock.now += 60
    assert counts(slow, store) == ("completed", {"completed": 1, "total": 1})


def test_counts_stay_true_as_files_come_and_go(slow: Running, clock: Clock) -> None:
    ids = [upload(slow.url, f"{number}.txt", b"text").json()["id"] for number in range(4)]
    store = "/vector_stores/" + ask(slow.url, "POST", "/vector_stores", {"file_ids": ids[:2]}).json()["id"]
    clock.now += 10
    ask(slow.url, "POST", f"{store}/files", {"file_id": ids[2]})
    assert counts(slow, store) == ("in_progress", {"completed": 2, "in_progress": 1, "total": 3})
    ask(slow.url, "DELETE", f"{store}/files/{ids[2]}")
    ask(slow.url, "DELETE", f"/files/{ids[0]}")
    assert counts(slow, store) == ("completed", {"completed": 1, "total": 1})
    assert get(slow, store)["usage_bytes"] == 4


@pytest.mark.parametrize(
    ("filename", "data", "code"),
    [
        ("empty.md", b"", "invalid_file"),
        ("blank.md", b" \n", "invalid_file"),
        ("latin.txt", "façade".encode("latin-1"), "unsupported_file"),
        ("binary.py", b"\0\1\2", "unsupported_file"),
        ("broken.pdf", b"%PDF-1.7 and no more", "invalid_file"),
        ("broken.docx", b"PK\x03\x04", "invalid_file"),
        ("old.doc", b"\xd0\xcf\x11\xe0", "unsupported_file"),
        ("unlucky.txt", b"text", "server_error"),
    ],
)
def test_files_that_can_not_be_indexed(box: Running, filename: str, data: bytes, code: str) -> None:
    box.behave(index_failures=("unlucky*",))
    file = upload(box.url, filename, data).json()["id"]
    store = "/vector_stores/" + ask(box.url, "POST", "/vector_stores", {"file_ids": [file]}).json()["id"]
    membership = get(box, f"{store}/files/{file}")
    assert (membership["status"], membership["last_error"]["code"]) == ("failed", code)
    assert membership["last_error"]["message"]
    assert ask(box.url, "GET", f"{store}/files/{file}/content").status == 404


def test_a_store_expires_after_its_last_use(slow: Running, clock: Clock) -> None:
    expiry = {"anchor": "last_active_at", "days": 1}
    file = upload(slow.url, "a.txt", b"text").json()["id"]
    made = ask(slow.url, "POST", "/vector_stores", {"expires_after": expiry, "file_ids": [file]}).json()
    store = f"/vector_stores/{made['id']}"
    assert made["expires_at"] == clock.now + 86400
    clock.now += 86000
    assert ask(slow.url, "POST", f"{store}/search", {"query": "text"}).status == 200
    clock.now += 86000
    assert get(slow, store)["status"] == "completed"
    clock.now += 400
    assert get(slow, store)["status"] == "expired"
    refused = ask(slow.url, "POST", f"{store}/files", {"file_id": file})
    assert (refused.status, refused.error["code"]) == (400, "vector_store_expired")
    assert len(get(slow, f"{store}/files")["data"]) == 1


def test_a_file_that_expires_is_gone(slow: Running, clock: Clock) -> None:
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    file = upload(slow.url, "a.txt", b"text", **fields).json()
    assert file["expires_at"] == file["created_at"] + 3600
    clock.now += 3600
    assert ask(slow.url, "GET", f"/files/{file['id']}").status == 404
    assert get(slow, "/files")["data"] == []


def test_parsed_content_comes_in_pages(box: Running) -> None:
    box.behave(content_page_items=2)
    text = " ".join(f"word{number}" for number in range(400))
    file = upload(box.url, "a.txt", text.encode()).json()["id"]
    chunking = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 20}}
    store = "/vector_stores/" + ask(box.url, "POST", "/vector_stores", {}).json()["id"]
    ask(box.url, "POST", f"{store}/files", {"file_id": file, "chunking_strategy": chunking})

    def items() -> list[str]:
        found, page = [], ""
        while True:
            answer = get(box, f"{store}/files/{file}/content{page}")
            assert answer["object"] == "vector_store.file_content.page"
            found += [item["text"] for item in answer["data"]]
            if not answer["has_more"]:
                assert answer["next_page"] is None
                return found
            assert len(answer["data"]) == 2
            page = f"?page={answer['next_page']}"

    plain = items()
    assert "".join(plain) == text
    assert len(plain) > 4
    box.behave(oddities=frozenset({Oddity.TEXT_OVERLAPS}))
    overlapping = items()
    for left, right in itertools.pairwise(overlapping):
        assert left[-80:] == right[:80]
    for page in ("page_0", "page_999", "x"):
        assert ask(box.url, "GET", f"{store}/files/{file}/content?page={page}").status == 400
