"""What an endpoint takes and refuses of those who write; with ``--live`` only with ``--live-write``."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.endpoints import Endpoint

SANDBOX, REFUSED = "docs/sandbox.md", "docs/sandbox.md, What is refused"
NAME = "holdall contract"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"nmae": "x"}, "nmae"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, "metadata"),
        ({"metadata": {"k": "x" * 513}}, "metadata.k"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"expires_after": {"anchor": "last_active_at", "days": 0}}, "expires_after.days"),
        ({"expires_after": {"anchor": "last_active_at", "days": 366}}, "expires_after.days"),
        ({"expires_after": {"anchor": "created_at", "days": 1}}, "expires_after.anchor"),
    ],
)
@pytest.mark.fact(REFUSED, "unknown parameters; metadata beyond 16 keys of 64 and 512; expires_after beyond 365 days")
def test_refused_stores(endpoint: Endpoint, body: dict[str, Any], param: str) -> None:
    answer = endpoint.ask("POST", "/vector_stores", {"name": NAME, **body})
    assert (answer.status, answer.error["type"], answer.error["param"]) == (400, "invalid_request_error", param)


@pytest.mark.fact(SANDBOX, "expires_after and metadata read back; expires_at is so many days after last_active_at")
def test_a_store(endpoint: Endpoint) -> None:
    after, metadata = {"anchor": "last_active_at", "days": 2}, {"k" * 64: "x" * 512}
    made = endpoint.create("/vector_stores", {"name": NAME, "expires_after": after, "metadata": metadata})
    read = endpoint.settled(f"/vector_stores/{made['id']}")
    assert (read["name"], read["expires_after"], read["metadata"]) == (NAME, after, metadata)
    assert read["expires_at"] == read["last_active_at"] + 2 * 86400
    assert read["file_counts"]["total"] == 0
    gone = endpoint.ask("DELETE", f"/vector_stores/{made['id']}")
    assert gone.json() == {"id": made["id"], "object": "vector_store.deleted", "deleted": True}


@pytest.mark.parametrize(
    ("filename", "purpose", "words"),
    [
        ("a.txt", "nonsense", "purpose"),
        ("a.txt", "assistants_output", "purpose"),
        ("a.holdall", "assistants", "Invalid extension"),
        ("a.txt", "batch", "jsonl"),
    ],
)
@pytest.mark.fact(REFUSED, "purposes that only the service gives; uploads of purpose assistants by unknown extension")
def test_refused_uploads(endpoint: Endpoint, filename: str, purpose: str, words: str) -> None:
    answer = endpoint.upload(filename, b"{}", purpose=purpose)
    assert answer.status == 400
    assert words in answer.error["message"]


@pytest.mark.fact(SANDBOX, "an upload reads back with name, size and purpose; a file of purpose vision downloads")
def test_a_file(endpoint: Endpoint) -> None:
    picture = b"\x89PNG\r\n\x1a\n"
    made = endpoint.upload("holdall-contract.png", picture, purpose="vision").json()
    read = endpoint.settled(f"/files/{made['id']}")
    assert (read["filename"], read["bytes"], read["purpose"]) == ("holdall-contract.png", len(picture), "vision")
    assert endpoint.ask("GET", f"/files/{made['id']}/content").body == picture
    gone = endpoint.ask("DELETE", f"/files/{made['id']}")
    assert gone.json() == {"id": made["id"], "object": "file", "deleted": True}


@pytest.mark.fact(SANDBOX, "an empty file ends as failed with its last_error; the store counts both, and completes")
def test_indexing(endpoint: Endpoint) -> None:
    good, empty = (
        endpoint.upload(f"holdall-contract-{name}.txt", data).json()["id"]
        for name, data in (("good", b"some words"), ("empty", b""))
    )
    store = endpoint.create("/vector_stores", {"name": NAME, "file_ids": [good, empty]})
    done = endpoint.settled(f"/vector_stores/{store['id']}")
    assert done["status"] == "completed"
    assert done["file_counts"] == {"in_progress": 0, "completed": 1, "failed": 1, "cancelled": 0, "total": 2}
    failed = endpoint.get(f"/vector_stores/{store['id']}/files?filter=failed")["data"]
    assert [(each["id"], each["last_error"]["code"]) for each in failed] == [(empty, "invalid_file")]
    inside = endpoint.get(f"/vector_stores/{store['id']}/files/{good}")
    assert inside["chunking_strategy"]["static"] == {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}
    text = endpoint.get(f"/vector_stores/{store['id']}/files/{good}/content")
    assert "".join(item["text"] for item in text["data"]) == "some words"


@pytest.mark.fact(REFUSED, "files that don't exist can't be put into a store: 404")
def test_an_unknown_file_in_a_store(endpoint: Endpoint) -> None:
    store = endpoint.create("/vector_stores", {"name": NAME})
    endpoint.settled(f"/vector_stores/{store['id']}")
    answer = endpoint.ask("POST", f"/vector_stores/{store['id']}/files", {"file_id": "file-holdallcontract"})
    assert (answer.status, answer.error["type"]) == (404, "invalid_request_error")
