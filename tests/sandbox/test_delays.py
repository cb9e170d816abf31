"""A server that is behind: late execution and lists that lag, by the sandbox's clock."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from holdall.sandbox.behaviour import Late
from holdall.sandbox.server import Running
from tests.sandbox.wire import ask, upload

BODY = {"model": "gpt-4o"}


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def ids(box: Running, path: str) -> list[str]:
    return [each["id"] for each in ask(box.url, "GET", path).json()["data"]]


def test_a_request_is_executed_after_its_connection_was_cut(tmp_path: Path) -> None:
    clock = Clock()
    with Running(tmp_path / "box", clock=clock) as box:
        box.fault(Late(seconds=20), "POST", "/assistants")
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(box.url, "POST", "/assistants", BODY)
        clock.now += 19
        assert ids(box, "/assistants") == []
        clock.now += 1
        (made,) = ids(box, "/assistants")
        assert ask(box.url, "GET", f"/assistants/{made}").json()["created_at"] == int(clock.now)
        assert [entry.executed for entry in box.requests() if entry.method == "POST"] == [False, True]


def test_an_upload_too(tmp_path: Path) -> None:
    clock = Clock()
    with Running(tmp_path / "box", clock=clock) as box:
        box.fault(Late(seconds=5), "POST", "/files")
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            upload(box.url, "a.md", b"words " * 100_000)
        clock.now += 5
        (file,) = ask(box.url, "GET", "/files").json()["data"]
        assert (file["filename"], file["bytes"]) == ("a.md", 600_000)


def test_what_is_new_shows_later(tmp_path: Path) -> None:
    clock = Clock()
    with Running(tmp_path / "box", clock=clock) as box:
        old = ask(box.url, "POST", "/assistants", BODY).json()["id"]
        clock.now += 100
        box.behave(visible_after=30)
        new = ask(box.url, "POST", "/assistants", BODY).json()["id"]
        assert ids(box, "/assistants?order=asc") == [old]
        assert ask(box.url, "GET", f"/assistants/{new}").status == 404
        assert ask(box.url, "GET", f"/assistants/{old}").status == 200
        clock.now += 30
        assert ids(box, "/assistants?order=asc") == [old, new]
        assert ask(box.url, "GET", f"/assistants/{new}").status == 200
