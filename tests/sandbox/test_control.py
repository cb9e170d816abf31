"""The control endpoint does over HTTP what the methods of Running do, and is closed unless it was opened."""

from __future__ import annotations

from pathlib import Path

from holdall.sandbox.server import Running
from tests.sandbox.wire import ask, upload


def door(box: Running) -> str:
    return box.url.removesuffix("/v1") + "/_sandbox"


def test_closed_by_default(tmp_path: Path) -> None:
    with Running(tmp_path) as box:
        assert ask(door(box), "GET", "/requests").status == 404


def test_behaviour(box: Running) -> None:
    assert ask(door(box), "POST", "/behaviour", {"assistants_api": False}).json()["assistants_api"] is False
    assert ask(box.url, "GET", "/assistants").status == 404
    refused = ask(door(box), "POST", "/behaviour", {"assistants_apy": True})
    assert (refused.status, "assistants_apy" in refused.json()["error"]) == (400, True)
    assert ask(door(box), "GET", "/behaviour").json()["assistants_api"] is False


def test_faults(box: Running) -> None:
    rule = {"fault": {"type": "fail", "status": 503}, "path": "/files", "times": 2}
    assert ask(door(box), "POST", "/faults", rule).status == 200
    assert [ask(box.url, "GET", path).status for path in ("/models", "/files")] == [200, 503]
    assert ask(door(box), "DELETE", "/faults").status == 200
    assert ask(box.url, "GET", "/files").status == 200
    assert ask(door(box), "POST", "/faults", {"fault": {"type": "earthquake"}}).status == 400


def test_requests(box: Running) -> None:
    ask(box.url, "POST", "/vector_stores", {})
    log = ask(door(box), "GET", "/requests").json()
    assert [(entry["method"], entry["path"], entry["status"]) for entry in log["requests"]] == [
        ("POST", "/v1/vector_stores", 200)
    ]
    assert log["writes"] == 1
    assert ask(door(box), "DELETE", "/requests").json() == {"requests": [], "writes": 0}


def test_keys_and_purposes(box: Running) -> None:
    file = upload(box.url, "a.txt", b"x").json()["id"]
    assert ask(door(box), "POST", "/purpose", {"file_id": file, "purpose": "batch_output"}).status == 200
    assert ask(box.url, "GET", f"/files/{file}").json()["purpose"] == "batch_output"
    assert ask(door(box), "POST", "/purpose", {"file_id": "file-x", "purpose": "vision"}).status == 404
    assert ask(door(box), "POST", "/purpose", {"file_id": file, "purpose": "fun"}).status == 400
    assert ask(door(box), "POST", "/revoke", {"key": "sk-source-0001"}).status == 200
    assert ask(box.url, "GET", "/files").status == 401
